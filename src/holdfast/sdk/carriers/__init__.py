"""How values of the author's travel: typed by their annotations, to JSON bytes and back.

Laws of this package:
- What comes back equals what went in, and is of the same class; what cannot is refused, before anything is recorded.
- The bytes are the same in every process: nothing of them depends on addresses, hashes or what was imported before.
- msgspec writes and reads; what it does not tell apart is told by nodes of our own; where pydantic is in an annotation,
  pydantic carries that value.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from holdfast.sdk.carriers.models import Model, alike
from holdfast.sdk.carriers.node import Misfit, Node, Unsupported, called
from holdfast.sdk.carriers.reading import Assumed, Reader

_write: Final = msgspec.json.Encoder().encode
_read_any: Final = msgspec.json.Decoder().decode
_carriers: dict[Any, "Carrier"] = {}


class Carrier:
    """Carries the values of one annotation to bytes and back."""

    __slots__ = ("decode", "encode", "exact", "node", "plain")

    def __init__(self, node: Node, *, verify: bool = False) -> None:
        self.node = node
        self.exact = node.exact
        """The class whose values need no look at all before msgspec writes them."""
        self.decode: Callable[[bytes], Any] = _decode_of(node)
        self.encode: Callable[[Any], bytes] = _encode_of(node)
        self.plain: Callable[[Any], Any] = node.dump
        """What msgspec writes of a value among others."""
        if verify:
            self.exact = None
            self.plain = self._raw
            self.encode = _verified(self.encode, self.decode)

    def _raw(self, value: Any) -> msgspec.Raw:
        return msgspec.Raw(self.encode(value))


def _encode_of(node: Node) -> Callable[[Any], bytes]:
    if isinstance(node, Model):
        return node.encode
    dump, exact = node.dump, node.exact
    if exact is None:
        return lambda value: _write(dump(value))
    return lambda value: _write(value if type(value) is exact else dump(value))


def _decode_of(node: Node) -> Callable[[bytes], Any]:
    if isinstance(node, Model):
        return node.decode
    if node.kind is not None:
        return msgspec.json.Decoder(node.kind).decode
    load = node.load

    def decode(data: bytes) -> Any:
        return load(_read_any(data))

    return decode


def _verified(encode: Callable[[Any], bytes], decode: Callable[[bytes], Any]) -> Callable[[Any], bytes]:
    """Write a value only if reading it gives an equal one: its class has hooks or constraints of its own."""

    def encode_and_compare(value: Any) -> bytes:
        data = encode(value)
        back = decode(data)
        if not alike(back, value):
            raise Misfit(f"{called(type(value))} would not come back as it is, but as {back!r:.200}")
        return data

    return encode_and_compare


def carrier_of(kind: Any) -> Carrier:
    """Give what carries an annotation.

    Raises:
        Unsupported: says why nothing does, and what to write instead.
        NameError: a name in it is not there (yet).
    """
    try:
        known = _carriers.get(kind)
    except TypeError:  # an annotation that cannot be hashed
        return _read(kind)
    if known is None:
        known = _carriers[kind] = _read(kind)
    return known


def _read(kind: Any) -> Carrier:
    reader = Reader()
    try:
        node = reader.read(kind)
    except Assumed:
        reader = Reader(pessimistic=True)
        node = reader.read(kind)
    return Carrier(node, verify=reader.verify)


__all__ = ["Carrier", "Misfit", "Unsupported", "carrier_of"]
