"""What an operator sees and decides, and how the process is set up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.relay.conftest import START, Desk, hold_letter, key_of

from lettertrail.errors import ConfigurationError
from lettertrail.relay import __main__ as program
from lettertrail.relay.accounts import read_accounts
from lettertrail.relay.desk import LATE, book_as_sent, held, is_healthy, release

CONNECTION = {
    "conn_type": "mailchimp",
    "host": "api.example",
    "port": 8080,
    "password": "x",
    "extra": '{"a": 1, "b": null}',
}


def test_what_waits_for_a_decision_is_listed_without_addresses(desk: Desk) -> None:
    """The held one and the dead one, not those that are on their way."""
    hold_letter(desk)
    desk.names = ("mailchimp",)
    desk.mandrill.store.enrol(["person2@example.com"], status="hard-bounce")
    desk.queue(2)
    desk.work()
    desk.queue(3)
    lines = list(held(desk.relay_dsn))
    assert [line.split()[:3] for line in lines] == [["1", "unknown", "SALE_NEW_ORDER"], ["2", "dead", "SALE_NEW_ORDER"]]
    assert "@" not in "".join(lines)


def test_a_letter_that_is_released_goes_once_more(desk: Desk) -> None:
    """With all its attempts, and only while it waits for that."""
    hold_letter(desk)
    assert release(desk.relay_dsn, [1, 99], now=desk.clock()) == 1
    assert release(desk.relay_dsn, [1], now=desk.clock()) == 0
    desk.work()
    assert desk.arrived() == [("unisender", key_of(1))]
    assert desk.states() == [("sent", "unisender", 2)]
    assert release(desk.relay_dsn, [1], now=desk.clock()) == 0


def test_a_letter_that_went_out_is_booked_so(desk: Desk) -> None:
    """Nothing is sent."""
    hold_letter(desk)
    assert book_as_sent(desk.relay_dsn, [1], now=desk.clock()) == 1
    assert book_as_sent(desk.relay_dsn, [1], now=desk.clock()) == 0
    desk.work()
    assert (desk.arrived(), [row[0] for row in desk.states()]) == ([], ["sent"])


def test_healthy_is_a_worker_that_lives_and_letters_that_go(desk: Desk) -> None:
    """The fixture holds a worker's lock."""
    desk.queue(1)
    assert is_healthy(desk.relay_dsn, now=START + LATE)
    assert not is_healthy(desk.relay_dsn, now=START + LATE * 2)
    desk.work()
    assert is_healthy(desk.relay_dsn, now=START + LATE * 2)
    desk.database.execute("select pg_advisory_unlock_all()")
    assert not is_healthy(desk.relay_dsn, now=START)


def test_the_program_says_what_is_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the variable's name."""
    monkeypatch.delenv("LETTERTRAIL_RELAY_DSN", raising=False)
    assert program.main(["--health"]) == 1
    monkeypatch.setenv("LETTERTRAIL_RELAY_DSN", desk.relay_dsn)
    assert program.main(["--held"]) == 0
    hold_letter(desk)
    assert program.main(["--held"]) == 0
    assert capsys.readouterr().out.startswith("1  unknown")
    assert program.main(["--release", "1"]) == 0
    assert [row[0] for row in desk.states()] == ["queued"]
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_RELAY_ATTEMPTS"):
        program._policy({"LETTERTRAIL_RELAY_ATTEMPTS": "0"})
    policy = program._policy({"LETTERTRAIL_RELAY_ATTEMPTS": "3", "LETTERTRAIL_RELAY_KEEP_DAYS": "2"})
    assert (policy.attempts, policy.keep_letters.days) == (3, 2)
    assert policy.pseudonym("anna@example.com") is None
    knowing = program._policy({"LETTERTRAIL_ERASURE_KEY": "k" * 32}).pseudonym("anna@example.com")
    assert knowing is not None
    assert knowing.endswith("@erased.invalid")


def test_accounts_come_in_order_from_the_environment(tmp_path: Path) -> None:
    """As Airflow takes them from there, or from what it exports."""
    environ = {
        "LETTERTRAIL_RELAY_ACCOUNTS": "unisender, mailchimp__b2b",
        "AIRFLOW_CONN_UNISENDER": json.dumps(CONNECTION),
        "AIRFLOW_CONN_MAILCHIMP__B2B": json.dumps({**CONNECTION, "host": "https://one.example", "extra": {}}),
    }
    first, second = read_accounts(environ)
    assert (first.conn_id, first.base_url, first.password, dict(first.extra)) == (
        "unisender", "api.example:8080", "x", {"a": 1},
    )  # fmt: skip
    assert (second.conn_id, second.base_url) == ("mailchimp__b2b", "https://one.example")
    exported = tmp_path / "connections.json"
    exported.write_text(json.dumps({"unisender": CONNECTION}), encoding="utf-8")
    (only,) = read_accounts({"LETTERTRAIL_RELAY_ACCOUNTS": "unisender", "LETTERTRAIL_RELAY_CONNECTIONS": str(exported)})
    assert only == first


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "LETTERTRAIL_RELAY_ACCOUNTS"),
        ({"LETTERTRAIL_RELAY_ACCOUNTS": "mailchimp,mailchimp"}, "twice"),
        ({"LETTERTRAIL_RELAY_ACCOUNTS": "pigeon"}, "pigeon"),
        ({"LETTERTRAIL_RELAY_ACCOUNTS": "mailchimp"}, "AIRFLOW_CONN_MAILCHIMP"),
        ({"LETTERTRAIL_RELAY_ACCOUNTS": "mailchimp", "AIRFLOW_CONN_MAILCHIMP": "mailchimp://:secret@x"}, "JSON"),
        ({"LETTERTRAIL_RELAY_ACCOUNTS": "mailchimp", "LETTERTRAIL_RELAY_CONNECTIONS": "{}"}, "mailchimp in"),
        ({"LETTERTRAIL_RELAY_ACCOUNTS": "mailchimp", "LETTERTRAIL_RELAY_CONNECTIONS": "{secret"}, "neither JSON"),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(environ: dict[str, str], said: str) -> None:
    """The variable, never what it holds."""
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_accounts(environ)
    assert "secret" not in str(caught.value)
