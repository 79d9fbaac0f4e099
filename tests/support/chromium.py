"""The browser of all tests that need one, the engine's and the application's."""

from __future__ import annotations

import os
import shutil

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first that is installed is taken; the headless shell takes a fifth less of the processor."""
CHROMIUM = os.environ.get("CHROMIUM") or next((path for path in map(shutil.which, BROWSERS) if path), None)
NO_CHROMIUM = "no Chromium here: apt-get install chromium, or set CHROMIUM to its path"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
