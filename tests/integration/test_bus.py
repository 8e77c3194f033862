"""From the bus: strangers start runs, tell them things and hear their outcomes, in any language, without our client."""

import asyncio
import io
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from holdfast import signal, step, workflow
from holdfast.core.identity import shard_of
from tests.integration.bus import BY_DEFAULT, BY_JAVA, SHARDS, Letter, Running, json_headers, running, settings_on
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
CLOUD_EVENT = {
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "ce_correlationid",
    "ce_causationid",
    "ce_sequence",
    "content-type",
    "traceparent",
}


@step
async def bus_add(number: int) -> int:
    return number + 1


@workflow
async def bus_thrice(number: int) -> int:
    for _ in range(3):
        number = await bus_add(number)
    return number


@workflow
async def bus_waiting() -> str:
    return await signal("word", str)


@pytest.fixture
async def here(servers: Servers, namespace: str) -> AsyncIterator[Running]:
    async with running(settings_on(servers, namespace)) as one:
        yield one


def schema(name: str) -> Any:
    """Read a schema as a stranger does: from the files, with nothing of ours."""
    text = (SCHEMAS / f"{name}.avsc").read_text()
    parts = [part for part in ("Payload", "Failure", "Parent") if f'"holdfast.v1.{part}"' in text]
    return fastavro.schema.load_schema_ordered([str(SCHEMAS / f"{part}.avsc") for part in (*parts, name)])


def mark(name: str) -> bytes:
    """Make the header of single-object encoding."""
    fingerprint = fastavro.schema.fingerprint(fastavro.schema.to_parsing_canonical_form(schema(name)), "CRC-64-AVRO")
    return b"\xc3\x01" + bytes.fromhex(fingerprint)


