"""SendPulse's codes and rows in ours: pure functions from its JSON to the records of the port.

Numbers come as text now and then, and an empty map as an empty list: PHP writes it. A code that is not in a table
becomes `unknown` and stays in the payload.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from lettertrail.errors import ContractError
from lettertrail.esps._rows import Row, numbered
from lettertrail.esps._times import utc
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

CONTACT_STATUSES: Mapping[int, ContactStatus] = {
    0: "subscribed",
    1: "subscribed",
    2: "pending",
    3: "pending",
    4: "unsubscribed",
    6: "unsubscribed",
    7: "pending",
    8: "unsubscribed",
    9: "cleaned",
    14: "subscribed",  # a mailbox that is full today
    # Not mailed, for reasons that say nothing of the person or of the mailbox.
    5: "archived",
    10: "archived",
    11: "archived",
    12: "archived",
    13: "archived",
}
MAILABLE = frozenset({"subscribed", "pending", "unknown"})
"""What has to be stopped: a code we do not know may well be mailed."""

CAMPAIGN_STATUSES: Mapping[int, str] = {
    **dict.fromkeys((0, 4, 7, 8, 25, 26), "save"),
    **dict.fromkeys((1, 13, 14), "schedule"),
    **dict.fromkeys((2, 15, 27, 28), "sending"),
    **dict.fromkeys((3, 22, 23), "sent"),
    **dict.fromkeys((9, 10, 11), "paused"),
    **dict.fromkeys((5, 12, 16), "canceled"),
    6: "archived",
}
UNSENT = frozenset({"save", "schedule", "paused", "canceled"})

_HARD, _SOFT, _BLOCK = (6, 8, 16), (7, 10, 12, 17), (9, 18)
_NEVER_SENT = (0, 20)
_ARRIVED = (2, 3, 4, 5, 11)

_HOOKS: Mapping[str, tuple[EventType, BounceKind | None]] = {
    "delivered": ("delivered", None),
    "open": ("opened", None),
    "opened": ("opened", None),
    "redirect": ("clicked", None),
    "clicked": ("clicked", None),
    "unsubscribe": ("unsubscribed", None),
    "unsubscribed": ("unsubscribed", None),
    "spam": ("complained", None),
    "spam_by_user": ("complained", None),
    "soft_bounces": ("bounced", "soft"),
    "hard_bounces": ("bounced", "hard"),
    "undelivered": ("bounced", None),
}
_NOT_OF_A_LETTER = frozenset({"new_emails", "delete", "task_status_update"})


@dataclass(frozen=True, slots=True)
class Place:
    """A contact in one address book."""

    word: ContactStatus
    variables: Mapping[str, Any] = field(repr=False)

    @property
    def is_mailable(self) -> bool:
        """Whether the service may mail it there."""
        return self.word in MAILABLE


def place(row: Row) -> tuple[str, Place]:
    """The book's id and the contact there, from a row of `POST /emails`."""
    return text_of(row, "book_id"), Place(_word(row), variables_of(row))


def variables_of(row: Row) -> dict[str, Any]:
    """Name → value, whichever of its two shapes the service chose."""
    found = row.get("variables") or {}
    if isinstance(found, Mapping):
        return dict(found)
    return {str(one["name"]): one.get("value") for one in found if isinstance(one, Mapping) and "name" in one}


def same(variables: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the wanted variables have their values: 22 and "22" are one value here."""
    return all(str(variables.get(name, "")) == str(value) for name, value in wanted.items())


def writable(value: Any) -> str | int | float:
    """A value the way variables take it; nothing is the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str | int | float) else str(value)


def person_id(email: str) -> str:
    """A member's id; the service has none but the address itself."""
    return hashlib.sha256(normalise_email(email).encode()).hexdigest()[:32]


def mailing_list(row: Row, zone: ZoneInfo) -> MailingList:
    """A row of `/addressbooks`."""
    return MailingList(
        external_id=text_of(row, "id"),
        name=row.get("name") or None,
        status=row.get("status_explain") or None,
        contacts=number(row.get("all_email_qty")),
        created_at=_time(row.get("creationdate"), zone),
        payload=row,
    )


def contact(row: Row, book: str) -> Contact:
    """A row of `/addressbooks/{id}/emails`, which has no times."""
    email, word = normalise_email(text_of(row, "email")), _word(row)
    return Contact(
        external_id=f"{book}:{person_id(email)}",
        list_id=book,
        email=email,
        status=word,
        status_reason=None if word in ("subscribed", "pending") else row.get("status_explain") or None,
        opted_in_at=None,
        changed_at=None,
        tags=(),
        payload=row,
        fields=variables_of(row),
    )


