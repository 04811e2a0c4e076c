"""Writing many rows: each is accounted for, whatever the service says or fails to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from lettertrail.bulk import (
    Verdict,
    address_of,
    attributes_of,
    outcomes,
    push,
    push_then_check,
    strongest,
    targets,
)
from lettertrail.errors import ContractError, RateLimited, RequestRejected, TemporaryApiError
from lettertrail.esps.port import Outcome, Record

OK: Verdict = ("applied", None)
LOST = TemporaryApiError("letterbox", "cut off")


class Service:
    """Takes bulks by script: each entry is what a bulk answers, or what it fails with."""

    def __init__(self, *script: dict[str, Verdict] | Exception, holds: Sequence[str] = ()) -> None:
        self.script = list(script)
        self.holds = set(holds)
        self.sent: list[list[str]] = []
        self.asked: list[list[str]] = []

    def send(self, part: Sequence[str]) -> dict[str, Verdict]:
        self.sent.append(list(part))
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def settled(self, part: Sequence[str]) -> set[str]:
        self.asked.append(list(part))
        return self.holds & set(part)


def run(
    service: Service, wanted: Sequence[str], *, settled: Callable[[Sequence[str]], set[str]] | None = None
) -> dict[str, Verdict]:
    settled = settled or service.settled
    found = list(push(wanted, service.send, settled, bulk=2, unmentioned="already_ok", otherwise="not there"))
    assert len(found) == len(wanted)
    return dict(found)


def test_bulks_are_full_and_nothing_said_is_asked_again() -> None:
    """Five rows by two: three calls and no reading back."""
    service = Service({"a": OK, "b": OK}, {"c": OK, "d": ("rejected", "no")}, {"e": OK})
    assert run(service, "abcde") == {"a": OK, "b": OK, "c": OK, "d": ("rejected", "no"), "e": OK}
    assert service.sent == [["a", "b"], ["c", "d"], ["e"]]
    assert service.asked == []


def test_what_an_answer_leaves_out_is_read_back() -> None:
    """Silence is neither yes nor no."""
    service = Service({"a": OK}, {}, holds="b")
    assert run(service, "abc") == {"a": OK, "b": ("already_ok", None), "c": ("rejected", "not there")}


@pytest.mark.parametrize("error", [LOST, RateLimited("letterbox", "slow")])
def test_a_lost_answer_is_decided_by_reading_back(error: Exception) -> None:
    """Done is applied, not done is pending, and the rest is not even sent."""
    service = Service(error, holds="a")
    assert run(service, "abcd") == {
        "a": OK,
        "b": ("retry_pending", "no answer"),
        "c": ("retry_pending", "not attempted"),
        "d": ("retry_pending", "not attempted"),
    }
    assert len(service.sent) == 1


def test_when_reading_back_fails_too_everything_is_pending() -> None:
    """Nothing is known, nothing is claimed."""

    def settled(part: Sequence[str]) -> set[str]:
        raise LOST

    service = Service({"a": OK})
    assert run(service, "abc", settled=settled) == {
        "a": OK,
        "b": ("retry_pending", "no answer"),
        "c": ("retry_pending", "not attempted"),
    }


def test_a_refused_call_stops_the_push() -> None:
    """A call that is refused as a whole is our mistake, not the rows'."""
    with pytest.raises(RequestRejected):
        run(Service(RequestRejected("letterbox", "no")), "ab")


def test_a_key_gets_one_outcome_even_when_addresses_repeat() -> None:
    """Two records of one address share its verdict; what is no address is rejected by itself."""
    sent = [Record("1", "A@b.c"), Record("2", " a@b.c"), Record("3", "nonsense"), Record("4", "")]
    assert targets(sent) == ["a@b.c"]
    assert list(outcomes("push", sent, [("a@b.c", OK)])) == [
        Outcome("3", "rejected", "no usable address"),
        Outcome("4", "rejected", "no usable address"),
        Outcome("1", "applied"),
        Outcome("2", "applied"),
    ]


