"""Going on as new: how workflow code ends an incarnation of its run, and what it can know of the present one.

Law of this file: what ends the code is no `Exception`, so that an author's `except Exception` does not swallow it.
"""

from typing import Any, NoReturn

from holdfast.sdk.definitions import inside


class ContinueAsNew(BaseException):
    """Ends the code of an incarnation; `input` is what the next one starts with."""

    def __init__(self, input_: bytes) -> None:
        super().__init__("the run goes on as new")
        self.input = input_


def continue_as_new(*args: Any, **kwargs: Any) -> NoReturn:
    """End this incarnation of the run, and start the next one with these arguments and an empty history.

    Raises:
        TypeError: the arguments are not those of the workflow.
    """
    raise ContinueAsNew(inside("continue_as_new()").encode_input(args, kwargs))


def continuation(error: BaseException | None) -> ContinueAsNew | None:
    """Find the wish to go on as new in what the code ended with: by itself, or alone in a group of a TaskGroup."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, ContinueAsNew) else None