def avro(name: str, record: dict[str, Any]) -> bytes:
    """Write a record in Avro's single-object encoding."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema(name), record)
    return mark(name) + body.getvalue()


def read(name: str, value: bytes) -> dict[str, Any]:
    assert value[:10] == mark(name)
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[10:]), schema(name), None)
    return dict(record)


def start_of(run_id: str, number: int = 1, **more: object) -> dict[str, object]:
    return {"run_id": run_id, "workflow": "bus_thrice", "input": number, **more}


def placed_wrong(letters: list[Letter], run_id: str) -> bool:
    return any(one.partition != shard_of(run_id, SHARDS) for one in letters if one.key == run_id.encode())


def kinds_of(letters: list[Letter], run_id: str) -> list[str]:
    return [one.header("ce_type") for one in letters if one.key == run_id.encode()]


# ------------------------------------------------------------------------------------------------ foreign partitioners


async def test_a_start_on_a_foreign_partition_is_forwarded_and_makes_one_run(here: Running) -> None:
    runs = [f"order-{number}" for number in range(40)]
    for run_id in runs:
        here.bus.put(
            json.dumps(start_of(run_id, 5)).encode(),
            json_headers("StartRun", f"first/{run_id}"),
            key=run_id,
            partitioner=BY_DEFAULT,
        )
    here.bus.flush()
    for run_id in runs:
        assert await here.result(run_id) == 8

    commands = here.bus.letters("commands")
    strayed = {
        one.key.decode()
        for one in commands
        if one.key is not None and one.partition != shard_of(one.key.decode(), SHARDS)
    }
    assert len(strayed) > len(runs) / 4, "librdkafka's default agrees with murmur2 by chance only"
    forwarded = [one for one in commands if ("holdfast_forwarded", b"1") in one.headers]
    assert Counter((one.key or b"").decode() for one in forwarded) == dict.fromkeys(strayed, 1)
    for one in forwarded:
        run_id = (one.key or b"").decode()
        (original,) = [o for o in commands if o.key == one.key and o is not one]
        assert one.partition == shard_of(run_id, SHARDS)
        assert one.value == original.value
        assert one.headers == [*original.headers, ("holdfast_forwarded", b"1")]
        assert one.header("ce_id") == f"first/{run_id}"
    await one_writer(here, runs)


async def test_a_producer_told_to_hash_as_java_does_needs_no_forwarding(here: Running) -> None:
    runs = [f"order-{number}" for number in range(40)]
    for run_id in runs:
        headers = json_headers("StartRun", f"first/{run_id}")
        here.bus.put(json.dumps(start_of(run_id, 5)).encode(), headers, key=run_id, partitioner=BY_JAVA)
    here.bus.flush()
    for run_id in runs:
        assert await here.result(run_id) == 8
    commands = here.bus.letters("commands")
    assert len(commands) == len(runs)
    assert not any(placed_wrong(commands, run_id) for run_id in runs)


async def test_a_record_without_a_key_is_for_the_run_that_its_value_names(here: Running) -> None:
    for partition in range(SHARDS):
        here.bus.say("StartRun", start_of("order-1", 5), ce_id=f"id-{partition}", partition=partition)
    assert await here.result("order-1") == 8
    forwarded = await here.bus.until("commands", lambda found: len(found) >= 2 * SHARDS - 1)
    assert {one.partition for one in forwarded if one.key == b"order-1"} == {shard_of("order-1", SHARDS)}
    await one_writer(here, ["order-1"])


async def one_writer(here: Running, runs: list[str]) -> None:
    """Each run was started once, and nothing of its history was written twice."""
    for run_id in runs:
        stored = await here.stored(run_id)
        assert [one.seq for one in stored.history] == list(range(1, len(stored.history) + 1))
        assert Counter(one.type for one in stored.history) == {
            "RunStarted": 1,
            "StepScheduled": 3,
            "StepCompleted": 3,
            "RunCompleted": 1,
        }


# ------------------------------------------------------------------------------------------------------------ commands


async def test_signal_and_cancel_in_json(here: Running) -> None:
    for run_id in ("told", "stopped"):
        here.bus.say("StartRun", {"run_id": run_id, "workflow": "bus_waiting"}, ce_id=f"s/{run_id}", key=run_id)
    said = {"run_id": "told", "name": "word", "message_id": "m1", "input": "grüß dich"}
    here.bus.say("SignalRun", said, ce_id="w", key="told")
    here.bus.say("CancelRun", {"run_id": "stopped", "reason": "enough"}, ce_id="c", key="stopped")
    assert await here.result("told") == "grüß dich"
    await here.stored("stopped", "CANCELLED")


async def test_a_signal_without_a_message_id_counts_once_by_its_source_and_id(here: Running) -> None:
    here.bus.say("StartRun", {"run_id": "told", "workflow": "bus_waiting"}, ce_id="s", key="told")
    await here.stored("told", "RUNNING")
    for _ in range(3):
        here.bus.put(
            json.dumps({"run_id": "told", "name": "other", "input": "x"}).encode(),
            json_headers("SignalRun", "the same"),
            key="told",
        )
    here.bus.say("SignalRun", {"run_id": "told", "name": "word", "input": "go"}, ce_id="another", key="told")
    assert await here.result("told") == "go"
    history = (await here.stored("told")).history
    assert Counter(one.type for one in history)["SignalReceived"] == 2


async def test_a_start_in_avro_with_its_attributes(here: Running) -> None:
    record = {
        "run_id": "order-1",
        "workflow": "bus_thrice",
        "input": {"data": b"4"},
        "attributes": {"shop": "Zürich"},
    }
    here.bus.send(avro("StartRun", record), {"ce_id": "a"}, key="order-1")
    assert await here.result("order-1") == 7
    assert (await here.stored("order-1")).row.attributes == {"shop": "Zürich"}


# ------------------------------------------------------------------------------------------------ outcomes and events


async def test_an_outcome_is_read_with_its_schema_alone(here: Running) -> None:
    here.bus.say("StartRun", start_of("order-1", 5, attributes={"shop": "Bern"}), ce_id="s", key="order-1")
    (letter,) = await here.bus.until("outcomes", bool)
    said = read("RunOutcome", letter.value)
    assert letter.key == b"order-1"
    assert letter.partition == shard_of("order-1", SHARDS)
    assert (said["run_id"], said["workflow"], said["status"]) == ("order-1", "bus_thrice", "COMPLETED")
    assert said["result"]["content_type"] == "application/json"
    assert json.loads(said["result"]["data"]) == 8
    assert said["error"] is None
    assert said["attributes"] == {"shop": "Bern"}
    assert said["ended_at"] >= said["started_at"]
    assert said["started_at"].utcoffset().total_seconds() == 0
    assert {name for name, _ in letter.headers} >= CLOUD_EVENT
    assert letter.header("ce_specversion") == "1.0"
    assert letter.header("ce_type") == "holdfast.RunOutcome.v1"
    assert letter.header("ce_id") == "order-1/0/8"
    assert letter.header("ce_sequence") == "8"
    assert letter.header("ce_subject") == "order-1"
    assert letter.header("content-type") == "application/avro"
    assert letter.header("ce_source") == f"/holdfast/{here.bus.namespace}"


async def test_the_events_of_a_run_are_a_gapless_prefix_with_ids_of_their_own(here: Running) -> None:
    runs = [f"order-{number}" for number in range(20)]
    for run_id in runs:
        here.bus.put(json.dumps(start_of(run_id)).encode(), json_headers("StartRun", run_id), key=run_id)
    here.bus.flush()
    letters = await here.bus.until("events", lambda found: len(found) >= 8 * len(runs))
    for run_id in runs:
        mine = [one for one in letters if one.key == run_id.encode()]
        assert [int(one.header("ce_sequence")) for one in mine] == list(range(1, 9))
        assert [one.header("ce_id") for one in mine] == [f"{run_id}/0/{seq}" for seq in range(1, 9)]
        assert {one.partition for one in mine} == {shard_of(run_id, SHARDS)}
        assert all({name for name, _ in one.headers} >= CLOUD_EVENT for one in mine)
        stored = (await here.stored(run_id)).history
        assert [one.value for one in mine] == [one.data for one in stored], (
            "the bytes in history are those on the topic"
        )
        started = read("RunStarted", mine[0].value)
        assert (started["workflow"], started["input"]["data"]) == ("bus_thrice", b"1")


async def test_thousands_of_starts_in_any_order_with_duplicates_are_one_run_each(
    servers: Servers, namespace: str
) -> None:
    chance = random.Random(3)
    runs = [f"order-{number}" for number in range(3_000)]
    starts = [*runs, *chance.sample(runs, 1_500), *chance.sample(runs, 500)]
    chance.shuffle(starts)
    async with running(settings_on(servers, namespace)) as here:
        for number, run_id in enumerate(starts):
            partitioner = chance.choice((BY_JAVA, BY_DEFAULT))
            value = json.dumps(start_of(run_id, 7)).encode()
            here.bus.put(value, json_headers("StartRun", f"{number}"), key=run_id, partitioner=partitioner)
        await asyncio.to_thread(here.bus.flush)
        outcomes = await here.bus.until("outcomes", lambda found: len({one.key for one in found}) == len(runs))
        # What is sent last is read last: once it is done, every duplicate has been decided on.
        for partition in range(SHARDS):
            run_id = next(f"last-{n}" for n in range(1_000) if shard_of(f"last-{n}", SHARDS) == partition)
            here.bus.say("StartRun", start_of(run_id), ce_id=run_id, key=run_id)
            await here.result(run_id)
        counted = Counter(one.header("ce_id") for one in outcomes)
        assert counted == {f"{run_id}/0/8": 1 for run_id in runs}
        assert all(json.loads(read("RunOutcome", one.value)["result"]["data"]) == 10 for one in outcomes)
        await one_writer(here, chance.sample(runs, 100))
        assert len(here.bus.letters("dlq")) == 0
        assert len(here.bus.letters("events")) == 8 * (len(runs) + SHARDS)
