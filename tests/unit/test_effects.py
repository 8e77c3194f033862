"""What may happen to an effect: each row of the ledger's table as given, when, then, and what is refused."""

import msgspec
import pytest

from holdfast.core.asks import (
    CONFLICT,
    FAIL,
    RETRY,
    SUCCEED,
    Absent,
    Ask,
    Cancel,
    Close,
    Doubt,
    Expire,
    Park,
    Prove,
    Reconcile,
    Refuse,
    Release,
    Renew,
    Resolve,
    Send,
    Terms,
    Unasked,
    Unsend,
)  # fmt: skip
from holdfast.core.effects import (
    ASK,
    CANCELLED,
    CLAIMED,
    EXPIRE,
    FAILED,
    IN_DOUBT,
    INFLIGHT,
    PARK,
    PARKED,
    PLANNED,
    RECONCILING,
    SEND,
    SUCCEEDED,
    TELL,
    WAIT,
    course,
)  # fmt: skip
from tests.unit.effect_stories import (
    ASKED,
    COMMITTED,
    DECLINED,
    KEYED,
    LEASE,
    LIFETIME,
    NOON,
    ONCE,
    RECEIPT,
    SECOND,
    WINDOW,
    Story,
    claimed,
    planned,
    sent,
)  # fmt: skip

FINDING = msgspec.structs.replace(KEYED, lookup=True)
PROOF = Prove(who="one", result=RECEIPT, evidence="ch_1")


def refuse(fence: int = 1, *, again: bool = False, stored: bool = False) -> Refuse:
    return Refuse(who="one", fence=fence, error=DECLINED, again=again, stored=stored)


def doubt(fence: int = 1, *, gone: str = "", repeats: bool = False) -> Doubt:
    return Doubt(who="one", fence=fence, reason="no answer", sender_gone=gone, repeats=repeats)


def send(fence: int = 1) -> Send:
    return Send(who="one", fence=fence, lease=LEASE, request=b"POST")


def reconcile(*, gone: str = "", version: int | None = None) -> Reconcile:
    return Reconcile(who="two", attempt=2, lease=LEASE, sender_gone=gone, version=version)


def resolve(story: Story, verdict: str) -> Resolve:
    version = story.effect.version
    return Resolve(who="ann", version=version, verdict=verdict, reason="asked", result=RECEIPT, error=DECLINED)


def parked() -> Story:
    return sent(ONCE).given(doubt(), Park(who="one", reason="unclear"))


# ------------------------------------------------------------------------------------- PLANNED, CLAIMED → CLAIMED


def test_what_is_planned_is_claimed_under_a_new_fence_and_lease() -> None:
    story = planned()
    story.when(story.claim("one")).then(CLAIMED, fence=1, owner="one", lease_until=NOON + 15 * SECOND)


def test_a_claim_is_another_workers_once_its_lease_is_over() -> None:
    story = claimed()
    story.refuses(story.claim("two"), "state", at=14.9)
    story.when(story.claim("two"), at=15).then(CLAIMED, fence=2, owner="two", unclear=False)
    story.refuses(send(fence=1), "fence", at=15)


def test_a_holder_renews_its_lease_and_nobody_else_does() -> None:
    story = claimed()
    story.refuses(Renew(who="two", fence=0, lease=LEASE), "fence")
    story.when(Renew(who="one", fence=1, lease=LEASE), at=10).then(CLAIMED, version=1, lease_until=NOON + 25 * SECOND)
    planned().refuses(Renew(who="one", fence=0, lease=LEASE), "fence")


def test_a_claim_is_given_back() -> None:
    story = claimed().when(Release(who="one", fence=1)).then(PLANNED)
    story.refuses(Release(who="one", fence=1), "fence")


def test_a_lapsed_claim_is_planned_again_since_nothing_was_sent() -> None:
    claimed().when(Expire(who="sweeper"), at=15).then(PLANNED, fence=2, unclear=False)


# --------------------------------------------------------------------------------------------------- → INFLIGHT


def test_the_fast_path_claims_and_intends_in_one_commit() -> None:
    story = planned()
    story.when(story.begin("one")).then(
        INFLIGHT, fence=1, owner="one", sender="one", request=b"POST", first_sent_at=NOON, last_sent_at=NOON
    )
    story.refuses(story.begin("two"), "state")


