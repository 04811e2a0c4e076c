"""Mailchimp's words and rows in ours: pure functions from its JSON to the records of the port.

Nothing is interpreted: a word that is not in a table becomes `unknown` and stays in the payload.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import get_args

from lettertrail.errors import ContractError
from lettertrail.esps._rows import Row, needed, numbered
from lettertrail.esps.port import (
    Body,
    BounceKind,
    Campaign,
    CampaignTotals,
    Contact,
    ContactStatus,
    Event,
    EventType,
    Evidence,
    Link,
    MailingList,
    event_id,
    normalise_email,
)

need = partial(needed, "mailchimp")

CONTACT_STATUSES: Mapping[str, ContactStatus] = {word: word for word in get_args(ContactStatus) if word != "unknown"}
CAMPAIGN_STATUSES = frozenset({"save", "paused", "schedule", "sending", "sent", "canceled", "canceling", "archived"})
UNSENT = frozenset({"save", "paused", "schedule"})
MAILABLE = frozenset({"subscribed", "pending"})
BOUNCE_KINDS: Mapping[str, BounceKind] = {"hard": "hard", "soft": "soft"}
ACTIVITIES: Mapping[str, EventType | None] = {
    "click": "clicked",
    "bounce": "bounced",
    "open": None,  # open-details has the same open with its proxy flag
}
REFUSALS = {
    "compliance state": "Member In Compliance State",
    "forgotten email": "Forgotten Email Not Subscribed",
    "permanently deleted": "Forgotten Email Not Subscribed",
}
"""What the text of a row error says (a row carries no title) → the title of the refusal it means."""
EVIDENCE: Mapping[str | None, Evidence] = {
    "Member In Compliance State": "unsubscribed",  # or bounced, or complained: the refusal does not say which
    "Forgotten Email Not Subscribed": "erased",
}
"""What a refusal proves."""
HOOK_EVENTS: Mapping[tuple[str, str], tuple[EventType, BounceKind | None]] = {
    ("unsubscribe", "abuse"): ("complained", None),
    ("unsubscribe", "manual"): ("unsubscribed", None),
    ("cleaned", "hard"): ("bounced", "hard"),
    ("cleaned", "abuse"): ("complained", None),
}
"""Type and reason of a webhook → the event."""
QUIET_HOOKS = frozenset({"subscribe", "profile", "upemail", "campaign"})
"""Webhooks that tell of no letter."""

_NO_INTERESTS: Mapping[str, str] = MappingProxyType({})


def mailing_list(row: Row) -> MailingList:
    """A row of `/lists`."""
    return MailingList(
        external_id=need(row, "id"),
        name=row.get("name"),
        status=None,
        contacts=(row.get("stats") or {}).get("total_contacts"),
        created_at=_time(row.get("date_created")),
        payload=row,
    )


def totals(row: Row) -> CampaignTotals:
    """A report. Mailchimp does not count deliveries: they are what was sent less every bounce."""
    opens, clicks, bounces = row.get("opens") or {}, row.get("clicks") or {}, row.get("bounces") or {}
    sent, hard, soft = row.get("emails_sent"), bounces.get("hard_bounces"), bounces.get("soft_bounces")
    bounced = None if hard is None or soft is None else hard + soft + bounces.get("syntax_errors", 0)
    return CampaignTotals(
        external_id=need(row, "id"),
        sent=sent,
        delivered=None if sent is None or bounced is None else sent - bounced,
        opens=opens.get("opens_total"),
        opened=opens.get("unique_opens"),
        opened_without_proxies=opens.get("proxy_excluded_unique_opens"),
        clicks=clicks.get("clicks_total"),
        clicked=clicks.get("unique_subscriber_clicks"),
        bounced_hard=hard,
        bounced_soft=soft,
        bounced=bounced,
        unsubscribed=row.get("unsubscribed"),
        complained=row.get("abuse_reports"),
        payload=row,
    )


def link(row: Row, campaign_id: str) -> Link:
    """A row of `click-details`; one address may be several links of a letter."""
    return Link(
        external_id=event_id(campaign_id, "link", need(row, "id")),
        campaign_id=campaign_id,
        url=need(row, "url"),
        clicks=row.get("total_clicks"),
        clicked=row.get("unique_clicks"),
        payload=row,
    )


def campaign(row: Row) -> Campaign:
    """A row of `/campaigns`."""
    settings, status = row.get("settings") or {}, row.get("status")
    return Campaign(
        external_id=need(row, "id"),
        list_id=(row.get("recipients") or {}).get("list_id") or None,
        title=settings.get("title") or None,
        subject=settings.get("subject_line") or None,
        status=status if status in CAMPAIGN_STATUSES else "unknown",
        sent_at=_time(row.get("send_time")),
        emails_sent=row.get("emails_sent"),
        utm_campaign=(row.get("tracking") or {}).get("google_analytics") or None,
        url=row.get("long_archive_url") or row.get("archive_url") or None,
        updated_at=None,  # Mailchimp keeps none
        payload=row,
    )


def body_of(letter: Row, answer: Row) -> Body:
    """The answer of `/campaigns/{id}/content`. A letter sent in several versions has them apart, each with its HTML."""
    first: Row = next(iter(answer.get("variate_contents") or ()), {})
    return Body(
        external_id=need(letter, "id"),
        version=need(letter, "send_time"),
        html=answer.get("html") or first.get("html") or None,
    )


def contact(row: Row, list_id: str, interests: Mapping[str, str] = _NO_INTERESTS) -> Contact:
    """A row of `/lists/{list_id}/members`; `interests` are the audience's preferences by id."""
    filled = {tag: value for tag, value in (row.get("merge_fields") or {}).items() if value != ""}
    chosen = {interests.get(key, key): value for key, value in (row.get("interests") or {}).items()}
    return Contact(
        external_id=f"{list_id}:{need(row, 'id')}",
        list_id=list_id,
        email=normalise_email(need(row, "email_address")),
        status=CONTACT_STATUSES.get(str(row.get("status")), "unknown"),
        status_reason=row.get("unsubscribe_reason") or None,
        opted_in_at=_time(row.get("timestamp_opt")),
        changed_at=_time(row.get("last_changed")),
        tags=tuple(sorted(tag["name"] for tag in row.get("tags", ()))),
        payload=row,
        fields={**chosen, **filled},
    )


