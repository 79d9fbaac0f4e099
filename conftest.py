"""The fixtures `cluster` and `empty_database`, for the tests of the engine and of the application alike."""

# Hypothesis is imported before any test runs: where it is imported at the end of a run, Python 3.11 can fail in the
# parser when the tests before have used the stack deeply.
import os
from pathlib import Path

import hypothesis.internal.observability
import pytest

# The same examples in every run, so that a red run means a change; a soak (PGBATON_EXAMPLES) looks for new ones.
# An example may take 5 s: a machine under load is slow at times, and an input that nothing can cope with is slower.
hypothesis.settings.register_profile("steady", derandomize=True, deadline=5000)
if "PGBATON_EXAMPLES" not in os.environ:
    hypothesis.settings.load_profile("steady")

pytest_plugins = ["postgres"]
__all__ = ["hypothesis"]

LONG = (
    "test_night_stages",
    "test_night_rows",
    "test_night_causes",
    "test_shutdown",
    "test_demo",
    "test_vision_model",
    "test_start",
    "test_zoo",
    "test_door_store",
    "test_chaos",
    "test_door_pages",
    "test_embedded",
    "test_engine",
    "test_bad_inputs",
    "test_real_tables",
    "test_night_waits",
    "test_config_files",
    "test_graph_machine",
    "test_examples",
    "test_at_home",
    "test_actions",
    "test_hosts",
    "test_protocol_machine",
    "test_readme",
    "test_pooler",
    "test_simulation",
)
"""Files of 15 s and more: they begin first, so that no process is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(name) if (name := Path(item.path).stem) in LONG else len(LONG))
