"""How the arguments and the result of one function travel.

Laws of this file:
- One parameter travels as its value, several as an object by name, none as null.
- What is left out has its default: null too, where the annotation has no None.
- A name that no parameter has is refused, never ignored.
- What cannot be carried is refused when the function is defined; if a name of its annotations is not there yet, when
  its application has been imported.
"""

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from holdfast.sdk.callables import told
from holdfast.sdk.carriers import Carrier, Misfit, Unsupported, carrier_of
from holdfast.sdk.carriers.node import Node
from holdfast.sdk.signatures import annotations_of, resolved, signature_of
from holdfast.sdk.values import GIVEN, UnfitValue, decode, encode, unfit

T = TypeVar("T")

_POSITIONAL_ONLY: Final = inspect.Parameter.POSITIONAL_ONLY
_KEYWORD_ONLY: Final = inspect.Parameter.KEYWORD_ONLY
_EMPTY: Final = inspect.Parameter.empty
_NEVER: Final = (typing.NoReturn, typing.Never)
_write: Final = msgspec.json.Encoder().encode


def _same(value: T) -> T:
    return value


class Shape:
    """How the arguments and the result of one function travel."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__qualname__
        self.signature = signature_of(function)
        parameters = self.signature.parameters.values()
        self.given = frozenset(p.name for p in parameters if p.default is GIVEN)
        self.names = tuple(p.name for p in parameters if p.default is not GIVEN)
        self._single = self.names[0] if len(self.names) == 1 else None
        self._by_place = tuple(n for n in self.names if self._kind(n) is _POSITIONAL_ONLY)
        self._by_name = tuple(n for n in self.names if n not in self._by_place)
        self._single_by_name = self._single is not None and self._kind(self._single) is _KEYWORD_ONLY
        self._has_defaults = all(self._default(name) is not _EMPTY for name in self.names)
        # Written once: an error needs them seldom, a call would write them every time.
        self._the_argument = f"argument {self._single!r} of {self.name}()"
        self._the_arguments = f"the arguments of {self.name}()"
        self._the_result = f"the result of {self.name}()"
        self._carriers: dict[str, Carrier] = {}
        self._argument: Carrier | None = None
        self._arguments: msgspec.json.Decoder[Any] | None = None
        self._aside: tuple[tuple[str, Carrier], ...] = ()
        self._result: Carrier | None = None
        self._takes = -1 if any(self._kind(name) is _KEYWORD_ONLY for name in self.names) else len(self.names)
        # Put in place when the annotations have been read.
        self._encode_argument: Callable[[Any], bytes] = self._read_first(lambda: self._encode_argument)
        self._encode_result: Callable[[Any], bytes] = self._read_first(lambda: self._encode_result)
        self._decode_result: Callable[[bytes], Any] = self._read_first(lambda: self._decode_result)
        self._null_is_default = False
        self._plain_argument: type | None = None
        self.plain_result: type | None = None
        """The class of results that are written as they are: no code of the author's has a part in it."""
        self.has_plain_result = False
        """To read the result runs nothing of the author's: no class of his has a part in it."""
        self.has_plain_arguments = False

    def _kind(self, name: str) -> Any:
        return self.signature.parameters[name].kind

    def _default(self, name: str) -> Any:
        return self.signature.parameters[name].default

    # -- reading the annotations

    def check(self) -> None:
        """Refuse what cannot travel, when the function is defined.

        Raises:
            TypeError: a parameter without a name, or an annotation that cannot be carried.
        """
        for parameter in self.signature.parameters.values():
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                raise TypeError(f"{self.name}(): *{parameter.name} cannot be recorded; name each parameter")
            if parameter.default is GIVEN and parameter.kind is not parameter.KEYWORD_ONLY:
                raise TypeError(f"{self.name}(): write *, {parameter.name}: … = GIVEN (keyword-only)")
        try:
            self._read()
        except NameError:
            return  # its module is still being imported: check_names() will see

    def check_names(self) -> None:
        """Refuse annotations with names that are not there, once all modules have been imported.

        Raises:
            TypeError: names the annotation, and says what to do.
        """
        try:
            self._read()
        except NameError as error:
            raise TypeError(str(error)) from error

    def _read(self) -> None:
        """Find what carries each argument and the result, once."""
        if self._result is not None:
            return
        annotations = annotations_of(self.function)
        carriers = {name: self._carrier(name, annotations.get(name, Any)) for name in self.names}
        result = self._carrier("return", annotations.get("return", Any))
        self._carriers = carriers
        self._argument = None if self._single is None else carriers[self._single]
        if self._argument is not None and self._has_defaults:
            self._null_is_default = not _takes_null(self._argument)
        self._arguments = self._decoder_of_several() if len(self.names) > 1 else None
        self._result = result
        self.plain_result = result.exact
        self.has_plain_result = result.exact is not None
        self.has_plain_arguments = all(one.exact is not None for one in carriers.values())
        self._encode_result, self._decode_result = result.encode, result.decode
        if self._argument is not None:
            self._encode_argument = self._argument.encode
            self._plain_argument = self._argument.exact

    def _carrier(self, name: str, annotation: Any) -> Carrier:
        where = "its return annotation" if name == "return" else f"the annotation of parameter {name!r}"
        place = told(self.function)
        try:
            kind = resolved(self.function, name, annotation)
            if name == "return" and kind in _NEVER:
                return _NEVER_RETURNS
            if name != "return" and self._default(name) is None:
                kind = typing.Optional[kind]  # noqa: UP045 - of whatever the annotation is
            return carrier_of(kind)
        except Unsupported as error:
            raise TypeError(f"{place}: {where} cannot be carried: {error}") from error
        except (NameError, AttributeError) as error:  # of a module that is still being imported
            said = str(error).rstrip(".")
            raise NameError(
                f"{place}: {where} cannot be read: {said}. If the name is imported under `if TYPE_CHECKING:` only, "
                "import it at run time: values are typed by annotations"
            ) from error
        except Exception as error:
            raise TypeError(f"{place}: {where} cannot be read: {error}") from error

    def _read_first(self, act: Callable[[], Callable[[Any], Any]]) -> Callable[[Any], Any]:
        def read_and_act(value: Any) -> Any:
            self._read_now()
            return act()(value)

        return read_and_act

    def _read_now(self) -> None:
        try:
            self._read()
        except (TypeError, NameError) as error:
            raise UnfitValue(str(error)) from error

    def _decoder_of_several(self) -> msgspec.json.Decoder[Any]:
        fields: list[Any] = []
        aside = []
        for name, carrier in self._carriers.items():
            kind = carrier.node.kind
            if kind is None:
                kind = msgspec.Raw
                aside.append((name, carrier))
            default = self._default(name)
            if default is _EMPTY:
                fields.append((name, kind))
            else:
                fields.append((name, kind, msgspec.field(default_factory=partial(_same, default))))
        self._aside = tuple(aside)
        return msgspec.json.Decoder(msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True))

    # -- arguments

    def encode_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Encode a call's arguments.

        Raises:
            UnfitValue: names the argument that cannot be encoded.
            TypeError: the call does not fit the signature.
        """
        if self._single is not None:
            by_place = len(args) == 1 and not kwargs and not self._single_by_name
            value = args[0] if by_place else self._bound(args, kwargs)[self._single]
            try:
                return _write(value) if type(value) is self._plain_argument else self._encode_argument(value)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - an author's class may raise anything
                unfit(error, f"{self._the_argument} cannot be encoded")
        if self._result is None:
            self._read_now()
        values = self._bound(args, kwargs)
        if not self.names:
            return b"null"
        plain = {}
        name = ""
        try:
            for name, carrier in self._carriers.items():
                value = values[name]
                plain[name] = value if type(value) is carrier.exact else carrier.plain(value)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an author's class may raise anything
            unfit(error, f"argument {name!r} of {self.name}() cannot be encoded")
        try:
            return _write(plain)
        except (TypeError, ValueError, RecursionError, OverflowError):
            for name, carrier in self._carriers.items():
                encode(values[name], f"argument {name!r} of {self.name}()", carrier)
            raise

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        if len(args) == self._takes and not kwargs:
            return dict(zip(self.names, args, strict=True))
        try:
            bound = self.signature.bind(*args, **{k: v for k, v in kwargs.items() if k not in self.given})
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}; it takes ({', '.join(self.names) or 'nothing'})") from None
        bound.apply_defaults()
        return bound.arguments

    def decode_arguments(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode a call's arguments, typed by the annotations.

        Raises:
            UnfitValue: the bytes do not fit.
        """
        if self._result is None:
            self._read_now()
        if self._argument is not None:
            if self._null_is_default and data.strip() == b"null":
                value = self._default(self.names[0])
            else:
                value = decode(self._argument, data, self._the_argument)
            return ((), {self.names[0]: value}) if self._single_by_name else ((value,), {})
        if self._arguments is None:
            if data.strip() not in {b"null", b"{}"}:
                raise UnfitValue(f"{self.name}() takes no arguments, and was given some: {data[:80]!r}")
            return (), {}
        values = self._several(b"{}" if self._has_defaults and data.strip() == b"null" else data)
        return tuple([values[name] for name in self._by_place]), {name: values[name] for name in self._by_name}

    def _several(self, data: bytes) -> dict[str, Any]:
        assert self._arguments is not None  # noqa: S101 - there are several parameters
        try:
            arguments = self._arguments.decode(data)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an author's class may raise anything
            unfit(error, f"{self._the_arguments} ({', '.join(self.names)}) do not fit")
        values = {name: getattr(arguments, name) for name in self.names}
        for name, carrier in self._aside:
            if isinstance(values[name], msgspec.Raw):
                values[name] = decode(carrier, bytes(values[name]), f"argument {name!r} of {self.name}()")
        return values

    # -- the result

    def encode_result(self, value: object) -> bytes:
        """Encode what the function returned.

        Raises:
            UnfitValue: it cannot be encoded, or is not what the annotation says.
        """
        try:
            return _write(value) if type(value) is self.plain_result else self._encode_result(value)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an author's class may raise anything
            unfit(error, f"{self._the_result} cannot be encoded")

    def decode_result(self, data: bytes) -> Any:
        """Decode what the function returned.

        Raises:
            UnfitValue: the bytes do not fit.
        """
        try:
            return self._decode_result(data)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            unfit(error, f"{self._the_result} does not fit")


class _Impossible(Node):
    """What a function gives that never returns."""

    __slots__ = ()

    def dump(self, value: Any) -> Any:
        raise Misfit("it was returned, and the annotation says that nothing ever is")

    def load(self, plain: Any) -> Any:
        raise Misfit("the annotation says that there is none")


_NEVER_RETURNS: Final = Carrier(_Impossible("Never", types=(), wire=frozenset()))


def _takes_null(carrier: Carrier) -> bool:
    try:
        carrier.decode(b"null")
    except Exception:  # noqa: BLE001 - an author's class may raise anything
        return False
    return True
