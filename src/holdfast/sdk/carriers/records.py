"""Classes with named fields: dataclasses, msgspec's structs, attrs classes.

Laws of this file:
- A record travels by its own class alone: of a subclass, fields would be lost.
- What msgspec cannot make by itself is made as msgspec would: the fields are set, then the class's own hook is called.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from holdfast.sdk.carriers.node import ANYTHING, ARRAY, OBJECT, Misfit, Node, at_place, called


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A field of a record, and the name that it has in JSON."""

    name: str
    key: str
    node: Node
    default: Callable[[], Any] | None = None
    required: bool = True


class Record(Node):
    """A dataclass or an attrs class."""

    __slots__ = ("_class", "_fields", "_hook", "_keys", "_parts")

    def __init__(self, cls: type, fields: Sequence[Field], *, kind: Any, hook: str) -> None:
        super().__init__(called(cls), types=(cls,), wire=frozenset({OBJECT}), kind=kind)
        self._class = cls
        self._fields = fields
        self._hook = hook
        self._keys = [field.key for field in fields]
        self._parts = [(field.name, field.node.exact, field.node.dump) for field in fields]

    def dump(self, value: Any) -> Any:
        if type(value) is not self._class:
            raise self.misfit(value)
        changed = self.kind is None
        parts = []
        name = ""
        try:
            for name, exact, dump in self._parts:
                part = getattr(value, name)
                if type(part) is not exact:
                    plain = dump(part)
                    if plain is not part:
                        changed = True
                    part = plain
                parts.append(part)
        except Misfit as misfit:
            raise misfit.at(f".{name}") from None
        except AttributeError as error:
            raise Misfit(f"{self.name} has no {name!r}: {error}") from error
        return dict(zip(self._keys, parts, strict=True)) if changed else value

    def load(self, plain: Any) -> Any:
        if self.kind is not None:
            return super().load(plain)
        if not isinstance(plain, dict):
            raise self.refused(plain, "object")
        made: Any = object.__new__(self._class)
        for field in self._fields:
            if field.key in plain:
                part = at_place(field.node.load, plain[field.key], f".{field.key}")
            elif field.default is not None:
                part = field.default()
            elif field.required:
                raise Misfit(f"Object missing required field `{field.key}`")
            else:
                continue
            object.__setattr__(made, field.name, part)
        hook = getattr(made, self._hook, None)
        if hook is not None:
            try:
                hook()
            except (ValueError, TypeError) as error:
                raise Misfit(str(error)) from error
        return made


class Own(Node):
    """A class of the author's that reads and writes itself, as pydantic's models do: model_validate, model_dump."""

    __slots__ = ("_class",)

    def __init__(self, cls: Any) -> None:
        super().__init__(called(cls), types=(cls,), wire=ANYTHING)
        self._class = cls

    def dump(self, value: Any) -> Any:
        if type(value) is not self._class or not hasattr(value, "model_dump"):
            raise self.misfit(value)
        return value.model_dump(mode="json")

    def load(self, plain: Any) -> Any:
        return self._class.model_validate(plain)


class Structure(Node):
    """A struct of msgspec, with its own names, tag and form."""

    __slots__ = ("_class", "_config", "_fields", "_parts")

    def __init__(self, cls: type[msgspec.Struct], fields: Mapping[str, Node], *, kind: Any) -> None:
        self._class = cls
        self._config = cls.__struct_config__
        wire = ARRAY if self._config.array_like else OBJECT
        super().__init__(called(cls), types=(cls,), wire=frozenset({wire}), kind=kind)
        self._parts = [(name, fields[name].exact, fields[name].dump) for name in cls.__struct_fields__]
        self._fields = [
            Field(name, key, fields[name])
            for name, key in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
        ]

    def dump(self, value: Any) -> Any:
        if type(value) is not self._class:
            raise self.misfit(value)
        copied = None
        for name, exact, dump in self._parts:
            part = getattr(value, name)
            if type(part) is exact:
                continue
            try:
                plain = dump(part)
            except Misfit as misfit:
                raise misfit.at(f".{name}") from None
            # An empty set is written as it is: msgspec may have to leave it out.
            if plain is not part and (part or not isinstance(part, (set, frozenset))):
                if copied is None:
                    copied = copy.copy(value)
                msgspec.structs.force_setattr(copied, name, plain)
        return value if copied is None else copied

    def load(self, plain: Any) -> Any:
        if self.kind is not None:
            return super().load(plain)
        named = self._named(plain)
        try:
            return self._class(**named)
        except (ValueError, TypeError) as error:
            raise Misfit(str(error)) from error

    def _named(self, plain: Any) -> dict[str, Any]:
        tag, fields = self._config.tag, self._fields
        if self._config.array_like:
            if not isinstance(plain, list):
                raise self.refused(plain, "array")
            if tag is not None:
                if plain[:1] != [tag]:
                    raise Misfit(f"Invalid value {plain[:1]}: {self.name} is tagged {tag!r}")
                plain = plain[1:]
            return {
                field.name: at_place(field.node.load, part, f"[{number}]")
                for number, (field, part) in enumerate(zip(fields, plain, strict=False))
            }
        if not isinstance(plain, dict):
            raise self.refused(plain, "object")
        if tag is not None and plain.get(str(self._config.tag_field)) != tag:
            raise Misfit(f"Invalid value: {self.name} is tagged {tag!r}")
        known = {field.key for field in fields} | {self._config.tag_field}
        if self._config.forbid_unknown_fields and not known >= plain.keys():
            raise Misfit(f"Object contains unknown field `{min(plain.keys() - known)}`")
        return {
            field.name: at_place(field.node.load, plain[field.key], f".{field.key}")
            for field in fields
            if field.key in plain
        }
