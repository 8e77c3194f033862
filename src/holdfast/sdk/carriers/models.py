"""Values that pydantic carries: its models and dataclasses, and whatever its annotations constrain.

Laws of this file:
- pydantic is loaded only by the author's annotations; the engine does not need it.
- A value is written by the names of its fields, whole (what it excludes from dumps of its own, too), without what it
  computes, sets in one order; it is read by names and by aliases.
- A value is written only if reading it gives an equal one. Private attributes are not part of it.
- Secrets are refused: what is recorded can be read by whoever reads histories.
"""

import dataclasses
import math
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec

from holdfast.sdk.carriers.containers import in_order
from holdfast.sdk.carriers.node import ANYTHING, ARRAY, OBJECT, Misfit, Node, Unsupported, called
from holdfast.sdk.carriers.scalars import NOT_FINITE

_AUTHORS: Final = frozenset({"cls", "config", "default", "expected", "function", "members", "metadata"})
"""Parts of a schema that hold objects of the author's, not schemas."""
_OF_NO_JSON: Final = {
    "callable": "a callable",
    "generator": "an iterator",
    "is-instance": "an object of a class that pydantic does not know",
    "is-subclass": "a class",
}
_OLDEST: Final = (2, 11)
"""The first pydantic that reads by names and by aliases as it is told, value by value."""
_SECRET: Final = frozenset({"Secret", "SecretBytes", "SecretStr", "_SecretBase", "_SecretField"})


def is_of_pydantic(kind: Any) -> bool:
    """Tell whether an annotation is itself one that pydantic reads."""
    if "pydantic" not in sys.modules:
        return False
    if get_origin(kind) is Annotated:
        return any(_constrains(each) for each in kind.__metadata__)
    cls = get_origin(kind) or kind
    return isinstance(cls, type) and (
        hasattr(cls, "__get_pydantic_core_schema__")
        or "__pydantic_validator__" in cls.__dict__
        or hasattr(cls, "__get_validators__")
        or cls.__module__.partition(".")[0] == "pydantic"
    )


def _constrains(note: object) -> bool:
    return hasattr(note, "__get_pydantic_core_schema__") or type(note).__module__.partition(".")[0] in {
        "annotated_types",
        "pydantic",
    }


