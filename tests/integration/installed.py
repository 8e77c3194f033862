"""The package as its users have it: the wheel, in an environment with what the wheel asks for and nothing else.

Laws of this file:
- No registry is asked: the wheel is built with this environment's own backend, and what it requires is linked from
  this environment, package by package, by what the metadata of the wheel and of those packages say.
- So an import of something that nobody has declared fails there, though it works here.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"


class Installed:
    """A fresh environment with the wheel in it, and the packages that `extras` bring."""

    def __init__(self, folder: Path, wheel: Path, extras: tuple[str, ...]) -> None:
        self.folder = folder
        venv.EnvBuilder(symlinks=True).create(folder)
        self.python = folder / "bin" / "python"
        run(UV, "pip", "install", "--quiet", "--no-config", "--offline", "--no-deps", "--python", self.python, wheel)
        (self._site,) = folder.glob("lib/python3.*/site-packages")
        (itself,) = distributions(path=[str(self._site)])
        self.packages = closure(itself, extras)
        for package in self.packages.values():
            _link(package, self._site)

    @property
    def program(self) -> tuple[str]:
        """The command that the wheel has installed."""
        return (str(self.folder / "bin" / "holdfast"),)

    def ask(self, code: str) -> str:
        """Run some Python in it, away from the checkout; gives what it printed."""
        return run(self.python, "-P", "-c", code, cwd=self.folder)


def build(folder: Path) -> Path:
    """Build the wheel of this checkout."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def closure(itself: Distribution, extras: tuple[str, ...]) -> dict[str, Distribution]:
    """Name all that `itself` needs with these extras, found in this environment; a requirement not met is an error."""
    found = {canonicalize_name(itself.metadata["Name"]): itself}
    seen: set[tuple[str, str]] = set()
    asked = [(name, extra) for name in found for extra in ("", *extras)]
    while asked:
        one = asked.pop()
        if one in seen:
            continue
        seen.add(one)
        name, extra = one
        for requirement in _requirements(found[name], extra):
            needed = canonicalize_name(requirement.name)
            package = found.setdefault(needed, found.get(needed) or distribution(needed))
            assert requirement.specifier.contains(package.version, prereleases=True), (name, str(requirement))
            asked += [(needed, each) for each in ("", *requirement.extras)]
    return {name: package for name, package in found.items() if package is not itself}


def _requirements(package: Distribution, extra: str) -> Iterator[Requirement]:
    for text in package.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _link(package: Distribution, site: Path) -> None:
    for top in {file.parts[0] for file in package.files or () if file.parts[0] not in {"..", "__pycache__"}}:
        (site / top).symlink_to(str(package.locate_file(top)))


def run(*command: str | Path, cwd: Path | None = None) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOLDFAST_", "PYTHON"))}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
