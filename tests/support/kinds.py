"""Whether an object of Kubernetes fits the schema of its kind: Kubernetes' own kinds by the package kubernetes-validate, others
by the fields of crd_fields.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

TYPES = {"string": str, "integer": int, "boolean": bool}


@cache
def _ours() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("crd_fields.yaml").read_text(encoding="utf-8"))
    return found


def misfits(o: dict[str, Any], version: str) -> list[str]:
    """The faults, in sentences. Skips the test where the package is not installed."""
    if o["kind"] in _ours():
        return _fields(o["spec"], _ours()[o["kind"]], "spec")
    validate = pytest.importorskip("kubernetes_validate")
    try:
        validate.validate(o, version, strict=True)
    except validate.ValidationError as error:
        return [str(error)]
    return []


def _fields(value: Any, schema: Any, at: str) -> list[str]:
    if isinstance(schema, str):
        right = isinstance(value, TYPES[schema]) and (schema == "boolean" or not isinstance(value, bool))
        return [] if right else [f"{at} must be a {schema}"]
    if "each" in schema:
        if not isinstance(value, list):
            return [f"{at} must be a list"]
        return [said for i, item in enumerate(value) for said in _fields(item, schema["each"], f"{at}[{i}]")]
    if not isinstance(value, dict):
        return [f"{at} must have fields"]
    if "each_value" in schema:
        return [said for key, item in value.items() for said in _fields(item, schema["each_value"], f"{at}.{key}")]
    said = [f"{at}.{key} is missing" for key in schema.get("required", []) if value.get(key) is None]
    for key, item in value.items():
        known = schema["fields"].get(key)
        said += [f"{at} has no field {key}"] if known is None else _fields(item, known, f"{at}.{key}")
    return said
