"""Who may read files and clocks while workflow code runs, whatever was read or imported before.

Laws of this file:
- What is read lazily and kept (time zones, modules, source lines, tables) would be refused in a fresh process and pass
  in a warm one. So each such reader is allowed always, by its name and with its reason.
- A reason is one of two: what it gives belongs to the deployment, as the code does; or nothing of it comes back to the
  workflow.
- The author's own `open` is no reader.
"""

import os
import zoneinfo
from typing import Final, NamedTuple

from holdfast.sdk.frames import is_of_library, is_of_stdlib


class Reader(NamedTuple):
    """Functions of the module `module` and of those below it; empty: all of them."""

    module: str
    reason: str
    functions: frozenset[str] = frozenset()


READERS: Final = (
    Reader("_frozen_importlib", "a module is code of the deployment, and runs once in a process"),
    Reader("_frozen_importlib_external", "as _frozen_importlib"),
    Reader("importlib._bootstrap", "as _frozen_importlib"),
    Reader("importlib._bootstrap_external", "as _frozen_importlib"),
    Reader("zipimport", "as _frozen_importlib"),
    Reader("importlib.metadata", "what is installed belongs to the deployment"),
    Reader("importlib_metadata", "as importlib.metadata"),
    Reader("importlib.resources", "files of packages belong to the deployment"),
    Reader("importlib_resources", "as importlib.resources"),
    Reader("importlib.readers", "as importlib.resources"),
    Reader("pkgutil", "as importlib.resources"),
    Reader("sysconfig", "how Python was built belongs to the deployment"),
    Reader("zoneinfo", "time zone data belongs to the deployment"),
    Reader("gettext", "translations belong to the deployment"),
    Reader("locale", "as gettext"),
    Reader("mimetypes", "the table of types belongs to the deployment"),
    Reader("inspect", "source lines belong to the deployment"),
    Reader("linecache", "as inspect"),
    Reader("tokenize", "as inspect", frozenset({"open"})),
    Reader("threading", "a thread looks itself up by its number", frozenset({"current_thread"})),
    Reader("logging", "nothing of it comes back to the workflow"),
    Reader("traceback", "as logging"),
    Reader("warnings", "as logging"),
)
_BY_MODULE: Final = {reader.module: reader.functions for reader in READERS}


def is_reader(module: str, function: str) -> bool:
    """Tell whether this function may read, and what it calls."""
    while module:
        functions = _BY_MODULE.get(module)
        if functions is not None:
            return not functions or function in functions
        module = module.rpartition(".")[0]
    return False


def is_of_zones(file: str) -> bool:
    """Tell whether a file is time zone data: ZoneInfo opens it from C, where no function has a name."""
    return any(file.startswith(f"{folder}{os.sep}") for folder in zoneinfo.TZPATH)


def is_deployed(file: str) -> bool:
    """Tell whether a file belongs to the deployment, so that libraries may read it."""
    return is_of_library(file) or is_of_stdlib(file) or is_of_zones(file)