def test_the_owner_of_a_claim_commits_its_intent() -> None:
    claimed().refuses(send(fence=0), "fence").when(send(fence=1)).then(INFLIGHT, fence=1, first_sent_at=NOON)


def test_an_effect_in_doubt_is_sent_again_while_its_window_is_open() -> None:
    story = sent().given(doubt())
    story.refuses(story.begin(), "window", at=WINDOW)
    story.when(story.begin("two"), at=WINDOW - 1)
    story.then(INFLIGHT, fence=3, unclear=True, first_sent_at=NOON, last_sent_at=NOON + 3599 * SECOND)


def test_it_is_sent_again_with_the_same_bytes_or_not_at_all() -> None:
    story = sent().given(doubt())
    story.refuses(story.begin(request=b"PUT"), "other_bytes").when(story.begin(request=b"POST")).then(INFLIGHT)


def test_it_is_sent_again_under_the_guard_it_was_sent_under() -> None:
    story = sent().given(doubt())
    story.refuses(story.begin(terms=ONCE), "guard")


@pytest.mark.parametrize("terms", [ONCE, ASKED])
def test_no_other_guard_lets_an_effect_in_doubt_be_sent_again(terms: Terms) -> None:
    story = sent(terms).given(doubt())
    story.refuses(story.begin(), "window")


def test_a_stored_answer_is_not_asked_for_again() -> None:
    story = sent().given(doubt(repeats=True))
    story.refuses(story.begin(), "window")
    assert course(story.effect, NOON) == PARK


# ------------------------------------------------------------------------------------------------------ → SUCCEEDED


@pytest.mark.parametrize(
    "story",
    [planned(), claimed(), sent(), sent().given(doubt()), sent(ASKED).given(doubt(), reconcile()), parked()],
    ids=[PLANNED, CLAIMED, INFLIGHT, IN_DOUBT, RECONCILING, PARKED],
)
def test_a_proof_is_taken_in_every_unsettled_state(story: Story) -> None:
    Story.when(story, PROOF).then(SUCCEEDED, result=RECEIPT)
    assert story.moves[-1].evidence == "ch_1"
    story.refuses(PROOF, "settled")


def test_a_proof_of_an_earlier_fence_is_as_good() -> None:
    story = sent().given(doubt())
    story.when(story.begin("two")).then(INFLIGHT, fence=3).when(PROOF).then(SUCCEEDED)


# -------------------------------------------------------------------------------------------------- INFLIGHT → FAILED


def test_a_refusal_of_the_only_attempt_fails_the_effect() -> None:
    sent().when(refuse()).then(FAILED, error=DECLINED)


def test_a_refusal_of_an_old_fence_says_nothing() -> None:
    story = sent().given(doubt())
    story.when(story.begin("two")).refuses(refuse(fence=1), "fence")


def test_a_refusal_after_an_unclear_attempt_leaves_it_in_doubt() -> None:
    story = sent().given(doubt())
    story.when(story.begin("two")).when(refuse(fence=3)).then(IN_DOUBT, fence=4, error=None, unclear=True)


def test_a_refusal_that_the_provider_stores_speaks_for_the_unclear_attempt_too() -> None:
    story = sent().given(doubt())
    story.when(story.begin("two")).when(refuse(fence=3, stored=True)).then(FAILED, error=DECLINED)


def test_a_refusal_of_a_request_that_was_sent_twice_leaves_it_in_doubt() -> None:
    sent().when(refuse(again=True)).then(IN_DOUBT, unclear=True)
    sent().when(refuse(again=True, stored=True)).then(FAILED)


def test_after_a_persons_retry_a_repeated_refusal_may_be_one_that_is_about_to_be_forgotten() -> None:
    story = sent().given(doubt(), Park(who="one", reason="unclear"))
    story.given(resolve(story, RETRY), story.begin(), doubt(fence=story.fence + 2))
    story.given(story.begin()).when(refuse(story.fence, stored=True)).then(IN_DOUBT)


def test_a_refusal_before_anything_was_sent_fails_the_effect() -> None:
    claimed().when(refuse()).then(FAILED, error=DECLINED)


# ------------------------------------------------------------------------------------------------- INFLIGHT → PLANNED


