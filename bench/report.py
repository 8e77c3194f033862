"""What the figures say: ratios to the best peer, and the tables for a person.

Ratios, for each row of Holdfast: its throughput over the best throughput of any peer at any concurrency; and, at
concurrency 1, its p50 over the best peer's p50 at 1.
"""

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, cast

from rich.console import Console
from rich.table import Table

from bench.engines import CATALOGUE

OURS = {(entry.engine, entry.mode) for entry in CATALOGUE if entry.ours}
PEERS = {(entry.engine, entry.mode) for entry in CATALOGUE if entry.peer}


class Row(TypedDict):
    """One cell, as bench.load writes it."""

    engine: str
    mode: str
    concurrency: int
    wf_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_s: Mapping[str, float]
    workflows: int
    seconds: float


class Ratio(TypedDict):
    """One row of Holdfast against the best peer."""

    mode: str
    concurrency: int
    throughput_to_best_peer: float
    best_peer: str
    p50_to_best_peer: NotRequired[float]
    best_peer_at_1: NotRequired[str]


def _label(row: Row) -> str:
    return f"{row['engine']}/{row['mode']} at {row['concurrency']}"


def ratios(rows: Sequence[Row]) -> list[Ratio]:
    """Compare each row of ours with the best peer; empty if the run has no row of a peer."""
    peers = [row for row in rows if (row["engine"], row["mode"]) in PEERS]
    if not peers:
        return []
    fastest = max(peers, key=lambda row: row["wf_per_s"])
    alone = [row for row in peers if row["concurrency"] == 1]
    quickest = min(alone, key=lambda row: row["p50_ms"]) if alone else None
    found = []
    for row in rows:
        if (row["engine"], row["mode"]) not in OURS:
            continue
        ratio = Ratio(
            mode=row["mode"],
            concurrency=row["concurrency"],
            throughput_to_best_peer=round(row["wf_per_s"] / fastest["wf_per_s"], 2),
            best_peer=_label(fastest),
        )
        if quickest is not None and row["concurrency"] == 1:
            ratio["p50_to_best_peer"] = round(row["p50_ms"] / quickest["p50_ms"], 3)
            ratio["best_peer_at_1"] = _label(quickest)
        found.append(ratio)
    return found


def sentence(row: Row) -> str:
    """Tell of one cell as it comes."""
    return (
        f"concurrency {row['concurrency']:>4}: {row['wf_per_s']:>9,.1f} workflows/s, "
        f"p50 {row['p50_ms']:,.1f} ms, p99 {row['p99_ms']:,.1f} ms"
    )


def print_tables(document: Mapping[str, object], console: Console) -> None:
    """Print all cells, then the ratios, then what failed."""
    table = Table(title="three durable no-op steps")
    for name in ("engine", "mode"):
        table.add_column(name)
    for name in ("clients", "workflows/s", "p50 ms", "p99 ms", "CPU ms/workflow"):
        table.add_column(name, justify="right")
    table.add_column("cores by process")
    for row in cast("Sequence[Row]", document["results"]):
        table.add_row(
            row["engine"],
            row["mode"],
            str(row["concurrency"]),
            f"{row['wf_per_s']:,.1f}",
            f"{row['p50_ms']:,.2f}",
            f"{row['p99_ms']:,.2f}",
            f"{sum(row['cpu_s'].values()) * 1000 / row['workflows']:,.2f}",
            " ".join(f"{name} {spent / row['seconds']:.2f}" for name, spent in row["cpu_s"].items()),
        )
    console.print(table)
    for ratio in cast("Sequence[Ratio]", document["ratios"]):
        line = f"holdfast/{ratio['mode']} at {ratio['concurrency']}: "
        line += f"{ratio['throughput_to_best_peer']:g} × {ratio['best_peer']}"
        if "p50_to_best_peer" in ratio:
            line += f"; p50 {ratio['p50_to_best_peer']:g} × {ratio['best_peer_at_1']}"
        console.print(line, highlight=False)
    for name, reason in cast("Mapping[str, str]", document["failures"]).items():
        console.print(f"[red]{name} failed:[/] {reason}", highlight=False)