def test_a_record_without_a_verdict_is_an_error() -> None:
    """It must never just disappear."""
    with pytest.raises(ContractError, match="1 targets") as caught:
        list(outcomes("push", [Record("1", "a@b.c")], []))
    assert "a@b.c" not in str(caught.value)


@pytest.mark.parametrize("email", ["", "@", "a@", "@b.c", "a b@c.de", "a@b\nc.de", "plain"])
def test_what_is_no_address(email: str) -> None:
    """Only what cannot be sent to any service; finer judgement is theirs."""
    assert address_of(Record("1", email)) is None


@pytest.mark.parametrize(
    ("verdicts", "told"),
    [
        ([("already_ok", "not there"), OK], OK),
        ([("rejected", "x"), OK], ("rejected", "x")),
        ([("rejected", "x"), ("retry_pending", "y"), OK], ("retry_pending", "y")),
        ([("already_ok", "not there"), ("already_ok", "cleaned")], ("already_ok", "cleaned")),
    ],
)
def test_the_strongest_verdict_is_told(verdicts: list[Verdict], told: Verdict) -> None:
    """An address on several lists is done only when it is done on all."""
    assert strongest(verdicts, weakest_reason="not there") == told
    assert strongest(reversed(verdicts), weakest_reason="not there") == told


def test_attributes_of_one_address_come_together() -> None:
    """The later record wins where two say something about the same; records without any say nothing."""
    sent = [
        Record("1", "A@b.c", {"x": 1, "y": 1}),
        Record("2", "a@b.c ", {"y": 2}),
        Record("3", "d@b.c"),
        Record("4", "nonsense", {"x": 1}),
    ]
    assert attributes_of(sent) == {"a@b.c": {"x": 1, "y": 2}}


def test_a_refusal_may_be_evidence() -> None:
    """Only a refusal: the same words beside a success prove nothing."""
    sent = [Record(name, f"{name}@b.c") for name in "abc"]
    verdicts: list[tuple[str, Verdict]] = [
        ("a@b.c", ("rejected", "gone")),
        ("b@b.c", ("already_ok", "gone")),
        ("c@b.c", ("rejected", "misspelt")),
    ]
    found = outcomes("push", sent, verdicts, proof={"gone": "erased"})
    assert [outcome.evidence for outcome in found] == ["erased", None, None]


def check(service: Service, wanted: Sequence[str]) -> dict[str, Verdict]:
    found = list(push_then_check(wanted, service.send, service.settled, bulk=2, otherwise="not there"))
    assert len(found) == len(wanted)
    return dict(found)


def test_an_export_is_read_back_once_for_all_bulks() -> None:
    """It is dear: not one for each bulk, and none when every row was told of."""
    service = Service({}, {"c": ("rejected", "no")}, {}, holds="ae")
    assert check(service, "abcde") == {
        "a": OK,
        "b": ("rejected", "not there"),
        "c": ("rejected", "no"),
        "d": ("rejected", "not there"),
        "e": OK,
    }
    assert service.asked == [["a", "b", "d", "e"]]
    told = Service({"a": OK})
    assert check(told, "a") == {"a": OK}
    assert told.asked == []


@pytest.mark.parametrize("error", [LOST, RateLimited("letterbox", "slow")])
def test_a_lost_bulk_ends_the_sending(error: Exception) -> None:
    """What was sent is read back; the rest was not attempted."""
    service = Service({"a": OK, "b": OK}, error, holds="c")
    assert check(service, "abcdef") == {
        "a": OK,
        "b": OK,
        "c": OK,
        "d": ("retry_pending", "no answer"),
        "e": ("retry_pending", "not attempted"),
        "f": ("retry_pending", "not attempted"),
    }
    assert len(service.sent) == 2


def test_an_export_that_fails_leaves_everything_open() -> None:
    """Nothing is known of what no answer mentioned."""

    def settled(part: Sequence[str]) -> set[str]:
        raise LOST

    service = Service({"a": OK})
    found = dict(push_then_check("ab", service.send, settled, bulk=2, otherwise="not there"))
    assert found == {"a": OK, "b": ("retry_pending", "no answer")}
