"""The model check of the effect ledger: the real rules under every interleaving, and mutants that have to be caught.

    python -m tests.simulation.ledger_model [--traces]

Laws that are checked, over two workers, a sweeper, an orchestrator, a person and a provider:
- no double effect; no success without an effect; no failure and no cancellation with one; no CONFLICT;
- a way out of every state without another fault; no version missing, no fence that falls.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.simulation.ledger_mutants import MODELS, MUTANTS, PROOF_UNDER_THE_FENCE, Mutant
from tests.simulation.ledger_rules import Rules
from tests.simulation.ledger_search import Found, explore
from tests.simulation.ledger_world import Setting, Steps

REPORT = Path("build/report/ledger-model.json")


def check(setting: Setting) -> Found:
    """Explore a model under the real rules."""
    return explore(Steps(setting, Rules(setting.terms, stores_refusals=setting.stores_refusals)))


def catch(mutant: Mutant) -> Found:
    """Explore a model under a broken rule."""
    setting = mutant.setting
    rules = Rules(setting.terms, mutant.decide, mutant.evolve, stores_refusals=setting.stores_refusals)
    return explore(Steps(setting, rules), mutant.law)


def main() -> int:
    """Check everything, print it as a table, write the report; 1 if a law is broken or a mutant is not caught."""
    parser = argparse.ArgumentParser(description="the model check of the effect ledger")
    parser.add_argument("--traces", action="store_true", help="print how each mutant breaks its law")
    traces = parser.parse_args().traces
    violations: dict[str, list[str]] = {}
    began = time.process_time()
    models: dict[str, int] = {}
    for name, setting in MODELS.items():
        found = check(setting)
        models[name] = found.states
        print(f"{found.states:>9,}  {name}")
        if found.violation is not None:
            violations[name] = [found.violation.law, *found.violation.trace]
    mutants: dict[str, list[str]] = {}
    for name, mutant in MUTANTS.items():
        found = catch(mutant)
        if found.violation is None or found.violation.law != mutant.law:
            seen = "nothing" if found.violation is None else found.violation.law
            violations[f"mutant: {name}"] = [f"expected {mutant.law}, saw {seen}"]
            continue
        mutants[name] = [*found.violation.trace, f"→ {found.violation.law}"]
        print(f"   caught  {name}: {found.violation.law}, in {len(found.violation.trace)} steps")
        if traces:
            print(*(f"             {line}" for line in mutants[name]), sep="\n")
    parked = catch(PROOF_UNDER_THE_FENCE)
    if parked.violation is not None or parked.turned_away is None:
        violations["a proof under its fence alone"] = ["it is expected to break no law, and to turn a proof away"]
    else:
        print(
            f" harmless  a proof under its fence alone; but {parked.times_turned_away} parked states turn a proof away"
        )
    print(f"{time.process_time() - began:.1f} s of CPU")
    for name, lines in violations.items():
        print(f"BROKEN {name}:", *lines, sep="\n    ", file=sys.stderr)
    report = {
        "models": models,
        "mutants": mutants,
        "proof_under_its_fence_alone": {
            "states_that_turn_a_proof_away": parked.times_turned_away,
            "trace": [] if parked.turned_away is None else parked.turned_away.trace,
        },
        "violations": violations,
    }
    write(report)
    return 1 if violations else 0


def write(report: Mapping[str, object]) -> None:
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
