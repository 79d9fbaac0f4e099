"""The ad pipeline, as ``pgbaton.toml`` beside this file spells it."""

from __future__ import annotations

from pathlib import Path

from pgbaton import Pipeline, load_pipeline

FILE = Path(__file__).with_name("pgbaton.toml")


def ad_creative(base_url: str | None = None) -> Pipeline:
    """The pipeline, calling its stages at ``base_url`` (default: as the file says)."""
    pipeline = load_pipeline(FILE)
    if base_url is None:
        return pipeline
    return Pipeline.model_validate(pipeline.model_dump() | {"base_url": base_url})
