"""What the handler on a Bitrix site tells: `POST <public URL>/<account>/site/<token>`.

    {"events": [{"id": "<unique>", "type": "unsubscribe", "at": "2026-11-21T10:00:00Z", "data": {…}}, …]}

with `X-LetterTrail-Time` (Unix seconds) and `X-LetterTrail-Signature` (hex of HMAC-SHA256 over time, dot and body).
Letters (`mail`) go into the outbox in the transaction that stores the delivery, and the delivery keeps no word of
them. A body that cannot be read is refused, for the site may believe that a letter in it is taken care of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lettertrail.errors import ContractError
from lettertrail.relay import intake
from lettertrail.relay.intake import OutboxLetter

NAMES = frozenset({"bitrix_site"})
"""What the account of such a site is called, before `__`."""
KIND = "site"
TIME_HEADER = "x-lettertrail-time"
SIGNATURE_HEADER = "x-lettertrail-signature"
MAIL = "mail"
URGENT = frozenset({"unsubscribe", "subscribe"})
"""Orders, carts and letters come all day long; the next hourly build is soon enough for them."""
MAX_EVENTS = 100
MAX_ID = 100
MAX_TYPE = 50


@dataclass(frozen=True, slots=True)
class Site:
    """What one site may do."""

    relays_mail: bool = False
    """Whether its letters are sent by us."""
    sender: str | None = None
    """Who sends letters that name no sender."""


@dataclass(frozen=True, slots=True)
class SiteEvent:
    """One thing that happened on the site."""

    event_id: str
    event_type: str
    occurred_at: datetime
    data: Mapping[str, Any]


class NoMail(ContractError):
    """A letter that the site has to send by itself."""


@dataclass(frozen=True, slots=True)
class Told:
    """A body that was read: what to store, and the letters in it."""

    body: bytes
    letters: tuple[OutboxLetter, ...]


def take(body: bytes, site: Site, *, account: str, received_at: datetime) -> Told:
    """Reads what a site posted.

    Raises:
        NoMail: there is a letter in it that will not be sent from here.
        ContractError: it is not what the handler sends.
    """
    events = read_events(body)
    if not any(event.event_type == MAIL for event in events):
        return Told(body, ())
    if not site.relays_mail:
        raise NoMail("a letter, but this account relays none")
    found: list[OutboxLetter] = []
    for event in events:
        if event.event_type == MAIL:
            try:
                found += intake.letters(
                    event.data,
                    source=account,
                    event_id=event.event_id,
                    happened_at=event.occurred_at,
                    queued_at=received_at,
                    sender=site.sender,
                )
            except ContractError as error:
                raise NoMail(str(error)) from None
    return Told(_without_letters(events), tuple(found))


def read_events(body: bytes) -> list[SiteEvent]:
    """The events of a body.

    Raises:
        ContractError: it is not what the handler sends; the message says what is wrong and quotes nothing.
    """
    try:
        read = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise ContractError("the body is no JSON") from None
    events = read.get("events") if isinstance(read, Mapping) else None
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        raise ContractError(f"`events` is no list of 1 to {MAX_EVENTS} events")
    return [_event(event) for event in events]


def _event(given: object) -> SiteEvent:
    if not isinstance(given, Mapping) or not isinstance(given.get("data"), Mapping):
        raise ContractError("an event is no object with `data`")
    return SiteEvent(
        _short(given, "id", MAX_ID), _short(given, "type", MAX_TYPE), _moment(given.get("at")), given["data"]
    )


def _short(given: Mapping[str, Any], name: str, longest: int) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
        raise ContractError(f"an event's `{name}` is no text of 1 to {longest} characters")
    return value


def _moment(value: object) -> datetime:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ContractError("an event's `at` is no time with its zone")


def _without_letters(events: Sequence[SiteEvent]) -> bytes:
    kept = [
        {
            "id": event.event_id,
            "type": event.event_type,
            "at": event.occurred_at.isoformat(),
            "data": intake.traces(event.data) if event.event_type == MAIL else event.data,
        }
        for event in events
    ]
    return json.dumps({"events": kept}, ensure_ascii=True).encode()