class Model(Node):
    """Carries what pydantic's TypeAdapter does."""

    __slots__ = ("_read", "_to_python", "_write", "annotation")

    def __init__(self, annotation: Any) -> None:
        cls = get_origin(annotation) or annotation
        members = get_args(annotation) if cls in {typing.Union, UnionType} else (cls,)
        wire = {list: ARRAY, dict: OBJECT}.get(cls) or (OBJECT if all(map(_is_record, members)) else None)
        name = called(annotation) if isinstance(annotation, type) else str(annotation).replace("typing.", "")
        types = tuple(member for member in members if isinstance(member, type)) or (object,)
        super().__init__(name, types=types, wire=ANYTHING if wire is None else frozenset({wire}))
        self.annotation = annotation
        _refuse_secrets(annotation)
        self._write, self._to_python, self._read = _compiled(annotation)

    def dump(self, value: Any) -> Any:
        return msgspec.Raw(self.encode(value))

    def load(self, plain: Any) -> Any:
        return self.decode(msgspec.json.encode(plain))

    def encode(self, value: Any) -> bytes:
        """Write a value that will be read as an equal one.

        Raises:
            Misfit: it would not.
        """
        from pydantic_core import PydanticSerializationError

        if self.wire != ANYTHING and not isinstance(value, self.types):
            raise self.misfit(value)
        try:
            data = self._write(value)
        except PydanticSerializationError as error:
            raise Misfit(f"{called(type(value))} does not fit {self.name}: {_line(error)}") from error
        if b"NaN" in data or b"Infinity" in data:
            self._refuse_infinities(value, data)
        try:
            back = self.decode(data)
        except Misfit as misfit:
            raise Misfit(f"it could not be read again: {misfit.text}", misfit.path) from misfit
        if not alike(back, value):
            raise Misfit(f"{called(type(value))} would not come back as it is: as {called(type(back))} {back!r:.200}")
        return data

    def decode(self, data: bytes) -> Any:
        from pydantic import ValidationError

        try:
            return self._read(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
            raise Misfit(str(first["msg"]), place) from error

    def _refuse_infinities(self, value: Any, data: bytes) -> None:
        try:
            msgspec.json.decode(data)
        except msgspec.DecodeError:
            for place, number in _floats(self._to_python(value), ""):
                if not math.isfinite(number):
                    raise Misfit(f"{number!r} {NOT_FINITE}", place) from None
            raise Misfit(f"NaN or an infinity {NOT_FINITE}") from None


def _is_record(kind: Any) -> bool:
    fields = getattr(get_origin(kind) or kind, "__pydantic_fields__", None)
    return fields is not None and "root" not in fields


def _compiled(annotation: Any) -> tuple[Callable[[Any], bytes], Callable[[Any], Any], Callable[[bytes], Any]]:
    from pydantic import VERSION

    if tuple(map(int, VERSION.split(".")[:2])) < _OLDEST:
        raise Unsupported(f"pydantic {VERSION} is too old to carry it: install {'.'.join(map(str, _OLDEST))} or newer")
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter
    from pydantic_core import SchemaSerializer

    try:
        adapter = TypeAdapter(annotation)
        written = _canonical(adapter.core_schema)
    except PydanticSchemaGenerationError as error:
        raise Unsupported(f"pydantic does not carry it: {_line(error)}") from error
    except PydanticUserError as error:
        if error.code in {"class-not-fully-defined", "undefined-annotation"}:
            raise NameError(_line(error)) from error
        raise Unsupported(f"pydantic does not carry it: {_line(error)}") from error
    # Models bring serializers of their own, which know nothing of the one order of sets.
    serializer = SchemaSerializer(written, {"ser_json_inf_nan": "constants"}, _use_prebuilt=False)

    def write(value: Any) -> bytes:
        return serializer.to_json(value, round_trip=True, by_alias=False, warnings="error")

    def to_python(value: Any) -> Any:
        return serializer.to_python(value, round_trip=True, by_alias=False, warnings=False)

    def read(data: bytes) -> Any:
        return adapter.validate_json(data, by_alias=True, by_name=True)

    return write, to_python, read


def _canonical(schema: Any) -> Any:
    """Change how a schema writes: sets in one order, infinities so that they are seen, nothing excluded."""
    if isinstance(schema, (list, tuple)):
        return type(schema)(map(_canonical, schema))
    if not isinstance(schema, Mapping):
        return schema
    kind = schema.get("type")
    if kind in _OF_NO_JSON:
        raise Unsupported(f"{_OF_NO_JSON[kind]} has no form in JSON")
    if kind == "json-or-python":
        changed = {**schema, "json_schema": _canonical(schema["json_schema"])}
        if "serialization" not in schema:
            changed["python_schema"] = changed["json_schema"]
        return changed
    changed = {
        name: part if name in _AUTHORS else _canonical(part)
        for name, part in schema.items()
        if name not in {"serialization_exclude", "serialization_exclude_if"}
    }
    if isinstance(schema.get("config"), Mapping):
        changed["config"] = {**schema["config"], "ser_json_inf_nan": "constants"}
    if kind in {"set", "frozenset"} and "serialization" not in schema:
        changed["serialization"] = {
            "type": "function-wrap",
            "function": _written_in_order,
            "when_used": "json",
        }
    return changed


def _written_in_order(value: Any, write: Callable[[Any], Any]) -> Any:
    return in_order(list(write(value)))


def _floats(plain: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(plain, float):
        yield place, plain
    elif isinstance(plain, Mapping):
        for name, part in plain.items():
            yield from _floats(part, f"{place}.{name}")
    elif isinstance(plain, (list, tuple)):
        for number, part in enumerate(plain):
            yield from _floats(part, f"{place}[{number}]")


def alike(one: Any, other: Any) -> bool:
    """Tell whether a value came back as it went: the same classes, equal fields."""
    if type(one) is not type(other):
        return isinstance(one, (int, float)) and isinstance(other, (int, float)) and one == other
    fields = getattr(type(one), "__pydantic_fields__", None)
    if fields is not None:
        extra = "__pydantic_extra__"
        return all(alike(getattr(one, name), getattr(other, name)) for name in fields) and (
            getattr(one, extra, None) == getattr(other, extra, None)
        )
    if isinstance(one, Mapping):
        return len(one) == len(other) and all(key in other and alike(part, other[key]) for key, part in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    if dataclasses.is_dataclass(one):
        return all(alike(getattr(one, each.name), getattr(other, each.name)) for each in dataclasses.fields(one))
    return bool(one == other)


def _refuse_secrets(annotation: Any) -> None:
    for kind in _within(annotation, set()):
        if any(base.__module__ == "pydantic.types" and base.__name__ in _SECRET for base in kind.__mro__):
            raise Unsupported(
                f"{called(kind)} would be recorded readable: pass the name of the secret, and read it in the step"
            )


def _within(kind: Any, seen: set[int]) -> Iterator[type]:
    """Go through every class that an annotation leads to."""
    if id(kind) in seen:
        return
    seen.add(id(kind))
    if isinstance(kind, type):
        yield kind
        for field in getattr(kind, "__pydantic_fields__", {}).values():
            yield from _within(field.annotation, seen)
        if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
            for part in typing.get_type_hints(kind).values():
                yield from _within(part, seen)
    alias = getattr(kind, "__value__", None)
    for part in (get_origin(kind), alias, *get_args(kind)):
        if part is not None:
            yield from _within(part, seen)


def _line(error: Exception) -> str:
    return " ".join(str(error).partition("\n\nFor further")[0].split())
