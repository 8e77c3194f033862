"""The words of a client's requests, checked before they are sent: a history could not hold every one."""

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from holdfast.sdk.callables import shown
from holdfast.sdk.definitions import Workflow, steps
from holdfast.sdk.values import UnfitValue, encode


class Unstorable(ValueError):
    """A text with half a character, which nothing holds that is written in UTF-8."""


def text(what: str, value: object) -> str:
    """Check a text as histories and stores can hold it.

    Raises:
        TypeError: it is no text. Unstorable: it has half a character.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is a text, not {shown(value)}")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Unstorable(f"{what} has a character that cannot be stored: {shown(value)}")
    return value


def attributes_of(given: Mapping[str, str] | None) -> dict[str, str]:
    """Check the attributes of a start: texts, by the name of each."""
    return {
        text("the name of an attribute", name): text(f"attribute {shown(name)}", value)
        for name, value in (given or {}).items()
    }


def input_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Encode the input of a workflow that is not defined here: one value, or several by their names."""
    if (args and kwargs) or len(args) > 1:
        raise TypeError("the workflow is not defined here: give its input as one value, or all of it by name")
    if kwargs:
        return encode(dict(kwargs), "the input")
    return encode(args[0], "the input") if args else b"null"


def made_up_id(workflow: str) -> str:
    """Make up a run id, which is shorter than a workflow's name may be, and plainer."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "_" for letter in workflow)
    return f"{plain.replace('/', '_')[:200]}-{uuid.uuid4().hex}"


def encoded_arguments(
    workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, by_name: bool
) -> bytes:
    """Encode an input. Whoever starts by name may give what JSON tells of the values, as over the bus."""
    try:
        return workflow.shape.encode_arguments(args, dict(kwargs))
    except UnfitValue as misfit:
        if not by_name:
            raise
        try:
            data = input_of(args, kwargs)
            workflow.shape.decode_arguments(data)
        except (UnfitValue, TypeError):
            raise misfit from None
        return data


def encoded_result(name: str, value: Any) -> bytes:
    """Encode what a person says that an effect gave: by its annotation if it fits as it is, else as JSON tells it."""
    definition = steps.get(name)
    if definition is not None:
        with contextlib.suppress(UnfitValue):
            return definition.shape.encode_result(value)
    return encode(value, f"the result of {name}")
