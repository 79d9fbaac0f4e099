"""The command that draws a pipeline."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from pgbaton.cli.common import HERE, ConfigFile, app


class Form(StrEnum):
    """The forms of a drawing."""

    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


@app.command()
def graph(
    config: ConfigFile = HERE,
    form: Annotated[Form, typer.Option("--as", help="For Markdown, Graphviz, or a browser.")] = Form.MERMAID,
) -> None:
    """Draw the pipeline of a file: its stages, and the ways from one to the next."""
    from pgbaton import drawing
    from pgbaton.config import load_pipeline

    drawn = drawing.drawing(load_pipeline(config).in_order)
    sys.stdout.write({Form.MERMAID: drawing.mermaid, Form.DOT: drawing.dot, Form.SVG: drawing.svg}[form](drawn))
