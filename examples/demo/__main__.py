"""Thirty orders for glasses, and everything that runs them killed again and again.

Ends with 0 if every order was confirmed and charged exactly once, and all kills were carried out; else with 1.
"""

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from examples.demo import cluster, embedded
from examples.demo.processes import Died
from examples.demo.view import write_report

ORDERS = 30
FEWEST_KILLS = 8


def main() -> int:
    """Read the command line and play."""
    given = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to end, it ends as by Ctrl-C
    folder = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    folder.chmod(0o755)  # PostgreSQL's own user has to come through
    name = "demo-cluster" if given.cluster else "demo"
    good = interrupted = False
    try:
        play = cluster.play if given.cluster else embedded.play
        customers, view = asyncio.run(play(folder, orders=ORDERS, kills=given.kills, seed=given.seed))
        tally = customers.tally()
        view.end(tally, FEWEST_KILLS)
        good = tally.holds and view.kills >= FEWEST_KILLS
        more = {"kills": view.kills, "seconds": round(view.seconds, 1), "seed": given.seed}
        figures = msgspec.to_builtins(tally) | more
        print(f"report: {write_report(name, figures)}")
    except Died as error:
        print(error, file=sys.stderr)
    except KeyboardInterrupt:
        print("stopped; everything that was started is down", file=sys.stderr)
        interrupted = True
    finally:
        if given.keep or not (good or interrupted):
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 130 if interrupted else 0 if good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cluster", action="store_true", help="on real Kafka, PostgreSQL and Redis (deploy/local)")
    parser.add_argument("--kills", type=int, default=None, metavar="N", help="how many kill -9 (default 9; cluster 8)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="what chance is drawn from")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the file, the book and the logs")
    given = parser.parse_args()
    if given.kills is None:
        given.kills = 8 if given.cluster else 9
    return given


if __name__ == "__main__":
    sys.exit(main())
