"""Every fault there is, by name; each module holds those of one kind."""

from __future__ import annotations

from chaos.faults import database, families, network, stages, together, users, workers
from chaos.faults.fault import Fault

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for module in (workers, database, network, stages, users, together, families)
    for fault in vars(module).values()
    if isinstance(fault, Fault)
}

__all__ = ["FAULTS", "Fault"]
