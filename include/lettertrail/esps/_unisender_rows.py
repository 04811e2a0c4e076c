"""UniSender's words and rows in ours: pure functions from its answers to the records of the port.

The service keeps the last state of each recipient, not what happened on the way. So an event is derived from each state
that is an event (`source` is `snapshot`), and its identity is letter, address and state: a later state adds an event
and never rewrites one. What every later state implies, that a letter was sent and delivered, is dated with the letter.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from lettertrail.errors import ContractError
from lettertrail.esps._rows import Row, needed, numbered
from lettertrail.esps._webhooks import objects, part
from lettertrail.esps.port import (
    Body,
    BounceKind,
    Campaign,
    CampaignTotals,
    Contact,
    ContactStatus,
    Event,
    EventSource,
    EventType,
    Link,
    MailingList,
    event_id,
    normalise_email,
)

need = partial(needed, "unisender")

CONTACT_STATUSES: Mapping[str, ContactStatus] = {
    "new": "subscribed",  # not mailed yet
    "active": "subscribed",
    "invited": "pending",
    "activation_requested": "pending",
    "inactive": "archived",  # switched off for a time; `cleaned` when the address cannot be reached
    "unsubscribed": "unsubscribed",
    "blocked": "cleaned",
}
STATUSES = ("unsubscribed", "blocked", "inactive", "activation_requested", "invited", "active", "new")
"""Strictest first: who moves while exports run turns up twice, and the stricter one counts."""
REFUSED = frozenset({"unsubscribed", "blocked"})
"""Who gets no letter, for good; `inactive` may be switched on again."""
UNSENT = frozenset({"waits_censorship", "censor_hold", "declined", "waits_schedule", "scheduled", "canceled"})
CAMPAIGN_STATUSES = UNSENT | {"in_progress", "analysed", "completed", "stopped"}
HARD = frozenset({"err_user_unknown", "err_user_inactive", "err_domain_inactive", "err_dest_invalid"})
SOFT = frozenset({"err_mailbox_full", "err_delivery_failed", "err_will_retry", "err_resend"})
BLOCK = frozenset({"err_spam_rejected", "err_spam_folder"})
REJECTED = frozenset({"err_unsubscribed", "err_skip_letter", "err_blacklisted", "err_spam_skipped", "err_src_invalid"})
ARRIVED = frozenset(
    {"ok_delivered", "ok_read", "ok_link_visited", "ok_unsubscribed", "ok_fbl", "ok_spam_folder", "err_spam_folder"}
)
QUIET = frozenset({"not_sent", "ok_sent", "ok_delivered", "ok_link_visited", "ok_spam_folder"})
"""States without an event of their own; clicks come as rows with a link and a time."""
STATES: Mapping[str, EventType] = {"ok_read": "opened", "ok_unsubscribed": "unsubscribed", "ok_fbl": "complained"}
HOOK_STATES: Mapping[str, EventType] = {
    **STATES,
    "ok_sent": "sent",
    "ok_delivered": "delivered",
    "ok_spam_folder": "delivered",
    "ok_link_visited": "clicked",
}
"""In a webhook every change is told, so each is an event."""
COLUMNS = (
    "email",
    "email_status",
    "email_availability",
    "email_list_ids",
    "email_subscribe_times",
    "email_unsubscribed_list_ids",
    "tags",
)
"""What we ask of an export beside the account's own fields."""


def mailing_list(row: Row) -> MailingList:
    """A row of `getLists`; the service tells neither sizes nor times."""
    return MailingList(str(need(row, "id")), row.get("title"), None, None, None, row)


def campaign(row: Row) -> Campaign:
    """A row of `getCampaigns`."""
    status, list_id = str(row.get("status")), row.get("list_id")
    return Campaign(
        external_id=str(need(row, "id")),
        list_id=str(list_id) if list_id else None,
        title=None,
        subject=row.get("subject") or None,
        status=status if status in CAMPAIGN_STATUSES else "unknown",
        sent_at=sent_at(row),
        emails_sent=None,
        utm_campaign=None,
        url=None,
        updated_at=None,
        payload=row,
    )


def body_version(row: Row) -> str:
    """A campaign is one sending of one message."""
    return f"{need(row, 'message_id')} {row.get('start_time')}"