def sent_at(letter: Row) -> datetime:
    """When a letter went out.

    Raises:
        ContractError: a letter that was sent has no time.
    """
    at = _time(need(letter, "send_time"))
    if at is None:
        raise ContractError("mailchimp: a sent campaign has no send_time")
    return at


def sent(letter: Row, row: Row, *, dated: Collection[str]) -> Iterator[Event]:
    """`sent-to`: everyone it went to, dated with the letter, and the bounces that no activity has `dated`."""
    at = sent_at(letter)
    yield _event(letter, row, "sent", at)
    word = str(row.get("status"))
    if word in BOUNCE_KINDS and row["email_id"] in dated:
        return
    if word in BOUNCE_KINDS:
        yield _event(letter, row, "bounced", at, bounce_kind=BOUNCE_KINDS[word])
    elif word != "sent":
        yield _event(letter, row, "unknown", at, reason=word)


def opened(letter: Row, row: Row) -> Iterator[Event]:
    """`open-details`: every single open with its proxy flag."""
    for nth, did in numbered(row.get("opens", ()), "action", "timestamp", "url"):
        proxy = did.get("is_proxy_open")
        yield _event(letter, row, "opened", _time(need(did, "timestamp")), nth=nth, is_proxy=proxy, payload=did)


def active(letter: Row, row: Row) -> Iterator[Event]:
    """`email-activity`: clicks, bounces, and whatever we have no word for."""
    for nth, did in numbered(row.get("activity", ()), "action", "timestamp", "url"):
        word, at, url = str(did.get("action")), _time(need(did, "timestamp")), did.get("url") or None
        kind = ACTIVITIES.get(word, "unknown")
        if kind == "bounced":
            bounce = BOUNCE_KINDS.get(str(did.get("type")))
            yield _event(letter, row, kind, at, bounce_kind=bounce, payload=did)
        elif kind is not None:
            reason = word if kind == "unknown" else None
            yield _event(letter, row, kind, at, nth=nth, url=url, reason=reason, payload=did)