def test_what_was_not_sent_is_planned_again_and_its_window_has_not_begun() -> None:
    story = sent().when(Unsend(who="one", fence=1)).then(PLANNED, first_sent_at=None, last_sent_at=None)
    story.refuses(Unsend(who="one", fence=1), "fence")


def test_not_sent_says_nothing_about_an_earlier_unclear_attempt() -> None:
    story = sent().given(doubt())
    story.when(story.begin("two")).when(Unsend(who="two", fence=3))
    story.then(IN_DOUBT, unclear=True, first_sent_at=NOON)


def test_not_sent_says_nothing_about_the_same_attempts_first_request() -> None:
    sent().when(Unsend(who="one", fence=1, again=True)).then(IN_DOUBT, unclear=True)


# ------------------------------------------------------------------------------------------------ INFLIGHT → IN_DOUBT


def test_an_unclear_answer_leaves_the_effect_in_doubt_under_a_new_fence() -> None:
    story = sent().when(doubt(gone="its function has returned"))
    story.then(IN_DOUBT, fence=2, unclear=True, sender_gone="its function has returned", lease_until=0)
    story.refuses(doubt(), "fence")


def test_the_sweeper_takes_the_effect_once_its_lease_is_over() -> None:
    story = sent().refuses(Expire(who="sweeper"), "lease", at=14.9)
    story.when(Expire(who="sweeper"), at=15).then(IN_DOUBT, fence=2, unclear=True, sender_gone="")


def test_a_sender_that_is_known_to_be_gone_has_no_lease() -> None:
    sent().when(Expire(who="sweeper", sender_gone="its process is gone", version=1)).then(
        IN_DOUBT, sender_gone="its process is gone"
    )


def test_what_was_found_out_about_one_sender_says_nothing_about_the_next() -> None:
    story = sent(ASKED)
    about_one = Expire(who="sweeper", sender_gone="its process is gone", version=story.effect.version)
    story.given(Unsend(who="one", fence=1), story.begin("two"))
    story.refuses(about_one, "version", at=99)
    story.given(Expire(who="sweeper"), at=99)
    story.refuses(reconcile(gone="its process is gone", version=1), "version", at=99)


def test_nothing_is_taken_away_where_nobody_holds_it() -> None:
    planned().refuses(Expire(who="sweeper"), "state")
    sent().given(PROOF).refuses(Expire(who="sweeper"), "settled")


# -------------------------------------------------------------------------------------------------------- RECONCILING


def test_an_effect_in_doubt_is_asked_about() -> None:
    story = sent(ASKED).given(doubt()).refuses(Absent(who="two", fence=2), "fence")
    story.when(reconcile(), at=3).then(RECONCILING, fence=3, owner="two", sender="one", asked_at=NOON + 3 * SECOND)


def test_a_key_with_a_lookup_is_asked_about_once_it_may_not_be_sent_again() -> None:
    story = sent(FINDING).given(doubt())
    story.refuses(reconcile(), "guard", at=WINDOW - 1).when(reconcile(), at=WINDOW).then(RECONCILING)
    sent(FINDING).given(doubt(repeats=True)).when(reconcile()).then(RECONCILING)
    sent().given(doubt()).refuses(reconcile(), "guard", at=WINDOW)
    sent(ONCE).given(doubt()).refuses(reconcile(), "guard")


def test_a_question_without_an_answer_is_asked_again() -> None:
    story = sent(ASKED).given(doubt(gone="returned"), reconcile())
    story.when(Unasked(who="two", fence=3)).then(IN_DOUBT, fence=4, sender_gone="returned")
    story.when(reconcile()).when(Expire(who="sweeper"), at=15).then(IN_DOUBT, fence=6, sender_gone="returned")


def test_absent_before_the_horizon_is_no_answer() -> None:
    story = sent(ASKED).given(doubt(gone="returned")).given(reconcile(), at=LIFETIME - 1)
    story.refuses(send(fence=3), "horizon", at=LIFETIME + 1)  # the question was too early, not the answer
    story.when(Absent(who="two", fence=3), at=LIFETIME + 1).then(IN_DOUBT, fence=4)


def test_absent_after_the_horizon_with_the_sender_gone_lets_its_holder_send_anew() -> None:
    story = sent(ASKED).given(doubt(gone="returned")).given(reconcile(), at=LIFETIME)
    story.refuses(Absent(who="two", fence=3), "send", at=LIFETIME)
    story.when(send(fence=3), at=LIFETIME)
    story.then(INFLIGHT, unclear=False, sender_gone="", last_sent_at=NOON + 60 * SECOND)


