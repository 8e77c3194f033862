"""Whether the schemas may be released: FULL_TRANSITIVE, judged by Apache Avro's own checker.

Laws of this file:
- Each present schema reads what every release wrote, and every release reads what the present one writes.
- A record that was ever released is still there.
"""

import json
import sys
from collections.abc import Iterator, Mapping

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from holdfast.adapters.avro import schemas
from holdfast.adapters.avro.schemas import Schema


def differences(present: Mapping[str, Schema], released: Mapping[str, Mapping[str, Schema]]) -> Iterator[str]:
    """Tell every way in which the present schemas break with a release; nothing when they may be released."""
    for release, records in released.items():
        for name, old in records.items():
            new = present.get(name)
            if new is None:
                yield f"{name} of release {release} is gone: a released record stays"
                continue
            if why := unreadable(reader=new, writer=old):
                yield f"{name} can no longer read what release {release} wrote: {why}"
            if why := unreadable(reader=old, writer=new):
                yield f"{name} writes what release {release} cannot read: {why}"


def unreadable(*, reader: Schema, writer: Schema) -> str:
    """Tell why `reader` cannot read what `writer` writes; empty when it can."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # avro types only some of its functions
    verdict = checker.get_compatibility(parse(json.dumps(reader)), parse(json.dumps(writer)))
    if verdict.compatibility is SchemaCompatibilityType.compatible:
        return ""
    return "; ".join(sorted(verdict.messages)) or "incompatible"


def main() -> int:
    """Print what breaks; the exit code says whether anything does."""
    found = list(differences(schemas.current(), schemas.released()))
    for difference in found:
        sys.stderr.write(f"schemas/: {difference}\n")
    if found:
        sys.stderr.write("A released record changes only by fields with a default, added or taken away.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
