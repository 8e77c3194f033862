"""The laws of a store, as tests that every adapter passes: those of all ports that it offers.

A subclass gives the fixtures: `store` (installed with 8 shards, opened, empty), `another_store` (the same data through
other connections, opened), `blank` and `another_blank` (the same new place, neither installed nor opened).
"""

from holdfast.testing.conformance.blobs import BlobLaws
from holdfast.testing.conformance.installation import InstallationLaws
from holdfast.testing.conformance.journal import FenceLaws, HistoryLaws, OutboxLaws, SignalLaws
from holdfast.testing.conformance.purging import PurgeLaws
from holdfast.testing.conformance.queries import QueryLaws
from holdfast.testing.conformance.timers import AttemptLaws, TimerLaws


class StoreConformance(
    InstallationLaws,
    FenceLaws,
    HistoryLaws,
    OutboxLaws,
    SignalLaws,
    AttemptLaws,
    TimerLaws,
    QueryLaws,
    BlobLaws,
    PurgeLaws,
):
    """All laws of the ports; subclass it with the four fixtures."""
