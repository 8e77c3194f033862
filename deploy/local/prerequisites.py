"""Install from Debian's packages what the servers need, and start none of Debian's own services.

Laws of this file:
- What is there already is left alone, whatever package it came from.
- A policy that was in place is respected; ours is there only while apt runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.kinds import KINDS, OLDEST_JAVA, Unfit, fetch_jars

POLICY = Path("/usr/sbin/policy-rc.d")
JAVAS = ("openjdk-21-jre-headless", "openjdk-17-jre-headless", "default-jre-headless")


def main() -> None:
    """Exit 0 if all is present in the end, Kafka's jars too: a test that waits for them would run out of time."""
    missing = _missing()
    if missing:
        _complete(missing)
    try:
        fetch_jars()
    except Unfit as error:
        sys.exit(f"prerequisites: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def _complete(missing: list[str]) -> None:
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(
            f"missing: {', '.join(missing)}. Install PostgreSQL, Redis, a Java runtime >= {OLDEST_JAVA} and Maven; "
            "on Debian: sudo apt-get install postgresql redis-server default-jre-headless maven"
        )
    try:
        _install(missing)
    except KeyboardInterrupt:
        sys.exit(130)
    except subprocess.CalledProcessError as error:
        sys.exit(f"apt-get failed ({error.returncode}); see its message above. Missing: {', '.join(missing)}")
    if still := _missing():
        sys.exit(f"still missing after apt-get: {', '.join(still)}")


def _missing() -> list[str]:
    return [program for kind in KINDS for program in kind.missing()]


def _install(missing: list[str]) -> None:
    print(f"installing with apt-get: {', '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "-qq", "update"], env=environment, check=True)
    packages = [_package(program) for program in missing]
    with _nothing_started():
        subprocess.run(
            ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages],
            env=environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )


def _package(program: str) -> str:
    if program == "mvn":
        return "maven"
    if program.startswith("java"):
        return next((name for name in JAVAS if _offered(name)), JAVAS[-1])
    return program


def _offered(package: str) -> bool:
    told = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
    return "Candidate:" in told and "Candidate: (none)" not in told


@contextmanager
def _nothing_started() -> Iterator[None]:
    """Debian asks this program before it starts a service; 101 means no."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
