"""Whose code a frame is: the engine's, the standard library's, an installed library's, or the author's."""

import linecache
import os
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import msgspec

_ENGINE: Final = __name__.partition(".")[0]
_LOOP: Final = f"{_ENGINE}.sdk.loop"
_STDLIB: Final = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - compared with co_filename, which is a str
_CARRYING: Final = tuple(f"{_ENGINE}.sdk.{name}" for name in ("carriers", "shape", "values"))
_INSTALLED: Final = (f"site-packages{os.sep}", f"dist-packages{os.sep}")


class Place(msgspec.Struct, frozen=True):
    """A line of code."""

    file: str
    line: int

    def __str__(self) -> str:
        source = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line}  {source}".rstrip()


def module_of(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__") or ""
    return name


def is_engine(module: str) -> bool:
    return module == _ENGINE or module.startswith(f"{_ENGINE}.")


def is_of_library(file: str) -> bool:
    """Tell whether a file, of code or of data, was installed."""
    return any(folder in file for folder in _INSTALLED)


def is_of_stdlib(file: str) -> bool:
    """Tell whether a file, of code or of data, came with Python."""
    return file.startswith("<frozen") or (file.startswith(_STDLIB) and not is_of_library(file))


def carries(module: str) -> bool:
    """Tell whether a module of the engine calls what is the author's: it reads and writes values, by their classes."""
    return module.startswith(_CARRYING)


def is_library(frame: FrameType) -> bool:
    return is_of_library(frame.f_code.co_filename)


def is_stdlib(frame: FrameType) -> bool:
    return is_of_stdlib(frame.f_code.co_filename)


def is_generated(frame: FrameType) -> bool:
    """Tell whether code was written by a program, as the methods of a dataclass are: it has no line to be named."""
    return frame.f_code.co_filename.startswith("<") and not is_stdlib(frame)


def is_author(frame: FrameType) -> bool:
    return not (is_engine(module_of(frame)) or is_stdlib(frame) or is_library(frame) or is_generated(frame))


def turn(frame: FrameType | None) -> Iterator[tuple[FrameType, str]]:
    """The frames of this turn with the names of their modules, innermost first, down to the loop's own."""
    while frame is not None:
        module = module_of(frame)
        yield frame, module
        if module == _LOOP and frame.f_code.co_name in {"drain", "evict", "call_inside"}:
            return
        frame = frame.f_back


def path_of(frame: FrameType | None) -> str:
    """Name the way by which this turn came to a frame: its functions, without Python's own and the engine's."""
    names = (
        f"{module}:{one.f_code.co_qualname}" for one, module in turn(frame) if not (is_engine(module) or is_stdlib(one))
    )
    return " ".join(names)


def blamed(frames: list[FrameType]) -> Place | None:
    """Find the line to be named: the author's innermost one, else a library's; `frames` are innermost first."""
    libraries = (frame for frame in frames if is_library(frame))
    frame = next(filter(is_author, frames), None) or next(libraries, None) or next(iter(frames), None)
    return None if frame is None else Place(frame.f_code.co_filename, frame.f_lineno)


def standing(awaitable: Any) -> list[FrameType]:
    """The frames of a coroutine that stands still, innermost first."""
    frames: list[FrameType] = []
    seen: set[int] = set()
    while awaitable is not None and id(awaitable) not in seen:
        seen.add(id(awaitable))
        for frame_name, next_name in _AWAITABLES:
            if hasattr(awaitable, next_name):
                frame = getattr(awaitable, frame_name, None)
                if isinstance(frame, FrameType):
                    frames.append(frame)
                awaitable = getattr(awaitable, next_name)
                break
        else:
            break
    return frames[::-1]


_AWAITABLES: Final = (("cr_frame", "cr_await"), ("gi_frame", "gi_yieldfrom"), ("ag_frame", "ag_await"))
