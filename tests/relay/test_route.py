"""Which account is asked next, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lettertrail.relay.route import GivenUp, Past, Policy, Rests, Result, guarded_until, next_account

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
POLICY = Policy(attempts=8, in_a_row=2)
A, B = "mailchimp", "unisender"


def past(*tries: tuple[str, Result]) -> list[Past]:
    """Attempts a second apart."""
    return [Past(account, outcome, NOW + timedelta(seconds=n)) for n, (account, outcome) in enumerate(tries)]


@pytest.mark.parametrize(
    ("tries", "account"),
    [
        ([], A),
        ([(A, "passing")], A),
        ([(A, "passing"), (A, "passing")], B),
        ([(A, "absent"), (A, "passing"), (B, "passing"), (B, "absent")], A),
        ([(A, "refused")], B),
        ([(A, "refused"), (B, "passing"), (B, "passing"), (B, "passing")], B),
    ],
)
def test_the_first_is_asked_first_and_the_next_after_failures(tries: list[tuple[str, Result]], account: str) -> None:
    """In turns, and never again one that refused the letter."""
    assert next_account([A, B], past(*tries), policy=POLICY) == account


def test_a_letter_is_given_up_when_all_refused_it_or_after_so_many_attempts() -> None:
    """With the reason."""
    refused = next_account([A, B], past((A, "refused"), (B, "refused")), policy=POLICY)
    assert refused == GivenUp("refused by every account")
    assert next_account([A, B], past(*[(A, "passing")] * 8), policy=POLICY) == GivenUp("given up after 8 attempts")


def test_an_account_that_rests_is_asked_when_nobody_else_is_left() -> None:
    """A rest is no refusal."""
    assert next_account([A, B], [], policy=POLICY, resting={A}) == B
    assert next_account([A, B], past((B, "refused")), policy=POLICY, resting={A}) == A


def test_accounts_that_fail_with_every_letter_rest_for_a_while() -> None:
    """One success in between starts the count anew; a refused key is enough at once."""
    rests = Rests(failures=2, rest=timedelta(minutes=1))
    for has_failed in (True, False, True):
        rests.note(A, has_failed=has_failed, now=NOW)
    assert rests.resting(NOW) == frozenset()
    rests.note(A, has_failed=True, now=NOW)
    rests.note(B, has_failed=True, now=NOW, at_once=True)
    assert rests.resting(NOW) == {A, B}
    assert rests.resting(NOW + timedelta(minutes=1)) == frozenset()


def test_waits_double_up_to_a_longest_one() -> None:
    """Whatever the number."""
    waits = [POLICY.wait(failures).total_seconds() for failures in (0, 1, 2, 3, 11, 5_000)]
    assert waits == [5, 5, 10, 20, 3600, 3600]


def test_a_guard_counts_from_the_first_call_that_had_no_answer() -> None:
    """At the same account and without anything between."""
    guard, margin = timedelta(seconds=60), timedelta(seconds=15)
    tries = past((A, "unknown"), (A, "absent"), (A, "unknown"), (A, "unknown"))
    assert guarded_until(tries, guard, margin) == NOW + timedelta(seconds=2 + 45)
    assert guarded_until(past((B, "unknown"), (A, "unknown")), guard, margin) == NOW + timedelta(seconds=1 + 45)
    assert guarded_until(tries, None, margin) is None
    assert guarded_until([], guard, margin) is None
