"""Write docs/api.md, the public names and their docstrings: `make api`. A test compares the page with the code."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs/api.md"
MODULES = (
    "pgbaton",
    "pgbaton.errors",
    "pgbaton.fastapi",
    "pgbaton.web",
    "pgbaton.insights",
    "pgbaton.health",
    "pgbaton.operate",
    "pgbaton.embedded",
)
"""Public modules. All else, and every name with an underscore, may change at any time."""
HEAD = """# The public API

The names that may be imported, from their docstrings; made by `make api`. All other modules are the engine's own
and may change at any time.
"""


def api_page() -> str:
    """The whole page."""
    return "\n".join((HEAD, *(_module(name) for name in MODULES)))


def _module(name: str) -> str:
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [
        n for n, value in vars(module).items() if not n.startswith("_") and getattr(value, "__module__", None) == name
    ]
    parts = [f"## `{name}`", _text(module)]
    for public in names:
        parts += _member(public, getattr(module, public))
    return "\n\n".join(part for part in parts if part) + "\n"


def _member(name: str, value: object) -> list[str]:
    if inspect.isclass(value) or inspect.isfunction(value):
        kind = "async " if inspect.iscoroutinefunction(value) else "class " if inspect.isclass(value) else ""
        parts = [f"### `{kind}{name}{_signature(value)}`", _text(value)]
        if inspect.isclass(value):
            for method, function in vars(value).items():
                if not method.startswith("_") and inspect.getdoc(function) and callable(function):
                    marker = "async " if inspect.iscoroutinefunction(function) else ""
                    parts.append(f"- `{marker}.{method}{_signature(function)}`: {_text(function)}")
        return parts
    return [f"### `{name}`"]


def _signature(value: object) -> str:
    if inspect.isclass(value) and issubclass(value, (BaseException, str)):
        return ""
    try:
        shown = str(inspect.signature(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    shown = re.sub(r"<function (\w+) at 0x\w+>", r"\1", shown)  # a default: its address is another each time
    shown = (
        re.sub(r"\bpgbaton(\.\w+)+\.(\w+)", r"\2", shown)
        .replace("'", "")
        .replace("(self, ", "(")
        .replace("(self)", "()")
    )
    return shown if len(shown) <= 200 else "(…)"


def _text(value: object) -> str:
    """A docstring as Markdown: its code blocks are fenced, its double backticks single."""
    doc = inspect.getdoc(value) or ""
    if inspect.isclass(value) and doc == inspect.getdoc(value.__base__):
        return ""
    doc = re.sub(r":\w+:`(~)?([^`]+)`", r"`\2`", doc).replace("``", "`")
    return re.sub(r"((?:^    .*\n?|^\n)+)", _fenced, doc, flags=re.MULTILINE).replace("::\n", ":\n").rstrip()


def _fenced(found: re.Match[str]) -> str:
    block = found[0].strip("\n")
    if not block.strip():
        return found[0]
    return "\n```python\n" + "\n".join(line[4:] for line in block.splitlines()) + "\n```\n\n"


def main() -> None:
    PAGE.write_text(api_page(), encoding="utf-8")
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
