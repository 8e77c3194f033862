"""The catalogue of topics: `topics/catalogue.toml`, read from the checkout or from the installed package.

Laws of this file:
- A topic's name, partitions and settings come from the catalogue and from nowhere else.
- Reading it needs no client of Kafka.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec

from holdfast.ports.log import Topic
from holdfast.ports.topics import full_name

SINGLE = 1
TASK_PARTITIONS = 16

_UNITS = {"hour": 3_600_000, "day": 86_400_000}


class TopicClass(msgspec.Struct, frozen=True, rename={"name": "class"}, forbid_unknown_fields=True):
    """An entry of the catalogue; `one_for_each` names what there is one such topic for."""

    name: str
    about: str
    partitions: Literal["shards", "tasks", "single"]
    key: str
    retention: str
    schemas: tuple[str, ...]
    json: tuple[str, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    settings: dict[str, str]
    one_for_each: str | None = None

    @property
    def retention_ms(self) -> int:
        number, unit = self.retention.split()
        return int(number) * _UNITS[unit.removesuffix("s")]


class _Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    topic: tuple[TopicClass, ...]


@cache
def catalogue() -> tuple[TopicClass, ...]:
    """Read all entries."""
    return msgspec.convert(tomllib.loads(_file().read_text("utf-8")), _Catalogue).topic


def topics(
    namespace: str,
    *,
    shards: int,
    queues: Sequence[str],
    task_partitions: int = TASK_PARTITIONS,
    replication: int = 1,
    min_in_sync: int = 1,
) -> list[Topic]:
    """List the topics of a namespace, to be installed."""
    counts = {"shards": shards, "tasks": task_partitions, "single": SINGLE}
    return [
        Topic(
            full_name(namespace, kind.name, name),
            counts[kind.partitions],
            {"retention.ms": str(kind.retention_ms), "min.insync.replicas": str(min_in_sync), **kind.settings},
            replication,
        )
        for kind in catalogue()
        for name in (queues if kind.one_for_each else (None,))
    ]


def _file() -> Path:
    """Find the file: beside the package in a wheel, at the root in a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "topics" / "catalogue.toml"
    return installed if installed.exists() else package.parents[1] / "topics" / "catalogue.toml"
