"""An append-only journal: one line an event, written in one go, so that what was said survives SIGKILL."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Journal:
    """Writes to ``folder/who.jsonl``. Times are the machine's monotonic clock, the same for every process."""

    def __init__(self, folder: Path, who: str) -> None:
        self.who = who
        self._file = os.open(folder / f"{who}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, event: str, **fields: object) -> None:
        line = json.dumps({"at": time.monotonic(), "who": self.who, "event": event, **fields})
        os.write(self._file, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event; ``fields`` holds the rest of its line."""

    at: float
    who: str
    event: str
    fields: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __str__(self) -> str:
        said = " ".join(f"{name}={value}" for name, value in self.fields.items())
        return f"{self.at:.3f} {self.who:<12} {self.event:<10} {said}"


def read(folder: Path) -> list[Entry]:
    """Every journal of the folder, in the order of time; a line that was torn by a full disk is left out."""
    entries = []
    for file in folder.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            entries.append(Entry(fields.pop("at"), fields.pop("who"), fields.pop("event"), fields))
    return sorted(entries, key=lambda entry: entry.at)