def body_of(letter: Row, answer: Any) -> Body:
    """The answer of `getMessage`: the message, or a list with it. Only an e-mail has HTML."""
    message = next(iter(answer), {}) if isinstance(answer, list) else answer
    is_mail = isinstance(message, Mapping) and message.get("service_type") in (None, "email")
    return Body(str(need(letter, "id")), body_version(letter), (message.get("body") or None) if is_mail else None)


def sent_at(row: Row) -> datetime | None:
    """When a letter went out; None for what has not."""
    return None if row.get("status") in UNSENT else time_of(row.get("start_time"))


def totals(row: Row, common: Row, states: Sequence[Row]) -> CampaignTotals:
    """`getCampaignCommonStats`, and the bounces counted from the last state of every recipient."""
    words = Counter(str(state.get("send_result")) for state in states)
    hard, soft, block = (sum(words[word] for word in kind) for kind in (HARD, SOFT, BLOCK))
    return CampaignTotals(
        external_id=str(need(row, "id")),
        sent=common.get("sent"),
        delivered=common.get("delivered"),
        opens=common.get("read_all"),
        opened=common.get("read_unique"),
        clicks=common.get("clicked_all"),
        clicked=common.get("clicked_unique"),
        bounced_hard=hard,
        bounced_soft=soft,
        bounced=hard + soft + block,
        unsubscribed=common.get("unsubscribed"),
        complained=common.get("spam"),
        payload={**common, "send_results": dict(sorted(words.items()))},
    )


def links(campaign_id: str, clicks: Iterable[Row]) -> Iterator[Link]:
    """The links of a letter that anybody clicked, from the rows of `getVisitedLinks`."""
    count: Counter[str] = Counter()
    people: defaultdict[str, set[str]] = defaultdict(set)
    for row in clicks:
        url = str(need(row, "url"))
        count[url] += int(row.get("count") or 1)
        people[url].add(normalise_email(str(need(row, "email"))))
    for url in sorted(count):
        payload = {"url": url, "clicks": count[url], "people": len(people[url])}
        yield Link(event_id(campaign_id, "link", url), campaign_id, url, count[url], len(people[url]), payload)


def contacts(row: Row, status: str, own_fields: Iterable[str]) -> Iterator[Contact]:
    """A row of an export: one contact per list, or one without a list.

    Who left one list stays in the others.
    """
    email = normalise_email(str(need(row, "email")))
    availability = row.get("email_availability") or None
    kind = CONTACT_STATUSES.get(status, "unknown")
    if status == "inactive" and availability == "unreachable":
        kind = "cleaned"
    joined = _names(row.get("email_list_ids"))
    left = _names(row.get("email_unsubscribed_list_ids"))
    since = dict(zip(joined, _names(row.get("email_subscribe_times")), strict=False))
    for list_id in (*joined, *(name for name in left if name not in joined)) or (None,):
        yield Contact(
            external_id=f"{list_id or '-'}:{member_id(email)}",
            list_id=list_id,
            email=email,
            status="unsubscribed" if list_id in left and kind in ("subscribed", "pending") else kind,
            status_reason=availability,
            opted_in_at=time_of(since.get(list_id)) if list_id else None,
            changed_at=None,
            tags=tuple(sorted(_names(row.get("tags")))),
            payload=row,
            fields={name: row[name] for name in own_fields if row.get(name)},
        )


def tags_of(row: Row) -> tuple[str, ...]:
    """The tags in a row of an export."""
    return _names(row.get("tags"))


def happened(letter: Row, row: Row) -> Iterator[Event]:
    """A row of `getCampaignDeliveryStats`: the events its state proves."""
    word, at = str(need(row, "send_result")), time_of(row.get("last_update"))
    lasting = {"campaign_id": letter["id"], "email": row.get("email")}
    if word in ARRIVED | HARD | SOFT | BLOCK or word == "ok_sent":
        yield _event(letter, row, "sent", "sent", sent_at(letter), payload=lasting)
    if word in ARRIVED:
        yield _event(letter, row, "delivered", "delivered", sent_at(letter), payload=lasting)
    if word not in QUIET:
        kind, bounce = _judged(word, STATES)
        yield _event(letter, row, kind, word, at, bounce_kind=bounce, reason=None if word in STATES else word)


