"""The files of `schemas/`: one Avro record each, referring to one another by full name.

Laws of this file:
- An assembled schema stands alone: a record is spelt out where it is first met and named after that.
- The fingerprint is that of the parsing canonical form, so documentation, defaults and logical types do not change it.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fastavro import parse_schema
from fastavro.schema import fingerprint, to_parsing_canonical_form

NAMESPACE = "holdfast.v1"

Schema = dict[str, Any]


def folder() -> Path:
    """Find the schemas: inside the installed package, or at the root of a checkout."""
    installed = Path(__file__).parents[2] / "schemas"
    return installed if installed.is_dir() else Path(__file__).parents[4] / "schemas"


@cache
def current() -> Mapping[str, Schema]:
    """Load the schemas by the names of their records, as they are now."""
    return load(folder())


@cache
def released() -> Mapping[str, Mapping[str, Schema]]:
    """Load the schemas of every release that changed any, by release."""
    return {release.name: load(release) for release in sorted((folder() / "released").iterdir()) if release.is_dir()}


def load(files: Path) -> dict[str, Schema]:
    """Load the records of one folder, each assembled to stand alone."""
    written = {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(files.glob("*.avsc"))}
    return {name: _spelt_out(schema, written, set()) for name, schema in written.items()}


def bare(schema: Any) -> Any:
    """Take the logical types off: times are plain microseconds to us, as they are in the bytes."""
    if isinstance(schema, list):
        return [bare(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: bare(value) for key, value in schema.items() if key not in {"logicalType", "default"}}
    return {**kept, "default": schema["default"]} if "default" in schema else kept


def parsed(schema: Schema) -> Schema:
    """Make a schema ready for fastavro."""
    ready: Schema = parse_schema(bare(schema))  # type: ignore[assignment]  # a record's schema is a dict
    return ready


def canonical(schema: Schema) -> str:
    """Write a schema in its parsing canonical form: all that a reader needs of a writer's schema."""
    return to_parsing_canonical_form(parsed(schema))


def mark(schema: Schema) -> bytes:
    """Tell the 8 bytes that name this schema in Avro's single-object encoding."""
    return _fingerprint(canonical(schema))


@cache  # a release has mostly the schemas of the one before
def _fingerprint(canonical: str) -> bytes:
    return bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))


def _spelt_out(schema: Any, written: Mapping[str, Schema], met: set[str]) -> Any:
    if isinstance(schema, str):
        short = schema.removeprefix(f"{NAMESPACE}.")
        return schema if short == schema or short in met else _spelt_out(written[short], written, met)
    if isinstance(schema, list):
        return [_spelt_out(branch, written, met) for branch in schema]
    whole = dict(schema)
    if whole["type"] == "record":
        met.add(whole["name"])
        whole["fields"] = [{**field, "type": _spelt_out(field["type"], written, met)} for field in whole["fields"]]
    for part in ("items", "values"):
        if part in whole:
            whole[part] = _spelt_out(whole[part], written, met)
    return whole