def unsubscribed(letter: Row, row: Row) -> Iterator[Event]:
    """`unsubscribed`: who left through this letter, and why."""
    yield _event(letter, row, "unsubscribed", _time(need(row, "timestamp")), reason=row.get("reason") or None)


def complained(letter: Row, row: Row) -> Iterator[Event]:
    """`abuse-reports`: who called it spam."""
    yield _event(letter, row, "complained", _time(need(row, "date")))


def hooked(hook: Row) -> Iterator[Event]:
    """A webhook: an opt-out, a complaint, an address given up. The rest of the changes tell of no letter.

    `data[id]` is not the member's id everywhere, so that is worked out from the address. Somebody whom a person of
    the account deleted has not left.
    """
    word, why, email = str(hook.get("type")), str(hook.get("data[reason]", "")), hook.get("data[email]")
    if word in QUIET_HOOKS or not email or (hook.get("data[action]") == "delete" and why != "abuse"):
        return
    if word == "unsubscribe" and why != "abuse":
        why = "manual"
    kind, bounce = HOOK_EVENTS.get((word, why), ("unknown", None))
    member = subscriber_hash(str(email))
    list_id, at = hook.get("data[list_id]"), _time(hook.get("fired_at"))
    yield Event(
        external_id=event_id("webhook", word, why, list_id, member, at),
        campaign_id=hook.get("data[campaign_id]") or None,
        contact_id=f"{list_id}:{member}",
        email=normalise_email(str(email)),
        event_type=kind,
        bounce_kind=bounce,
        occurred_at=at,
        url=None,
        is_proxy=None,
        reason=f"{word} {why}".strip() if kind == "unknown" else hook.get("data[reason]") or None,
        payload=hook,
        source="webhook",
    )


def subscriber_hash(email: str) -> str:
    """Mailchimp's id of a member."""
    return hashlib.md5(normalise_email(email).encode(), usedforsecurity=False).hexdigest()


def _event(
    letter: Row,
    row: Row,
    kind: EventType,
    at: datetime | None,
    *,
    nth: int = 0,
    bounce_kind: BounceKind | None = None,
    url: str | None = None,
    is_proxy: bool | None = None,
    reason: str | None = None,
    payload: Row | None = None,
) -> Event:
    """One event. What may be corrected later (proxy flag, bounce kind, reason) is no part of its identity.

    A letter bounces once per recipient, and two reports tell of it, one without the time: no time in its identity.
    """
    word, when = reason if kind == "unknown" else None, None if kind == "bounced" else at
    return Event(
        external_id=event_id(need(letter, "id"), need(row, "email_id"), kind, word, when, url, nth),
        campaign_id=letter["id"],
        contact_id=f"{need(row, 'list_id')}:{row['email_id']}",
        email=normalise_email(need(row, "email_address")),
        event_type=kind,
        bounce_kind=bounce_kind,
        occurred_at=at,
        url=url,
        is_proxy=is_proxy,
        reason=reason,
        payload=row if payload is None else payload,
    )


def row_id(row: Row) -> object:
    """The key of everything that has an id."""
    return row["id"]


def row_key(row: Row) -> object:
    """The key of a row in a report."""
    return row["email_id"], row.get("timestamp") or row.get("date")


def _time(text: str | None) -> datetime | None:
    """Aware UTC; Mailchimp writes an absent time as an empty text."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ContractError("mailchimp: a time is not in ISO 8601") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def spelled(moment: datetime) -> str:
    """A time the way filters take it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
