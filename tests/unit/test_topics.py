"""The catalogue of topics."""

from pathlib import Path

from holdfast.adapters.kafka.catalogue import catalogue, topics
from holdfast.core.events import Fact
from holdfast.ports.topics import full_name

SCHEMAS = Path(__file__).parents[2] / "schemas"


def test_every_schema_of_the_catalogue_exists() -> None:
    named = {schema for kind in catalogue() for schema in kind.schemas}
    assert [name for name in sorted(named) if not (SCHEMAS / f"{name}.avsc").exists()] == []
    assert all(set(kind.json) <= set(kind.schemas) for kind in catalogue())


def test_the_events_topic_takes_every_event() -> None:
    (events,) = (kind for kind in catalogue() if kind.name == "events")
    assert sorted(events.schemas) == sorted(kind.__name__ for kind in Fact.__subclasses__())


def test_the_topics_of_a_namespace_are_those_of_the_contract() -> None:
    made = {topic.name: topic for topic in topics("shop", shards=64, queues=["default", "cnc"])}
    assert sorted(made) == [
        "shop.commands.v1",
        "shop.dlq.v1",
        "shop.events.v1",
        "shop.outcomes.v1",
        "shop.results.v1",
        "shop.stream.v1",
        "shop.tasks.cnc.v1",
        "shop.tasks.default.v1",
    ]
    assert {made[f"shop.{kind}.v1"].partitions for kind in ("commands", "results", "events", "outcomes")} == {64}
    assert made["shop.commands.v1"].settings["retention.ms"] == "604800000"
    assert full_name("shop", "tasks", "cnc") == "shop.tasks.cnc.v1"


def test_in_production_there_are_three_replicas_and_two_must_be_in_sync() -> None:
    for topic in topics("shop", shards=64, queues=["default"], replication=3, min_in_sync=2):
        assert topic.replication == 3
        assert topic.settings["min.insync.replicas"] == "2"
