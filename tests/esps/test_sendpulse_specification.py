"""SendPulse against answers made from the schemas of its OpenAPI files: every field, and none with a real value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from tests.contract.sendpulse_service import NOW

from lettertrail.clock import fixed_clock
from lettertrail.esps.port import AccountConnection, Letter, Record
from lettertrail.esps.sendpulse import ADDRESS, SendPulse
from lettertrail.http import Answer
from lettertrail.throttle import Throttle

BOOK = {
    "id": 0, "name": "string", "all_email_qty": 0, "active_email_qty": 0, "inactive_email_qty": 0,
    "creationdate": "string", "status": 0, "status_explain": "string",
}  # fmt: skip
LETTER = {
    "id": "string", "sender": "string", "total_size": "string", "sender_ip": "string", "smtp_answer_code": "string",
    "smtp_answer_subcode": "string", "smtp_answer_data": "string", "used_ip": "string", "recipient": "string",
    "subject": "string", "send_date": "string", "tracking": {"click": 0, "open": 0, "link": [{}], "client_info": [{}]},
}  # fmt: skip
BOUNCE = {
    "email_to": "string", "sender": "string", "send_date": "string", "subject": "string", "smtp_answer_code": 0,
    "smtp_answer_subcode": "string", "smtp_answer_data": "string",
}  # fmt: skip
OPT_OUT = {"email": "string", "unsubscribe_by_link": 0, "unsubscribe_by_user": 0, "spam_complaint": 0, "date": "string"}
DONE = {"result": True}
ANSWERS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/addressbooks", [BOOK]),
    ("POST", "/addressbooks", {"id": 0}),
    ("GET", "/addressbooks/0/emails", [{"email": "string", "status": 0, "status_explain": "string", "variables": {}}]),
    ("POST", "/addressbooks/0/emails(/unsubscribe|/variable)?", DONE),
    ("DELETE", "/addressbooks/0/emails", DONE),
    ("GET", "/campaigns", [{"id": 0, "name": "string", "status": 3}]),
    ("GET", "/campaigns/0", {"id": 0, "name": "string", "status": 3}),
    ("GET", "/campaigns/0/referrals", [{"link": "string", "count": 0}]),
    ("POST", "/emails", {"property1": [{"book_id": 0}], "a@example.com": [{"book_id": 0}]}),
    ("DELETE", "/emails/[^/]+", DONE),
    ("GET", "/blacklist", ["string"]),
    ("POST", "/blacklist", DONE),
    ("GET", "/smtp/emails", [LETTER]),
    ("GET", "/smtp/emails/total", {"total": 0}),
    ("GET", "/smtp/bounces/day", {"total": 0, "emails": [BOUNCE], "request_limit": 0, "found": 0}),
    ("GET", "/smtp/unsubscribe", [OPT_OUT]),
    ("POST", "/smtp/emails", {"result": True, "id": "pzkic9-0afezp-fc"}),
)

READING: dict[str, Callable[[SendPulse], Iterator[Any]]] = {
    "lists": lambda esp: esp.lists(),
    "campaigns": lambda esp: esp.campaigns(None),
    "totals": lambda esp: esp.totals(None),
    "links": lambda esp: esp.links(None),
    "contacts": lambda esp: esp.contacts(None),
    "events": lambda esp: esp.events(None),
    "news": lambda esp: esp.events(NOW - timedelta(days=2)),
    "suppressed": lambda esp: esp.suppressed(),
}
WRITING = ("suppress", "unsubscribe", "erase", "upsert")


@pytest.fixture
def esp(monkeypatch: pytest.MonkeyPatch) -> SendPulse:
    """The adapter in front of those answers."""
    connection = AccountConnection("sendpulse", password="key", extra={"list_id": "0", "add_missing": "true"})
    esp = SendPulse.connect(connection, clock=fixed_clock(NOW), allowed_hosts=[])

    def answered(method: str, url: str, path: str, **how: Any) -> Answer:
        asked = url.removeprefix(ADDRESS)
        body = next(body for verb, known, body in ANSWERS if verb == method and re.fullmatch(known, asked))
        return Answer("sendpulse", 200, {}, body)

    monkeypatch.setattr(esp.api, "_exchange", answered)
    monkeypatch.setattr(esp.api, "_throttle", Throttle())
    return esp


@pytest.mark.parametrize("stream", READING)
def test_every_stream_reads_bare_samples(esp: SendPulse, stream: str) -> None:
    """A missing or meaningless field is no reason to lose the row."""
    assert list(READING[stream](esp))


@pytest.mark.parametrize("write", WRITING)
def test_every_write_accounts_for_its_rows(esp: SendPulse, write: str) -> None:
    """Whatever the samples say of them."""
    sent = [Record("1", "a@example.com", {"x": 1}), Record("2", "b@example.com", {"x": 1})]
    assert [one.key for one in sorted(getattr(esp, write)(sent), key=lambda one: one.key)] == ["1", "2"]
    assert len(list(esp.add_members("seg", sent))) == len(list(esp.remove_members("seg", sent))) == 2


def test_the_check_and_the_sending_work(esp: SendPulse) -> None:
    """All steps, and the id of the example."""
    assert all(step.ok for step in esp.check())
    (sent,) = esp.send([Letter("k", "a@example.com", "Hi", "shop@shop.example", html="x")])
    assert (sent.status, sent.message_ref) == ("accepted", "pzkic9-0afezp-fc")