def campaign(row: Row, zone: ZoneInfo) -> Campaign:
    """A row of `/campaigns`."""
    message = row.get("message") or {}
    book = message.get("list_id")
    status = CAMPAIGN_STATUSES.get(number(row.get("status"), -1), "unknown")
    return Campaign(
        external_id=text_of(row, "id"),
        list_id=str(book) if book else None,
        title=row.get("name") or None,
        subject=message.get("subject") or None,
        status=status,
        sent_at=None if status in UNSENT else _time(row.get("send_date"), zone),
        emails_sent=number(row.get("all_email_qty")),
        utm_campaign=None,
        url=row.get("permalink") or None,
        updated_at=None,
        payload=row,
    )


def body_of(listed: Row, detail: Any) -> Body:
    """The text on the page of a campaign, which cannot be changed once it is sent."""
    message = detail.get("message") if isinstance(detail, Mapping) else None
    html = message.get("body") if isinstance(message, Mapping) else None
    return Body(text_of(listed, "id"), version=str(listed.get("send_date")), html=html or None)


def totals(listed: Row, detail: Row) -> CampaignTotals:
    """Counts of a campaign: by name from its row in the list, by delivery code from its own page.

    Both count people by their last state: who clicked is no longer among `opened`.
    """
    named = listed.get("statistics")
    named = named if isinstance(named, Mapping) else {}
    codes = _codes(detail.get("statistics"))

    def either(name: str, *ladder: int) -> int | None:
        found = number(named.get(name))
        return found if found is not None else _sum(codes, ladder)

    return CampaignTotals(
        external_id=text_of(listed, "id"),
        sent=either("sent", *(code for code in codes if code not in _NEVER_SENT)),
        delivered=either("delivered", *_ARRIVED),
        opened=either("opening", 3),
        clicks=_clicks(detail.get("statistics")),
        clicked=either("link_redirected", 4),
        bounced_hard=_sum(codes, _HARD),
        bounced_soft=_sum(codes, _SOFT),
        bounced=_sum(codes, (*_HARD, *_SOFT, *_BLOCK)),
        unsubscribed=either("unsubscribe", 5),
        complained=_sum(codes, (11,)),
        payload={"list": dict(named), "statistics": detail.get("statistics")},
    )


def link(campaign_id: str, row: Row) -> Link:
    """A row of `/campaigns/{id}/referrals`."""
    url = text_of(row, "link")
    return Link(event_id(campaign_id, url), campaign_id, url, number(row.get("count")), None, payload=row)


def letter_events(row: Row, zone: ZoneInfo) -> Iterator[Event]:
    """A row of `/smtp/emails`: one transactional letter, its last SMTP answer, its opens and clicks.

    The answer has no time of its own: what is derived from it is dated with the letter and marked as such.
    """
    ref, email = text_of(row, "id"), row.get("recipient")
    if not email:
        return
    sent_at = _time(row.get("send_date"), zone)
    code = number(row.get("smtp_answer_code"), 0)
    yield _smtp(ref, email, "sent", sent_at, row)
    if 200 <= code < 300:
        yield _smtp(ref, email, "delivered", sent_at, row, source="snapshot")
    elif code >= 400:
        yield bounce(row, zone)
    tracking = row.get("tracking") or {}
    for word, name in (("opened", "client_info"), ("clicked", "link")):
        for nth, did in numbered(tracking.get(name) or (), "action_date", "url"):
            at = _time(did.get("action_date"), zone)
            yield _smtp(ref, email, "opened" if word == "opened" else "clicked", at, did, nth=nth)


def bounce(row: Row, zone: ZoneInfo) -> Event:
    """A letter that came back, from `/smtp/emails` or from `/smtp/bounces/day`: one event, however we learn of it."""
    email = normalise_email(str(row.get("recipient") or row.get("email_to") or ""))
    if not email:
        raise ContractError("sendpulse: a bounce without a recipient")
    return Event(
        external_id=event_id("smtp", email, str(row.get("send_date")), "bounced"),
        campaign_id=None,
        contact_id=None,
        email=email,
        event_type="bounced",
        bounce_kind=bounce_kind(row.get("smtp_answer_code"), row.get("smtp_answer_subcode")),
        occurred_at=_time(row.get("send_date"), zone),
        url=None,
        is_proxy=None,
        reason=_smtp_reason(row.get("smtp_answer_code"), row.get("smtp_answer_subcode")),
        payload=row,
        source="snapshot",
        message_ref=str(row["id"]) if row.get("id") else None,
    )


def smtp_opt_out(row: Row, zone: ZoneInfo) -> Event:
    """A row of `/smtp/unsubscribe`."""
    email = normalise_email(text_of(row, "email"))
    kind: EventType = "complained" if number(row.get("spam_complaint")) else "unsubscribed"
    return Event(
        external_id=event_id("smtp", email, kind, str(row.get("date"))),
        campaign_id=None,
        contact_id=None,
        email=email,
        event_type=kind,
        bounce_kind=None,
        occurred_at=_time(row.get("date"), zone),
        url=None,
        is_proxy=None,
        reason=None,
        payload=row,
    )


