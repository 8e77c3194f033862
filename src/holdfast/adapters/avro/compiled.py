"""Writing and reading the bodies of our own records, fast: straight-line functions generated from the schemas.

A general Avro library walks the schema anew for every value: ten times the cost of what is done here, on
the path of every event. So each of our records gets two functions, made once from its schema. fastavro stays the
judge: the tests compare the bytes, and it reads whatever was written with another schema than the present one.

Laws of this file:
- The bytes are those that fastavro writes, for every value.
- A reader that runs past the end says so: `IndexError` at a byte, `struct.error` at a double, or it ends elsewhere than
  the bytes do.
- Only what our schemas need exists: null unions, strings, bytes, longs, doubles, booleans, records, and arrays and maps
  of strings. Another shape is refused when the functions are made.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count
from struct import Struct
from typing import Any

from holdfast.adapters.avro.schemas import Schema

Encode = Callable[[Any], bytes]
Decode = Callable[[bytes, int], Any]

_SMALL = 4096
_MORE = 0x80
_ODD_OR_MORE = 0x81
_LONG_BITS = 64
# An application has a handful of these values, and writes them all the time.
_REPEATED = frozenset({"RetrySchedule"})
_REPEATED_TEXTS = frozenset({"content_type", "encoding", "kind", "name", "queue", "step_id", "version", "workflow"})


def write_long(number: int) -> bytes:
    """Write a long: zigzag, seven bits a byte, the lowest first."""
    if not -(2**63) <= number < 2**63:
        raise OverflowError(f"{number} is no 64-bit integer")
    rest = number << 1 ^ number >> 63
    written = bytearray()
    while rest >= _MORE:
        written.append(rest & 0x7F | _MORE)
        rest >>= 7
    written.append(rest)
    return bytes(written)


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """Read a long: it and the position after it."""
    raw = shift = 0
    while True:
        byte = data[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        shift += 7
        if byte < _MORE:
            break
        if shift >= _LONG_BITS:
            raise ValueError("a number of more than 64 bits")
    if raw >> _LONG_BITS:
        raise ValueError("a number of more than 64 bits")
    return raw >> 1 ^ -(raw & 1), at


def read_size(data: bytes, at: int) -> tuple[int, int]:
    """Read the length of a text or bytes: it and the position after it."""
    size, at = read_long(data, at)
    if size < 0:
        raise ValueError("a negative length")
    return size, at


def write_text(text: str) -> bytes:
    """Write a string."""
    raw = text.encode()
    return write_long(len(raw)) + raw


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """Read a string: it and the position after it."""
    size, at = read_size(data, at)
    return data[at : at + size].decode(), at + size


_known_text: Callable[[str], bytes] = lru_cache(maxsize=1024)(write_text)


def write_texts(texts: tuple[str, ...]) -> bytes:
    """Write an array of strings that has any: one block and the end."""
    return b"".join((write_long(len(texts)), *map(write_text, texts), b"\0"))


def write_pairs(pairs: Mapping[str, str]) -> bytes:
    """Write a map of strings that has any: one block and the end."""
    return b"".join((write_long(len(pairs)), *(write_text(k) + write_text(v) for k, v in pairs.items()), b"\0"))


def read_texts(data: bytes, at: int) -> tuple[tuple[str, ...], int]:
    """Read an array of strings, in however many blocks."""
    texts: list[str] = []
    while True:
        items, at = _block(data, at)
        if not items:
            return tuple(texts), at
        for _ in range(items):
            text, at = read_text(data, at)
            texts.append(text)


def read_pairs(data: bytes, at: int) -> tuple[dict[str, str], int]:
    """Read a map of strings, in however many blocks."""
    pairs: dict[str, str] = {}
    while True:
        items, at = _block(data, at)
        if not items:
            return pairs, at
        for _ in range(items):
            key, at = read_text(data, at)
            pairs[key], at = read_text(data, at)


def _block(data: bytes, at: int) -> tuple[int, int]:
    items, at = read_long(data, at)
    if items < 0:  # its size in bytes follows, for those who want to leap over it
        _, at = read_long(data, at)
    return abs(items), at


_SHORT = tuple(write_long(number) for number in range(_SMALL))


class _Source:
    """The text of a function in the making, and what it refers to."""

    def __init__(self, records: dict[str, Schema]) -> None:
        self.lines: list[str] = []
        self.known: dict[str, Any] = {
            "SHORT": _SHORT,
            "known_text": _known_text,
            "write_long": write_long,
            "write_texts": write_texts,
            "write_pairs": write_pairs,
            "read_long": read_long,
            "read_size": read_size,
            "read_texts": read_texts,
            "read_pairs": read_pairs,
        }
        self.records = records
        self._numbers = count()

    def name(self, stem: str, value: Any = None) -> str:
        name = f"{stem}{next(self._numbers)}"
        if value is not None:
            self.known[name] = value
        return name

    def let(self, expression: str) -> str:
        name = self.name("x")
        self.lines.append(f"{name} = {expression}")
        return name

    def shape(self, schema: Any) -> Any:
        """Look up a record that is mentioned by name; remember one that is spelt out."""
        if isinstance(schema, dict):
            if schema["type"] == "record":
                self.records[f"{schema['namespace']}.{schema['name']}"] = schema
            elif len(schema) == 1 or "logicalType" in schema:
                return schema["type"]
        return self.records.get(schema, schema) if isinstance(schema, str) else schema

    def function(self, head: str) -> Any:
        body = "\n".join(f"    {line}" for line in self.lines)
        exec(f"def made({head}):\n{body}", self.known)  # noqa: S102 - text made above from our own schemas, nobody's input
        return self.known["made"]


def encoder(schema: Any, paths: Mapping[str, str] | None = None, *, prefix: bytes = b"") -> Encode:
    """Make the function that writes a value; `paths` tells where fields of the outermost record are, if not in it."""
    return _encoder(schema, paths or {}, prefix, {})


def _encoder(schema: Any, paths: Mapping[str, str], prefix: bytes, records: dict[str, Schema]) -> Encode:
    source = _Source(records)
    parts = ["PREFIX"] if prefix else []
    source.known["PREFIX"] = prefix
    _write(source, parts, schema, "value", paths)
    source.lines.append(f"return b''.join(({', '.join(parts)},))")
    made: Encode = source.function("value")
    return made


def _write(source: _Source, parts: list[str], schema: Any, value: str, paths: Mapping[str, str]) -> None:
    match source.shape(schema):
        case {"type": "record", "name": name} if name in _REPEATED and value != "value":
            whole = source.name("write", lru_cache(maxsize=256)(_encoder(schema, {}, b"", source.records)))
            parts.append(f"{whole}({value})")
        case {"type": "record", "fields": fields}:
            _write_fields(source, parts, fields, value, paths)
        case "string":
            _write_bytes(source, parts, source.let(f"{value}.encode()"))
        case "bytes":
            _write_bytes(source, parts, source.let(value))
        case "long":
            number = source.let(value)
            parts.append(f"SHORT[{number}] if -1 < {number} < {_SMALL} else write_long({number})")
        case "double":
            parts.append(f"{source.name('pack', Struct('<d').pack)}({value})")
        case "boolean":
            parts.append(f"b'\\1' if {value} else b'\\0'")
        case ["null", branch]:
            there = source.let(value)
            some = source.name("write", _encoder(branch, {}, b"\2", source.records))
            parts.append(f"b'\\0' if {there} is None else {some}({there})")
        case {"type": "array", "items": "string"}:
            parts.append(f"write_texts({value}) if {value} else b'\\0'")
        case {"type": "map", "values": "string"}:
            parts.append(f"write_pairs({value}) if {value} else b'\\0'")
        case other:
            raise NotImplementedError(f"no writer for the Avro type {other}")


def _write_fields(
    source: _Source, parts: list[str], fields: list[Schema], value: str, paths: Mapping[str, str]
) -> None:
    outer = value if value == "value" else source.let(value)
    for field in fields:
        part = paths.get(field["name"], f"{outer}.{field['name']}")
        if field["type"] == "string" and field["name"] in _REPEATED_TEXTS:
            parts.append(f"known_text({part})")
        else:
            _write(source, parts, field["type"], part, {})


def _write_bytes(source: _Source, parts: list[str], raw: str) -> None:
    size = source.let(f"len({raw})")
    parts += [f"SHORT[{size}] if {size} < {_SMALL} else write_long({size})", raw]


def decoder(schema: Any, kinds: Mapping[str, Callable[..., Any]]) -> Decode:
    """Make the function that reads a value from a position to the end; `kinds` builds records from their fields."""
    source = _Source({})
    value = _read(source, schema, kinds)
    source.lines += [
        "if at != len(data):",
        "    raise ValueError('the record ends at byte %d of %d' % (at, len(data)))",
        f"return {value}",
    ]
    made: Decode = source.function("data, at")
    return made


def _read(source: _Source, schema: Any, kinds: Mapping[str, Callable[..., Any]]) -> str:
    """Write down how a value is read at `at`, and tell the name of what holds it then."""
    value = source.name("x")
    match source.shape(schema):
        case {"type": "record", "name": name, "fields": fields}:
            read = [f"{field['name']}={_read(source, field['type'], kinds)}" for field in fields]
            source.lines.append(f"{value} = {source.name('kind', kinds[name])}({', '.join(read)})")
        case "string" | "bytes" as kind:
            source.lines += [
                "size = data[at]",
                f"if size & {_ODD_OR_MORE}: size, at = read_size(data, at)",
                "else: size >>= 1; at += 1",
                "end = at + size",
                f"{value} = data[at:end]{'.decode()' if kind == 'string' else ''}",
                "at = end",
            ]
        case "long":
            source.lines += [
                f"{value} = data[at]",
                f"if {value} & {_ODD_OR_MORE}: {value}, at = read_long(data, at)",
                f"else: {value} >>= 1; at += 1",
            ]
        case "double":
            source.lines += [f"{value}, = {source.name('unpack', Struct('<d').unpack_from)}(data, at)", "at += 8"]
        case "boolean":
            source.lines += [f"{value} = data[at] != 0", "at += 1"]
        case ["null", branch]:
            source.lines += [f"if data[at] == 0: {value} = None; at += 1", "elif data[at] == 2:"]
            before, source.lines = source.lines, ["at += 1"]
            inner = _read(source, branch, kinds)
            some = [*source.lines, f"{value} = {inner}"]
            source.lines = [
                *before,
                *(f"    {line}" for line in some),
                "else: raise ValueError('no branch of a union')",
            ]
        case {"type": "array", "items": "string"}:
            source.lines += [f"if data[at] == 0: {value} = (); at += 1", f"else: {value}, at = read_texts(data, at)"]
        case {"type": "map", "values": "string"}:
            source.lines += [f"if data[at] == 0: {value} = {{}}; at += 1", f"else: {value}, at = read_pairs(data, at)"]
        case other:
            raise NotImplementedError(f"no reader for the Avro type {other}")
    return value
