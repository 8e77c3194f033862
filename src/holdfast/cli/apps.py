"""APP: a module (`shop.workflows`) or a file (`examples/prescription_order.py`), imported so that it defines itself.

Laws of this file:
- A file is imported under the name that other files import it by, so that nothing is defined twice.
- What the author's file raises is told with its file and line, in one line.
"""

import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from holdfast.cli.failures import MISSING, USAGE, CommandFailed
from holdfast.extras import MissingExtra
from holdfast.sdk.effects import check_lookups, check_shapes

SAID = 2_000
_NOT_THE_AUTHORS = (
    str(Path(__file__).resolve().parents[1]),
    *(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib", "platlib")),
)


def load_app(app: str) -> ModuleType:
    """Import the application.

    Raises:
        CommandFailed: there is none of that name, or it raised.
    """
    if app.endswith(".py") or "/" in app:
        path = Path(app)
        if not path.is_file():
            raise CommandFailed(MISSING, f"there is no file {app} (looked in {Path.cwd()})")
        return _checked(_imported(app, lambda: _from_file(path.resolve())))
    _findable(Path.cwd())
    return _checked(_imported(app, lambda: importlib.import_module(app)))


def _checked(module: ModuleType) -> ModuleType:
    """Refuse what could be seen only once everything was imported."""
    try:
        check_lookups()
        check_shapes()
    except TypeError as error:
        raise CommandFailed(USAGE, str(error), "your application") from error
    return module


def _imported(app: str, load: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an author's file may raise anything, SystemExit too
        if isinstance(error, ModuleNotFoundError) and error.name and f"{app}.".startswith(f"{error.name}."):
            text = f"there is no module {app} (looked in {Path.cwd()} and on PYTHONPATH); {_instead(app)}"
            raise CommandFailed(MISSING, text) from error
        if type(error) is RuntimeError and isinstance(error.__cause__, TypeError):
            # 3.11 hides there what a definition says that stands in a class.
            error = error.__cause__.with_traceback(error.__traceback__)
        # Notes come after it, what a SyntaxError points at before it, indented.
        said = next(one for one in traceback.format_exception_only(error) if not one.startswith(" "))
        place = _place(error, app)
        if isinstance(error, MissingExtra):
            raise CommandFailed(USAGE, f"{place}: {error}", "a missing package") from error
        text = f"{place}: {said.strip()[:SAID]}{_beside(error, place)}"
        raise CommandFailed(USAGE, text, "your application") from error


def _instead(app: str) -> str:
    """Say where a module may be that is not found: `shop.wf` needs the folder that holds `shop/`."""
    here = Path.cwd()
    first, _, rest = app.partition(".")
    file = Path(*app.split(".")).with_suffix(".py")
    if rest and (here / f"{first}.py").is_file():
        return f"{first}.py is a file and no package: holdfast dev {first}.py"
    if (here / file).is_file():
        return f"{file} is here, and another package is named {first}: add {first}/__init__.py, or: holdfast dev {file}"
    if rest and here.name == first and (inside := Path(*rest.split(".")).with_suffix(".py")).is_file():
        return f"run it in the folder that holds {first}/ (cd ..), or here: holdfast dev {inside}"
    for folder in (*here.parents, *sorted(here.glob("*/"))):
        if os.path.isfile(folder / file):  # noqa: PTH113 - no folder that cannot be read is in the way
            return f"it is in {folder}: run it there"
    return "a file ends in .py"


def _beside(error: BaseException, place: str) -> str:
    """Say how to import what stands beside the file that wants it."""
    if isinstance(error, ImportError) and "no known parent package" in str(error):
        return "; name the module in its package: holdfast dev FOLDER.FILE, in the folder that holds FOLDER/"
    if isinstance(error, ModuleNotFoundError) and error.name:
        folder = Path(place.rpartition(":")[0]).parent
        name = error.name.partition(".")[0]
        if (folder / f"{name}.py").is_file() or (folder / name).is_dir():
            return (
                f"; {name} stands beside it: write from {folder.resolve().name} import {name}, or from . import {name}"
            )
    return ""


def _from_file(path: Path) -> ModuleType:
    root, name = path.parent, path.stem
    if not name.isidentifier():
        name = "".join(letter if letter.isalnum() else "_" for letter in name)
    while (root / "__init__.py").exists():
        name = f"{root.name}.{name}"
        root = root.parent
    if root != path.parent:
        _findable(root)
        return importlib.import_module(name)
    _findable(path.parent.parent)
    _findable(path.parent)
    return _alone(path, name)


def _alone(path: Path, name: str) -> ModuleType:
    """Import a file that is in no package, whatever else bears its name."""
    if name in sys.modules or name in sys.stdlib_module_names:
        name = f"{name}_"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _findable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _place(error: BaseException, app: str) -> str:
    """Find the author's line: the last one that is neither ours nor a library's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_short(error.filename)}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<") and not frame.filename.startswith(_NOT_THE_AUTHORS)
    ]
    return f"{_short(frames[-1].filename)}:{frames[-1].lineno}" if frames else app


def _short(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename
