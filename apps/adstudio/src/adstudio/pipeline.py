"""The pipelines of ads and of their variants, as the TOML files beside this file spell them."""

from __future__ import annotations

from pathlib import Path

from pgbaton import Pipeline, load_pipeline

FILE = Path(__file__).with_name("pgbaton.toml")
VARIANTS_FILE = Path(__file__).with_name("ad_variants.toml")


def ad_creative(base_url: str | None = None) -> Pipeline:
    """The pipeline of ads, calling its stages at ``base_url`` (default: as the file says)."""
    return _at(load_pipeline(FILE), base_url)


def ad_variants(base_url: str | None = None) -> Pipeline:
    """The pipeline of their variants, rows of ``jobs_variants``."""
    return _at(load_pipeline(VARIANTS_FILE), base_url)


def _at(pipeline: Pipeline, base_url: str | None) -> Pipeline:
    if base_url is None:
        return pipeline
    return Pipeline.model_validate(pipeline.model_dump() | {"base_url": base_url})
