"""The form in which a golden history is kept: the bytes of the store, and the schemas that they were written with."""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.ports.journal import StoredEvent
from holdfast.ports.schemas import WriterSchema

FOLDER = Path(__file__).parent
HISTORIES = FOLDER / "histories"
SCHEMAS = FOLDER / "schemas"
PLAIN = 4_096
"""Bytes; what is longer is kept compressed."""
COMPRESSED = "zlib:"


class GoldenRun(msgspec.Struct, frozen=True):
    """One run: how it stood when it was recorded, and its events as stored."""

    run_id: str
    incarnation: int
    workflow: str
    version: str
    status: str
    history: tuple[StoredEvent, ...]


class Golden(msgspec.Struct, frozen=True):
    """The runs of one story, and the large payloads that they refer to."""

    release: str
    runs: tuple[GoldenRun, ...]
    blobs: Mapping[str, bytes]


def names() -> list[str]:
    return sorted(file.stem for file in HISTORIES.glob("*.json"))


def path_of(name: str) -> Path:
    return HISTORIES / f"{name}.json"


def write(name: str, golden: Golden, schemas: Sequence[WriterSchema]) -> None:
    """Keep a history, and those of `schemas` that it is written with."""
    used = {one.data[2:10] for run in golden.runs for one in run.history}
    for schema in schemas:
        file = SCHEMAS / f"{schema.fingerprint.hex()}.json"
        if schema.fingerprint in used and not file.exists():
            kept = {"name": schema.name, "release": schema.release, "schema": json.loads(schema.text)}
            file.write_text(json.dumps(kept) + "\n")
    kept = {
        "release": golden.release,
        "blobs": {name: _text(data) for name, data in golden.blobs.items()},
        "runs": [
            {
                "run_id": run.run_id,
                "incarnation": run.incarnation,
                "workflow": run.workflow,
                "version": run.version,
                "status": run.status,
                "history": [[e.seq, e.at, e.type, _text(e.data)] for e in run.history],
            }
            for run in golden.runs
        ],
    }
    text = json.dumps(kept, indent=1)
    # One line an event: a history can be read beside its story.
    path_of(name).write_text(_joined(text) + "\n")


def _text(data: bytes) -> str:
    if len(data) <= PLAIN:
        return base64.b64encode(data).decode()
    return COMPRESSED + base64.b64encode(zlib.compress(data)).decode()


def _bytes(text: str) -> bytes:
    data = base64.b64decode(text.removeprefix(COMPRESSED))
    return zlib.decompress(data) if text.startswith(COMPRESSED) else data


def _joined(text: str) -> str:
    lines: list[str] = []
    depth = 0
    for line in text.splitlines():
        bare = line.strip()
        if depth:
            lines[-1] += bare if bare.startswith("]") else f"{bare} "
        else:
            lines.append(line)
        if bare == "[" or depth:
            depth += bare == "["
            depth -= bare.rstrip(",") == "]"
        lines[-1] = lines[-1].replace(" ]", "]")
    return "\n".join(lines)


def read(name: str) -> Golden:
    kept: Any = json.loads(path_of(name).read_text())
    runs = tuple(
        GoldenRun(
            run_id=run["run_id"],
            incarnation=run["incarnation"],
            workflow=run["workflow"],
            version=run["version"],
            status=run["status"],
            history=tuple(
                StoredEvent(run["run_id"], run["incarnation"], seq, kind, _bytes(data), at)
                for seq, at, kind, data in run["history"]
            ),
        )
        for run in kept["runs"]
    )
    blobs = {name: _bytes(text) for name, text in kept["blobs"].items()}
    return Golden(kept["release"], runs, blobs)


def schemas() -> list[WriterSchema]:
    """Give the schemas that the histories were written with, as an installation's table of them would."""
    found = []
    for file in sorted(SCHEMAS.glob("*.json")):
        kept: Any = json.loads(file.read_text())
        found.append(WriterSchema(bytes.fromhex(file.stem), kept["name"], json.dumps(kept["schema"]), kept["release"]))
    return found
