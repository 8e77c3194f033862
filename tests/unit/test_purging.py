"""What may be purged, and what is said of a purged run: the rules of core/purging.py, as given, when, then."""

import pytest

from holdfast.core.children import REFUSED
from holdfast.core.commands import CancelRun, CompleteStep, HearChild, PurgeRun, SignalRun, StartRun
from holdfast.core.messages import Bury, Send
from holdfast.core.parent import Parent
from holdfast.core.payload import Payload
from holdfast.core.purging import Tombstone, after_purge, input_hash
from holdfast.core.react import answer
from holdfast.core.run import DeadLetter
from tests.unit.given import RUN_ID, ended, given, parked, payload, scheduled, started

STARTED = started()
START = StartRun(workflow=STARTED.workflow, input=STARTED.input)
TOMBSTONE = Tombstone(RUN_ID, 0, input_hash(STARTED.workflow, STARTED.input), 1, 2)


def refused(command: SignalRun | StartRun) -> str:
    with pytest.raises(DeadLetter) as dead:
        after_purge(TOMBSTONE, command)
    return dead.value.reason


def test_a_run_that_has_ended_goes_with_the_hash_of_its_input() -> None:
    given(started(), ended()).when(PurgeRun()).then_nothing()
    run = given(started(), ended()).state()
    assert answer(run, PurgeRun(), ended()) == (Bury(TOMBSTONE.input_hash),)


def test_a_run_that_is_open_or_parked_is_kept() -> None:
    given(started(), scheduled()).when(PurgeRun()).then_refused("run_open")
    given(started(), parked()).when(PurgeRun()).then_refused("run_open")


def test_a_run_that_nobody_started_cannot_be_purged() -> None:
    given().when(PurgeRun()).then_refused("run_unknown")


def test_the_same_start_of_a_purged_run_does_nothing_whatever_order_its_keys_have() -> None:
    assert after_purge(TOMBSTONE, START) == ()
    written = [Payload(data=text) for text in (b'{"a": 1, "b": 2}', b'{"b":2,"a":1}')]
    first, second = (input_hash("order", one) for one in written)
    assert first == second


def test_another_start_under_the_id_of_a_purged_run_is_a_dead_letter() -> None:
    assert refused(StartRun(workflow=START.workflow, input=payload('"something else"'))) == "run_exists_differs"
    assert refused(StartRun(workflow="refund", input=START.input)) == "run_exists_differs"


def test_a_signal_to_a_purged_run_is_as_late_as_one_to_an_ended_run() -> None:
    assert refused(SignalRun(name="paid", message_id="m")) == "run_ended"


def test_what_else_comes_for_a_purged_run_changes_nothing() -> None:
    late = CompleteStep(step_id="read#1", attempt=1, result=payload("1"))
    for command in (CancelRun(), PurgeRun(), late):
        assert after_purge(TOMBSTONE, command) == ()


def test_a_parent_that_asks_for_a_purged_child_is_answered() -> None:
    parent = Parent("shipment-7", 0, "order#1")
    (said,) = after_purge(TOMBSTONE, StartRun(workflow="order", input=START.input, parent=parent))
    assert isinstance(said, Send)
    assert isinstance(said.command, HearChild)
    assert (said.to, said.command.step_id, said.command.status) == ("shipment-7", "order#1", REFUSED)
    assert "purged" in (said.command.error.message if said.command.error else "")
