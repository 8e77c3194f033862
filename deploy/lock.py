"""Writes the locks, or with --check says whether they still belong to pyproject.toml.

A lock is a hashed, universal requirements file of the package, some of its extras and one group. Laws:
- Its head records a hash of the requirements that it was made from, so that its freshness is a fact of two files: no
  network, no registry's mood of the day.
- It names no registry and no folder: every machine fetches from wherever it is set up to.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Environment(NamedTuple):
    """What a lock is for: the package, these extras and one group of development."""

    group: str
    extras: tuple[str, ...]


LOCKS = {
    "requirements.lock": Environment("dev", ("all", "testing")),
    "requirements-bench.lock": Environment("bench", ("cluster",)),
}
MARK = "# made from: sha256:"
HEAD = "# Written by `make lock`; do not edit.\n"


def digest(project: dict[str, Any], environment: Environment) -> str:
    """What the lock of an environment depends on, as one hash."""
    groups = project.get("dependency-groups", {})
    sources = {
        "python": project["project"]["requires-python"],
        "dependencies": sorted(project["project"]["dependencies"]),
        "extras": {name: sorted(needs) for name, needs in project["project"]["optional-dependencies"].items()},
        "chosen": environment.extras,
        "group": flat(groups, environment.group),
    }
    return hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()


def flat(groups: dict[str, list[Any]], name: str) -> list[str]:
    """The requirements of a group and of those it includes."""
    found: list[str] = []
    for entry in groups[name]:
        found += flat(groups, entry["include-group"]) if isinstance(entry, dict) else [entry]
    return sorted(found)


def resolve(uv: str, environment: Environment, lock: Path) -> str:
    """Let uv resolve; versions in the present lock are kept unless an upgrade is asked for."""
    command = [
        *(uv, "pip", "compile", "--quiet", "--no-config", "--universal", "--generate-hashes", "--no-header"),
        *("--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11"),
        *(f"--extra={extra}" for extra in environment.extras),
        *("--group", environment.group, "--output-file", str(lock), "pyproject.toml"),
    ]
    # A developer's own indexes and wheel folders would choose other files than everybody else gets.
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("UV_FIND", "UV_INDEX"))}
    subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.DEVNULL)
    return lock.read_text()


def refuse_addresses(name: str, body: str) -> None:
    """A lock with a registry's address in it works on one machine only."""
    for line in body.splitlines():
        if "://" in line or line.startswith("--"):
            sys.exit(f"{name} would hold an address or an option: {line}")


def check(project: dict[str, Any]) -> int:
    """0 when every lock is fresh."""
    stale = []
    for name, environment in LOCKS.items():
        lock = ROOT / name
        body = lock.read_text() if lock.exists() else ""
        refuse_addresses(name, body)
        if f"{MARK}{digest(project, environment)}\n" not in body:
            stale.append(name)
    if stale:
        print(f"{' and '.join(stale)} no longer belong to pyproject.toml: run make lock", file=sys.stderr)
    return 1 if stale else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="say whether the locks are fresh; needs no network")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions instead of keeping the locked")
    parser.add_argument("--uv", default=str(Path(sys.executable).parent / "uv"), help="the uv to resolve with")
    asked = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if asked.check:
        return check(project)
    for name, environment in LOCKS.items():
        lock = ROOT / name
        if asked.upgrade:
            lock.unlink(missing_ok=True)
        body = resolve(asked.uv, environment, lock)
        refuse_addresses(name, body)
        lock.write_text(f"{HEAD}{MARK}{digest(project, environment)}\n{body}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
