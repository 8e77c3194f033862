"""Values of the author, typed by the annotations, to JSON bytes and back.

Laws of this file:
- One parameter travels as its value, several as an object by name, none as null.
- What cannot be encoded, or does not fit the annotation, is an error that names the argument.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
_KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY


class _Given:
    """The type of `GIVEN`."""

    def __repr__(self) -> str:
        return "GIVEN"


GIVEN: Any = _Given()
"""The default of a parameter that Holdfast gives: `*, key: str = GIVEN`."""


class UnfitValue(TypeError):
    """A value that cannot travel, or does not fit the annotation: says which argument of which function."""


def to_plain(value: object) -> object:
    """Encode what msgspec does not know: pydantic's models, by their own rules."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise NotImplementedError(f"{type(value).__qualname__} cannot be encoded as JSON")


def from_plain(kind: type[Any], value: object) -> object:
    """Decode what msgspec does not know."""
    validate = getattr(kind, "model_validate", None)
    if callable(validate):
        return validate(value)
    if isinstance(value, kind):
        return value
    raise NotImplementedError(f"{getattr(kind, '__qualname__', kind)} cannot be decoded from JSON")


_encoder = msgspec.json.Encoder(enc_hook=to_plain)


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Make a decoder for an annotation; no annotation is Any."""
    return msgspec.json.Decoder(Any if kind is inspect.Parameter.empty else kind, dec_hook=from_plain)


def encode(value: object, what: str) -> bytes:
    """Encode one value; `what` names it in the error."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, NotImplementedError, RecursionError, OverflowError) as error:
        raise UnfitValue(f"{what} cannot be encoded: {error}") from error


def decode(with_decoder: msgspec.json.Decoder[T], data: bytes, what: str) -> T:
    """Decode one value; `what` names it in the error."""
    try:
        return with_decoder.decode(data)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError, NotImplementedError) as error:
        raise UnfitValue(f"{what} does not fit: {error}") from error


def _same(value: T) -> T:
    return value


class Shape:
    """How the arguments and the result of one function travel. Annotations are read at first use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__qualname__
        self.signature = inspect.signature(function)
        parameters = self.signature.parameters.values()
        self.given = frozenset(p.name for p in parameters if p.default is GIVEN)
        self.names = tuple(p.name for p in parameters if p.default is not GIVEN)
        self._hints: Mapping[str, Any] | None = None
        self._arguments: msgspec.json.Decoder[Any] | None = None
        self._result: msgspec.json.Decoder[Any] | None = None
        self._single = self.names[0] if len(self.names) == 1 else None
        self._by_place = tuple(n for n in self.names if self._kind(n) is _POSITIONAL_ONLY)
        self._by_name = tuple(n for n in self.names if n not in self._by_place)
        self._single_by_name = self._single is not None and self._kind(self._single) is _KEYWORD_ONLY
        # Written once: an error needs them seldom, a call would write them every time.
        self._the_argument = f"argument {self._single!r} of {self.name}()"
        self._the_arguments = f"the arguments of {self.name}()"
        self._the_result = f"the result of {self.name}()"

    def _kind(self, name: str) -> Any:
        return self.signature.parameters[name].kind

    def check(self) -> None:
        """Refuse what cannot travel, at import: positional-only or variadic parameters."""
        for parameter in self.signature.parameters.values():
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                raise TypeError(f"{self.name}(): *{parameter.name} cannot be recorded; name each parameter")
            if parameter.default is GIVEN and parameter.kind is not parameter.KEYWORD_ONLY:
                raise TypeError(f"{self.name}(): write *, {parameter.name}: … = GIVEN (keyword-only)")

    def _hint(self, name: str) -> Any:
        if self._hints is None:
            self._hints = typing.get_type_hints(self.function)
        return self._hints.get(name, Any)

    def encode_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Encode a call's arguments.

        Raises:
            UnfitValue: names the argument that cannot be encoded.
            TypeError: the call does not fit the signature.
        """
        if self._single is not None and len(args) == 1 and not kwargs:
            return encode(args[0], self._the_argument)
        bound = self.signature.bind(*args, **{k: v for k, v in kwargs.items() if k not in self.given})
        bound.apply_defaults()
        values = {name: bound.arguments[name] for name in self.names}
        if self._single is not None:
            return encode(values[self._single], self._the_argument)
        if not values:
            return b"null"
        try:
            return _encoder.encode(values)
        except (TypeError, ValueError, NotImplementedError, RecursionError, OverflowError):
            for name, value in values.items():
                encode(value, f"argument {name!r} of {self.name}()")
            raise

    def decode_arguments(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode a call's arguments, typed by the annotations.

        Raises:
            UnfitValue: the bytes do not fit.
        """
        if not self.names:
            return (), {}
        if self._arguments is None:
            self._arguments = self._arguments_decoder()
        if self._single is not None:
            value = decode(self._arguments, data, self._the_argument)
            return ((), {self._single: value}) if self._single_by_name else ((value,), {})
        values = decode(self._arguments, data, self._the_arguments)
        return (
            tuple([getattr(values, name) for name in self._by_place]),
            {name: getattr(values, name) for name in self._by_name},
        )

    def _arguments_decoder(self) -> msgspec.json.Decoder[Any]:
        if self._single is not None:
            return decoder(self._hint(self._single))
        fields: list[Any] = []
        for name in self.names:
            default = self.signature.parameters[name].default
            if default is inspect.Parameter.empty:
                fields.append((name, self._hint(name)))
            else:
                fields.append((name, self._hint(name), msgspec.field(default_factory=partial(_same, default))))
        return decoder(msgspec.defstruct("Arguments", fields, kw_only=True))

    def encode_result(self, value: object) -> bytes:
        return encode(value, self._the_result)

    def decode_result(self, data: bytes) -> Any:
        if self._result is None:
            self._result = decoder(self._hint("return"))
        return decode(self._result, data, self._the_result)