def hook_event(row: Row) -> Event | None:
    """One element of a webhook of either stream; None for news that are of no letter.

    Raises:
        ContractError: it names no event or no address.
    """
    word = text_of(row, "event")
    if word in _NOT_OF_A_LETTER:
        return None
    email = normalise_email(str(row.get("email") or row.get("recipient") or ""))
    if not email:
        raise ContractError("sendpulse: a webhook event without an address")
    kind, bounced_as = _HOOKS.get(word, ("unknown", None))
    task, ref, book = row.get("task_id"), row.get("message_id"), row.get("book_id")
    url = row.get("link_url") or row.get("url") or row.get("link")
    code, subcode = row.get("smtp_server_response_code"), row.get("smtp_server_response_subcode")
    if kind == "bounced":
        reason = _smtp_reason(code, subcode)
    else:
        reason = word if kind == "unknown" else str(row.get("reason") or "") or None
    return Event(
        external_id=event_id("hook", word, task, ref, email, str(row.get("timestamp")), row.get("link_id"), url),
        campaign_id=str(task) if task else None,
        contact_id=f"{book}:{person_id(email)}" if book else None,
        email=email,
        event_type=kind,
        bounce_kind=(bounced_as or bounce_kind(code, subcode)) if kind == "bounced" else None,
        occurred_at=_unix(row.get("timestamp")),
        url=str(url) if url and kind == "clicked" else None,
        is_proxy=None,
        reason=reason,
        payload=row,
        source="webhook",
        message_ref=str(ref) if ref else None,
        user_agent=_agent(row, "browser_name", "browser_ver", "open_platform", "open_device"),
        ip=row.get("ip") or None,
    )


def bounce_kind(code: object, subcode: object) -> BounceKind:
    """By the SMTP answer (RFC 3463): 4xx and a full mailbox pass, 5.7 is the receiver's policy, the rest is final."""
    enhanced = str(subcode or "")
    if number(code, 0) < 500 or enhanced.startswith(("4.", "5.2.2")):
        return "soft"
    return "block" if enhanced.startswith("5.7") else "hard"


def number(value: object, default: int | None = None) -> Any:
    """A count or a code, also when it came as text."""
    try:
        return int(str(value))
    except ValueError:
        return default


def row_id(row: Row) -> object:
    """The key of everything that has an id."""
    return row["id"]


def text_of(row: Row, name: str) -> str:
    """A field we cannot do without, as text.

    Raises:
        ContractError: the row lacks it.
    """
    if row.get(name) in (None, ""):
        raise ContractError(f"sendpulse: a row lacks {name!r}")
    return str(row[name])


def _smtp(
    ref: str,
    email: str,
    kind: EventType,
    at: datetime | None,
    payload: Row,
    *,
    nth: int | None = None,
    source: EventSource = "poll",
) -> Event:
    when = None if nth is None else at
    url = payload.get("url") if kind == "clicked" else None
    return Event(
        external_id=event_id("smtp", ref, kind, when, url, nth),
        campaign_id=None,
        contact_id=None,
        email=normalise_email(email),
        event_type=kind,
        bounce_kind=None,
        occurred_at=at,
        url=url,
        is_proxy=None,
        reason=None,
        payload=payload,
        source=source,
        message_ref=ref,
        user_agent=None if nth is None else _agent(payload, "browser", "os"),
        ip=None if nth is None else payload.get("ip") or None,
    )


def _word(row: Row) -> ContactStatus:
    return CONTACT_STATUSES.get(number(row.get("status"), -1), "unknown")


def _codes(statistics: object) -> Counter[int]:
    """Delivery code → people, from the older shape (a list) or the newer (a map with the list in `general`)."""
    found = statistics.get("general") if isinstance(statistics, Mapping) else statistics
    codes: Counter[int] = Counter()
    for one in found if isinstance(found, Sequence) and not isinstance(found, str) else ():
        codes[number(one.get("code"), -1)] += number(one.get("count"), 0)
    return codes


def _clicks(statistics: object) -> int | None:
    clicks = statistics.get("clicks") if isinstance(statistics, Mapping) else None
    return sum(number(one.get("count"), 0) for one in clicks) if isinstance(clicks, list) else None


def _sum(codes: Mapping[int, int], wanted: Sequence[int]) -> int | None:
    return sum(codes.get(code, 0) for code in wanted) if codes else None


def _smtp_reason(code: object, subcode: object) -> str | None:
    return " ".join(str(part) for part in (code, subcode) if part) or None


def _agent(row: Row, *names: str) -> str | None:
    return " ".join(str(row[name]) for name in names if row.get(name)) or None


def _time(text: object, zone: ZoneInfo) -> datetime | None:
    return utc(text, zone)


def _unix(value: object) -> datetime | None:
    seconds = number(value)
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ContractError("sendpulse: a time is no number of seconds") from None