def test_the_horizon_is_counted_from_when_the_sender_was_known_to_be_gone() -> None:
    """It may have been paused for long, and sent its request just before it died."""
    story = sent(ASKED).given(Expire(who="sweeper", sender_gone="its process is gone", version=1), at=100)
    assert story.effect.horizon == NOON + 160 * SECOND
    story.given(reconcile(), at=159).refuses(send(fence=3), "horizon", at=200)

    late = sent(ASKED).given(Expire(who="sweeper"), at=100).given(reconcile(gone="it is gone", version=2), at=200)
    assert late.effect.horizon == NOON + 260 * SECOND


def test_absent_after_the_horizon_is_a_persons_where_nobody_knows_the_sender_gone() -> None:
    story = sent(ASKED).given(doubt()).given(reconcile(), at=LIFETIME)
    story.refuses(send(fence=3), "horizon", at=LIFETIME)
    story.when(Absent(who="two", fence=3), at=LIFETIME).then(PARKED)
    assert "nobody can tell whether the sender (one) is gone" in story.effect.reason


def test_absent_past_a_keys_window_is_a_persons() -> None:
    story = sent(FINDING).given(doubt()).given(reconcile(), at=WINDOW)
    story.refuses(send(fence=3), "horizon").when(Absent(who="two", fence=3)).then(PARKED)


# ------------------------------------------------------------------------------------------------------------- PARKED


def test_an_effect_in_doubt_is_parked_and_one_that_is_being_sent_is_not() -> None:
    sent(ONCE).refuses(Park(who="one", reason="?"), "state").given(doubt()).when(Park(who="one", reason="?")).then(
        PARKED, reason="?"
    )


def test_a_holder_parks_what_it_holds_and_nobody_elses() -> None:
    claimed().refuses(Park(who="two", reason="?"), "state").refuses(Park(who="two", reason="?", fence=0), "fence").when(
        Park(who="one", reason="cannot be called", fence=1)
    ).then(PARKED)


def test_a_person_says_that_it_happened() -> None:
    story = parked()
    story.when(resolve(story, SUCCEED)).then(SUCCEEDED, result=RECEIPT, resolved_by="ann")
    assert story.moves[-1].reason == "asked"


def test_a_person_says_that_it_did_not_happen() -> None:
    story = parked()
    story.when(resolve(story, FAIL)).then(FAILED, error=DECLINED, resolved_by="ann")


def test_a_person_has_it_sent_anew() -> None:
    story = parked()
    story.when(resolve(story, RETRY)).then(PLANNED, fence=3, unclear=False, first_sent_at=None)


def test_a_verdict_that_arrives_twice_counts_once() -> None:
    story = parked()
    verdict = resolve(story, RETRY)
    story.given(verdict).refuses(verdict, "state")
    story.given(story.begin("two"), doubt(fence=4), Park(who="two", reason="unclear"))
    story.refuses(verdict, "version")


def test_a_person_decides_on_what_is_parked_alone() -> None:
    story = sent()
    story.refuses(resolve(story, FAIL), "state").given(PROOF).refuses(resolve(story, FAIL), "settled")


# ---------------------------------------------------------------------------------------------- CANCELLED and CONFLICT


@pytest.mark.parametrize("ask", [Cancel(who="owner"), Close(who="owner")])
def test_what_was_never_sent_is_cancelled(ask: Ask) -> None:
    planned().when(ask).then(CANCELLED, fence=1)
    claimed().when(ask).then(CANCELLED, fence=2).refuses(send(), "fence")


def test_what_may_have_been_sent_is_never_cancelled() -> None:
    sent().refuses(Cancel(who="owner"), "state")
    sent().given(doubt()).refuses(Cancel(who="owner"), "state")
    parked().refuses(Cancel(who="owner"), "state")
    sent().given(PROOF).refuses(Cancel(who="owner"), "settled")


def test_without_further_attempts_a_doubt_is_a_persons() -> None:
    sent().refuses(Close(who="owner"), "state").given(doubt()).when(Close(who="owner", reason="8 attempts")).then(
        PARKED, reason="8 attempts"
    )


