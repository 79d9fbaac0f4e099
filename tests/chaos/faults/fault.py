"""A fault: an attack on a scene of a certain plan."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chaos.plan import Plan
from chaos.scene import Scene

Attack = Callable[[Scene], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """``cannot``: why it cannot be tried on this machine; empty where it can."""

    name: str
    what: str
    plan: Plan
    attack: Attack
    cannot: Callable[[], str]


def fault(cannot: Callable[[], str] = lambda: "", **plan: Any) -> Callable[[Attack], Fault]:
    """Make an attack a fault, named as its function; its docstring says what it does."""

    def made(attack: Attack) -> Fault:
        what = " ".join((attack.__doc__ or "").split())
        return Fault(attack.__name__, what, Plan(**plan), attack, cannot)

    return made


async def only_feed(scene: Scene) -> None:
    """The fault is in the plan: injected into workers, or played by stages."""
    async for _ in scene.rounds(1, 1):
        pass
