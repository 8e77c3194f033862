"""What the text of a function or a class says of its parameters, fields and result."""

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from holdfast.sdk.callables import innermost

if sys.version_info >= (3, 14):
    import annotationlib

    # Names may not be there yet: evaluating them is for whoever needs them.
    def signature_of(function: Callable[..., Any]) -> inspect.Signature:
        return inspect.signature(function, annotation_format=annotationlib.Format.FORWARDREF)

    def annotations_of(written: Any) -> Mapping[str, Any]:
        return annotationlib.get_annotations(innermost(written), format=annotationlib.Format.FORWARDREF)

else:

    def signature_of(function: Callable[..., Any]) -> inspect.Signature:
        """Read a signature without evaluating annotations, whose names may not be there yet."""
        return inspect.signature(function)

    def annotations_of(written: Any) -> Mapping[str, Any]:
        """Give the annotations of a function, or a class's own, as they were written, evaluated or not."""
        inner: Any = innermost(written)
        return inspect.get_annotations(inner)


def resolved(function: Callable[..., Any], name: str, annotation: Any) -> Any:
    """Evaluate one annotation where the function stands: others may have names that are for type checkers alone.

    Raises:
        NameError: a name in it is not there (yet).
    """
    written = innermost(function)
    parameters = {each.__name__: each for each in getattr(written, "__type_params__", ())}
    holder = SimpleNamespace(__annotations__={name: annotation})
    return typing.get_type_hints(holder, getattr(written, "__globals__", {}), parameters, include_extras=True)[name]
