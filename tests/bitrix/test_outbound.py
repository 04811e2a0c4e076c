"""What Bitrix posts when a card changes."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from lettertrail.bitrix.outbound import is_authentic, read_event
from lettertrail.errors import ContractError

FIELDS = {
    "event": "ONCRMDEALUPDATE", "event_handler_id": "1", "data[FIELDS][ID]": "42", "ts": "1700000000",
    "auth[domain]": "shop.example.com", "auth[member_id]": "portal-1", "auth[application_token]": "secret",
    "auth[access_token]": "short-lived",
}  # fmt: skip


def form(**changes: str | None) -> bytes:
    """The event with some fields changed or (None) left out; `auth_member_id` stands for `auth[member_id]`."""
    renamed = {name.replace("auth_", "auth[") + "]" if name.startswith("auth_") else name: value
               for name, value in changes.items()}  # fmt: skip
    return urlencode({name: value for name, value in {**FIELDS, **renamed}.items() if value is not None}).encode()


def test_the_token_and_the_portal_must_be_ours() -> None:
    """Nothing else tells the portal from anybody who found the address."""
    assert is_authentic(form(), [b"old", b"secret"], member_id=b"portal-1")
    assert is_authentic(form(), [b"secret"])
    for changes in (
        {"auth_application_token": "Secret"}, {"auth_application_token": ""}, {"auth_application_token": None},
        {"auth_member_id": "portal-2"}, {"auth_member_id": None},
    ):  # fmt: skip
        assert not is_authentic(form(**changes), [b"secret"], member_id=b"portal-1")
    assert not is_authentic(form(), [])
    assert not is_authentic(b"auth[application_token]=x&" + form(), [b"secret"])
    assert not is_authentic(b"&a=b" * 10_000 + b"&" + form(), [b"secret"])


def test_an_event_is_read() -> None:
    """Which card of which portal, and when."""
    event = read_event(form())
    assert (event.event, event.object_id, event.member_id, event.domain) == (
        "ONCRMDEALUPDATE", "42", "portal-1", "shop.example.com"
    )  # fmt: skip
    assert event.occurred_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_the_same_event_has_the_same_id() -> None:
    """Tokens change from one sending to the next and are no part of it; the card and the time are."""
    known = read_event(form()).event_id
    assert read_event(form(**{"auth_access_token": "another", "auth_application_token": "newer"})).event_id == known
    others = [form(ts="1700000001"), form(event="ONCRMDEALADD"), form(**{"data[FIELDS][ID]": "43", "auth_x": "y"})]
    assert known not in {read_event(body).event_id for body in others}


@pytest.mark.parametrize("event", [None, "", "x", "DROP TABLE", "a" * 200])
def test_a_form_without_an_event_is_none(event: str | None) -> None:
    """Parked with a reason instead of stored under a made-up name."""
    with pytest.raises(ContractError, match="lacks its name"):
        read_event(form(event=event))


@pytest.mark.parametrize("ts", ["", "x", "1e5", "-1", "99999999999999"])
def test_an_odd_time_is_no_time(ts: str) -> None:
    """The event still counts."""
    assert read_event(form(ts=ts)).occurred_at is None
