"""Record golden histories: those that are named, or all that are missing; or dump stores of today's schemas."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from tests.golden import files
from tests.golden.recording import record
from tests.golden.stores import dump
from tests.golden.telling import told
from tests.servers import SHARED, Servers


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("what", choices=["record", "list", "dump"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    again = "replace a history that is there: only while no release has it"
    parser.add_argument("--again", action="store_true", help=again)
    asked = parser.parse_intermixed_args()
    stories = told()
    if asked.what == "dump":
        return dump_stores()
    if asked.what == "list":
        for name in stories:
            print(name if name in files.names() else f"{name} (not recorded)")
        return 0
    unknown = [name for name in asked.names if name not in stories]
    if unknown:
        print(f"no story is named {', '.join(unknown)}: write it in tests/golden/stories/", file=sys.stderr)
        return 2
    names = asked.names or [name for name in stories if name not in files.names()]
    there = [name for name in names if files.path_of(name).exists()]
    if there and not asked.again:
        print(f"{', '.join(there)}: recorded already, and kept for ever; tell a new story", file=sys.stderr)
        return 2
    for name in names:
        golden = asyncio.run(record(name, stories[name]))
        print(f"{name}: {len(golden.runs)} runs, {sum(len(run.history) for run in golden.runs)} events")
    return 0


def dump_stores() -> int:
    folder = os.environ.get(SHARED)
    if folder is None:
        print(f"set {SHARED}: the folder of `deploy/local/up --dir`", file=sys.stderr)
        return 2
    for path in asyncio.run(dump(Servers(Path(folder)))):
        print(path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
