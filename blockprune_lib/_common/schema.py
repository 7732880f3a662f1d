"""What a JSON record must hold: a description that is read by people and checked by code.

A schema is a dict {key: part}, a list [part], or text whose first word is a type: "text", "int", "number", "flag",
"object", "[number]", each perhaps followed by " or null"; after a colon it says what the value means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def check_schema(plain: Any, schema: Any, place: str = "record") -> None:
    """Raise ValueError, naming the place, unless `plain` has what `schema` describes; more keys are allowed."""
    if isinstance(schema, Mapping):
        if not isinstance(plain, dict):
            raise ValueError(f"{place} must be an object; got {plain!r:.60}")
        for key, part in schema.items():
            if key not in plain:
                raise ValueError(f"{place}.{key} is missing")
            check_schema(plain[key], part, f"{place}.{key}")
    elif isinstance(schema, list):
        if not isinstance(plain, list):
            raise ValueError(f"{place} must be a list; got {plain!r:.60}")
        for number, entry in enumerate(plain):
            check_schema(entry, schema[0], f"{place}[{number}]")
    elif not _is(plain, wanted := schema.partition(":")[0]):
        raise ValueError(f"{place} must be {wanted}; got {plain!r:.60}")


def _is(plain: Any, wanted: str) -> bool:
    if wanted.endswith(" or null"):
        return plain is None or _is(plain, wanted.removesuffix(" or null"))
    if wanted == "[number]":
        return isinstance(plain, list) and bool(plain) and all(_is(entry, "number") for entry in plain)
    if wanted == "number":
        return isinstance(plain, int | float) and not isinstance(plain, bool) and math.isfinite(plain)
    if wanted == "int":
        return isinstance(plain, int) and not isinstance(plain, bool)
    return isinstance(plain, {"text": str, "object": dict, "list": list, "flag": bool}[wanted])
