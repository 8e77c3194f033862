"""Record what real processes do to the disk, with the witness preloaded."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.power.disk import Disk
from tests.power.journal import Operation, read
from tests.power.workload import DIED

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STORE = Path("home") / ".holdfast" / "holdfast.db"
"""Below the folder that is witnessed: its folders are made by the installation."""

DEADLINE = 45.0


def witness(folder: Path) -> Path:
    """Compile the shim."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) here, and the witness of the disk is a C file: install one")
    if sys.platform != "linux" or sys.maxsize < 2**32:
        pytest.skip("the witness of the disk is preloaded, which is for 64-bit Linux")
    built = folder / "witness.so"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-pthread"]
    subprocess.run([compiler, *options, "-o", built, HERE / "shim.c"], check=True)
    return built


class Recording:
    """A disk in `folder`, and the processes that work on it one after the other."""

    def __init__(self, folder: Path, shim: Path, **disk: str) -> None:
        self.root = folder / "disk"
        self.root.mkdir()
        self._journal = folder / "journal"
        own = {"LD_PRELOAD": shim, "POWER_ROOT": self.root, "POWER_JOURNAL": self._journal}
        own["HOLDFAST_STATE"] = folder / "state"  # flight recorders: nobody reads them after a power loss
        self._environment: Mapping[str, str] = os.environ | {name: str(value) for name, value in own.items()} | disk

    def run(self, *arguments: object) -> None:
        """Let one process work to its end, which `--die` makes a death."""
        ended = subprocess.run(
            [sys.executable, "-m", "tests.power.workload", self.root / STORE, *map(str, arguments)],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert ended.returncode == (DIED if "--die" in arguments else 0), ended.stdout + ended.stderr

    def operations(self) -> list[Operation]:
        """Give what was written down, if it is all that happened: replayed, it gives the very files."""
        found = list(read(self._journal))
        disk = Disk()
        for operation in found:
            disk.apply(operation)
        files = [path for path in self.root.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
        assert disk.seen() == {str(path.relative_to(self.root)): path.read_bytes() for path in files}
        return found