def clicked(letter: Row, rows: Iterable[Row]) -> Iterator[Event]:
    """The rows of `getVisitedLinks`: the only events with a time, a link and an address of their own."""
    for nth, row in numbered(rows, "email", "url", "request_time", "ip"):
        word = f"click {'|'.join(str(row.get(name)) for name in ('url', 'request_time', 'ip'))} {nth}"
        at, ip = time_of(row.get("request_time")), row.get("ip") or None
        yield _event(letter, row, "clicked", word, at, url=row.get("url") or None, ip=ip, source="poll")


def hooks_of(body: Row) -> Iterator[Event]:
    """The events of a webhook; what tells of no recipient is passed over.

    Raises:
        ContractError: there are none.
    """
    if "events_by_user" not in body:
        raise ContractError("unisender: a webhook without events")
    for user in objects("unisender", body["events_by_user"]):
        for event in objects("unisender", user.get("Events")):
            yield from _hooked(
                str(event.get("event_name")), event.get("event_time"), part("unisender", event, "event_data")
            )


def _hooked(name: str, at: object, data: Row) -> Iterator[Event]:
    email = normalise_email(str(data.get("email") or ""))
    if not email or name not in ("email_status", "unsubscribe"):
        return
    word = "ok_unsubscribed" if name == "unsubscribe" else str(data.get("status"))
    kind, bounce = _judged(word, HOOK_STATES)
    when, url = time_of(data.get("time") or at), data.get("link") or None
    letter = data.get("campaign_id")
    yield Event(
        external_id=event_id("webhook", name, letter, data.get("email_id"), email, word, when, url),
        campaign_id=str(letter) if letter else None,
        contact_id=None,
        email=email,
        event_type=kind,
        bounce_kind=bounce,
        occurred_at=when,
        url=url,
        is_proxy=None,
        reason=None if word in HOOK_STATES else word,
        payload=data,
        source="webhook",
        message_ref=str(data["email_id"]) if data.get("email_id") else None,
    )


def table(answer: Row) -> list[Row]:
    """Rows under names, from `{"fields": […], "data": [[…]]}`.

    Raises:
        ContractError: it is none, or a row is longer or shorter than its header.
    """
    fields, data = answer.get("fields"), answer.get("data")
    if not isinstance(fields, Sequence) or not isinstance(data, Sequence):
        raise ContractError("unisender: an answer without fields and data")
    try:
        return [dict(zip(fields, row, strict=True)) for row in data]
    except ValueError:
        raise ContractError("unisender: a row does not fit its header") from None


def member_id(email: str) -> str:
    """Stands for an address, which is the only identity the service gives."""
    return hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()


def time_of(text: object) -> datetime | None:
    """Aware UTC from `YYYY-MM-DD hh:mm:ss`, which UniSender means in UTC."""
    if not text or str(text).startswith("0000"):
        return None
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ContractError("unisender: a time is not YYYY-MM-DD hh:mm:ss") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def spelled(moment: datetime) -> str:
    """A time the way arguments take it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _judged(word: str, states: Mapping[str, EventType]) -> tuple[EventType, BounceKind | None]:
    kinds: tuple[tuple[frozenset[str], BounceKind], ...] = ((HARD, "hard"), (SOFT, "soft"), (BLOCK, "block"))
    bounce = next((kind for words, kind in kinds if word in words), None)
    if bounce:
        return "bounced", bounce
    return "rejected" if word in REJECTED else states.get(word, "unknown"), None


def _event(
    letter: Row,
    row: Row,
    kind: EventType,
    word: str,
    at: datetime | None,
    *,
    bounce_kind: BounceKind | None = None,
    url: str | None = None,
    reason: str | None = None,
    ip: str | None = None,
    source: EventSource = "snapshot",
    payload: Row | None = None,
) -> Event:
    email, campaign_id = normalise_email(str(need(row, "email"))), str(need(letter, "id"))
    return Event(
        external_id=event_id(campaign_id, email, word),
        campaign_id=campaign_id,
        contact_id=f"{letter.get('list_id') or '-'}:{member_id(email)}",
        email=email,
        event_type=kind,
        bounce_kind=bounce_kind,
        occurred_at=at,
        url=url,
        is_proxy=None,
        reason=reason,
        payload=row if payload is None else payload,
        source=source,
        ip=ip,
    )


def _names(text: object) -> tuple[str, ...]:
    """What is listed with commas between."""
    return tuple(name.strip() for name in str(text or "").split(",") if name.strip())
