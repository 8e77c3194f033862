"""The schemas: one record a file, equal to the structs, and never breaking with a release."""

import copy
import json
from typing import Any

import avro.schema
import msgspec
import pytest

from holdfast.adapters.avro import compatibility, schemas
from holdfast.adapters.avro.records import COMMANDS, PARTS, RECORDS
from holdfast.core.commands import SignalRun

ADDRESS = ["run_id", "incarnation"]
OURS = {(SignalRun, "seen"), (SignalRun, "carried")}
"""Fields that are ours alone and never on the wire."""
ALL = {**RECORDS, **PARTS}


def written(name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((schemas.folder() / f"{name}.avsc").read_text("utf-8"))
    return record


def changed(name: str, **fields: Any) -> dict[str, schemas.Schema]:
    """The present schemas, with fields of one record put in (a schema) or taken away (None)."""
    present = copy.deepcopy(dict(schemas.current()))
    kept = [field for field in present[name]["fields"] if field["name"] not in fields]
    present[name]["fields"] = kept + [{"name": key, **field} for key, field in fields.items() if field is not None]
    return present


def breaks(present: dict[str, schemas.Schema]) -> list[str]:
    return list(compatibility.differences(present, {"0.1.0": schemas.current()}))


def test_there_is_one_file_for_every_record_of_the_wire_and_none_besides() -> None:
    assert {file.stem for file in schemas.folder().glob("*.avsc")} == ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_a_file_holds_the_record_it_is_named_after(name: str) -> None:
    record = written(name)
    assert (record["type"], record["namespace"], record["name"]) == ("record", "holdfast.v1", name)
    assert record["doc"]


@pytest.mark.parametrize("name", ALL)
def test_a_record_has_the_fields_of_its_struct_in_their_order(name: str) -> None:
    ours = [field.name for field in msgspec.structs.fields(ALL[name]) if (ALL[name], field.name) not in OURS]
    assert [field["name"] for field in written(name)["fields"]] == (ADDRESS if name in COMMANDS else []) + ours


@pytest.mark.parametrize("name", ALL)
def test_a_default_is_that_of_the_struct_so_that_an_old_record_is_read_as_its_schema_says(name: str) -> None:
    # SignalRun's message id is required of our own code; on the wire, the record's ce_id stands in for it.
    expected: dict[str, Any] = {"message_id": ""} if name == "SignalRun" else {}
    expected |= {"incarnation": None} if name in COMMANDS else {}
    for field in msgspec.structs.fields(ALL[name]):
        if field.default is not msgspec.NODEFAULT:
            expected[field.name] = as_avro(field.default)
        elif field.default_factory is not msgspec.NODEFAULT:
            expected[field.name] = as_avro(field.default_factory())
    for ours in [one for kind, one in OURS if kind is ALL[name]]:
        expected.pop(ours, None)
    assert {field["name"]: field["default"] for field in written(name)["fields"] if "default" in field} == expected


def as_avro(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("latin-1")
        case tuple():
            return list(value)
        case msgspec.Struct():
            return {field.name: as_avro(getattr(value, field.name)) for field in msgspec.structs.fields(value)}
        case _:
            return value


@pytest.mark.parametrize("name", ALL)
def test_there_are_no_enums_and_no_unions_but_with_null_and_times_are_micros(name: str) -> None:
    for field in written(name)["fields"]:
        type_ = field["type"]
        if isinstance(type_, list):
            assert type_[0] == "null"
            assert len(type_) == 2
            assert field["default"] is None
        assert '"enum"' not in json.dumps(type_)
        is_time = field["name"].endswith("_at") or field["name"] in {"deadline", "not_before"}
        assert ("timestamp-micros" in json.dumps(type_)) == is_time


@pytest.mark.parametrize("name", ALL)
def test_the_fingerprint_is_the_one_that_apache_avro_computes(name: str) -> None:
    theirs = avro.schema.parse(json.dumps(schemas.bare(schemas.current()[name])))
    assert schemas.mark(schemas.current()[name]) == theirs.fingerprint("CRC-64-AVRO")


def test_an_assembled_schema_stands_alone() -> None:
    for name, schema in schemas.current().items():
        assert avro.schema.parse(json.dumps(schema)).fullname == f"holdfast.v1.{name}"  # type: ignore[attr-defined]  # the test does what types forbid


def test_the_present_schemas_break_with_no_release() -> None:
    assert schemas.released()
    assert list(compatibility.differences(schemas.current(), schemas.released())) == []
    assert compatibility.main() == 0


def test_a_field_with_a_default_may_be_added_and_taken_away() -> None:
    assert breaks(changed("RunParked", by={"type": "string", "default": ""})) == []
    assert breaks(changed("RunParked", detail=None)) == []


def test_a_field_without_a_default_is_caught_because_old_records_lack_it() -> None:
    (found,) = breaks(changed("RunParked", by={"type": "string"}))
    assert "RunParked can no longer read what release 0.1.0 wrote" in found
    assert "by" in found


def test_taking_away_a_field_that_old_readers_need_is_caught() -> None:
    (found,) = breaks(changed("StepCompleted", attempt=None))
    assert "StepCompleted writes what release 0.1.0 cannot read" in found


def test_another_type_is_caught_even_where_only_one_direction_breaks() -> None:
    (found,) = breaks(changed("StepCompleted", attempt={"type": "int"}))
    assert "StepCompleted can no longer read" in found


def test_a_change_deep_inside_is_caught_in_every_record_that_holds_it() -> None:
    present = copy.deepcopy(dict(schemas.current()))
    payload = next(field for field in present["RunCompleted"]["fields"] if field["name"] == "result")["type"]
    payload["fields"].append({"name": "checksum", "type": "bytes"})
    (found,) = breaks(present)
    assert "RunCompleted" in found
    assert "checksum" in found


def test_a_released_record_that_is_gone_is_caught() -> None:
    present = dict(schemas.current())
    del present["TimerFired"]
    assert breaks(present) == ["TimerFired of release 0.1.0 is gone: a released record stays"]
