"""One value of the author, typed by its annotation, to JSON bytes and back.

Laws of this file:
- What cannot be encoded, or does not fit the annotation, is an error that names the value.
- Whatever the author's classes raise on the way is that error, too; only what stops workflow code passes.
"""

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec

from holdfast.core.replay import ProgramStuck
from holdfast.sdk.carriers import Carrier, Misfit, Unsupported, carrier_of
from holdfast.sdk.carriers.containers import in_order
from holdfast.sdk.carriers.scalars import FREE
from holdfast.sdk.guard import NotDeterministic

_encoder: Final = msgspec.json.Encoder()


class _Given:
    """The type of `GIVEN`."""

    def __repr__(self) -> str:
        return "GIVEN"


GIVEN: Any = _Given()
"""The default of a parameter that Holdfast gives: `*, key: str = GIVEN`."""


class UnfitValue(TypeError):
    """A value that cannot travel, or does not fit the annotation: says which argument of which function."""


def encode(value: object, what: str, carrier: Carrier | None = None) -> bytes:
    """Encode one value, by what carries its annotation or else by its own class; `what` names it in the error."""
    try:
        if carrier is not None:
            return carrier.encode(value)
        return _encoder.encode(_plain(value))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an author's class may raise anything
        unfit(error, f"{what} cannot be encoded")


def decode(carrier: Carrier, data: bytes, what: str) -> Any:
    """Decode one value; `what` names it in the error."""
    try:
        return carrier.decode(data)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
        unfit(error, f"{what} does not fit")


def decoder(kind: Any) -> Carrier:
    """Give what carries an annotation.

    Raises:
        UnfitValue: nothing does; says why, and what to write instead.
    """
    try:
        return carrier_of(kind)
    except (Unsupported, NameError) as error:
        raise UnfitValue(f"{kind!r} cannot be carried: {error}") from error


def unfit(error: BaseException, text: str) -> NoReturn:
    """Say of an error that a value led to whose it is."""
    if isinstance(error, (NotDeterministic, ProgramStuck, UnfitValue)):
        raise error
    said = error if isinstance(error, (Misfit, msgspec.MsgspecError)) or str(error) else repr(error)
    raise UnfitValue(f"{text}: {said}") from error


def _plain(value: Any) -> Any:
    """Give what msgspec writes of a value that nobody has annotated: each part by its own class."""
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return [_plain(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return in_order([_plain(part) for part in value])
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {key: _plain(part) for key, part in value.items()}
    if dataclasses.is_dataclass(value) or isinstance(value, enum.Enum) or not isinstance(value, (str, int, Mapping)):
        return carrier_of(type(value)).node.dump(value)
    return FREE.dump(value)