def test_a_proof_against_what_a_person_has_failed_is_a_conflict_and_the_state_stays() -> None:
    story = parked()
    story.given(resolve(story, FAIL)).when(PROOF).then(FAILED, error=DECLINED, result=None)
    assert (story.moves[-1].what, story.moves[-1].result) == (CONFLICT, RECEIPT)


def test_a_proof_against_what_was_cancelled_is_a_conflict_and_the_state_stays() -> None:
    story = planned().given(Cancel(who="owner")).when(PROOF).then(CANCELLED, result=None)
    assert story.moves[-1].what == CONFLICT


# ------------------------------------------------------------------------------------------------------- transaction


def test_a_transaction_is_claimed_and_proven_and_never_in_flight() -> None:
    story = claimed(COMMITTED)
    story.refuses(send(), "state").refuses(story.begin(), "state").when(PROOF).then(SUCCEEDED)
    fresh = planned(COMMITTED)
    fresh.refuses(fresh.begin(), "state")


def test_a_claimed_transaction_may_be_about_to_commit_and_is_not_cancelled() -> None:
    claimed(COMMITTED).refuses(Cancel(who="owner"), "state").refuses(Close(who="owner"), "state")
    claimed(COMMITTED).given(Release(who="one", fence=1)).when(Cancel(who="owner")).then(CANCELLED)


def test_a_commit_without_an_answer_is_in_doubt_and_is_claimed_again() -> None:
    story = claimed(COMMITTED).when(doubt()).then(IN_DOUBT)
    assert course(story.effect, NOON) == SEND
    story.when(story.claim("two")).then(CLAIMED, unclear=True).when(PROOF).then(SUCCEEDED)


@pytest.mark.parametrize("at", [15, 16])
def test_a_claimer_that_was_overtaken_may_yet_commit(at: int) -> None:
    story = claimed(COMMITTED)
    story.when(story.claim("two"), at=at).then(CLAIMED, fence=2, unclear=True)
    story.when(Release(who="two", fence=2), at=at).then(IN_DOUBT).refuses(Cancel(who="owner"), "state")
    story.when(Close(who="owner", reason="8 attempts")).then(PARKED)


def test_a_refusal_after_an_overtaken_claim_counts_if_it_stands_in_the_target_database() -> None:
    story = claimed(COMMITTED)
    story.when(story.claim("two"), at=15).when(refuse(fence=2), at=15).then(IN_DOUBT)
    storing = claimed(COMMITTED)
    storing.when(storing.claim("two"), at=15).when(refuse(fence=2, stored=True), at=15).then(FAILED)


def test_a_lapsed_transaction_is_in_doubt() -> None:
    claimed(COMMITTED).when(Expire(who="sweeper"), at=15).then(IN_DOUBT, unclear=True)


@pytest.mark.parametrize("lapse", [doubt(), Expire(who="sweeper"), Renew(who="one", fence=1, lease=0)])
def test_a_transaction_that_may_yet_commit_is_not_sent_under_another_guard(lapse: Ask) -> None:
    story = claimed(COMMITTED).given(lapse, at=15)
    story.when(story.claim("two", terms=KEYED), at=16).then(PARKED, terms=COMMITTED)
    assert "its guard has become provider_key" in story.effect.reason


# ----------------------------------------------------------------------------------------------- what a worker is told


def test_the_course_of_an_effect() -> None:
    def told(story: Story, at: float = 0) -> str:
        return course(story.effect, NOON + int(at * SECOND))

    assert told(planned()) == SEND
    assert (told(claimed()), told(claimed(), at=15)) == (WAIT, SEND)
    assert (told(sent()), told(sent(), at=15)) == (WAIT, EXPIRE)
    assert (told(sent().given(doubt())), told(sent().given(doubt()), at=WINDOW)) == (SEND, PARK)
    assert (told(sent(FINDING).given(doubt())), told(sent(FINDING).given(doubt()), at=WINDOW)) == (SEND, ASK)
    assert (told(sent(ASKED).given(doubt())), told(sent(ONCE).given(doubt()))) == (ASK, PARK)
    assert told(sent(ASKED).given(doubt(), reconcile()), at=15) == EXPIRE
    assert (told(parked()), told(sent().given(PROOF))) == (TELL, TELL)
