"""eSputnik's words and rows in ours: pure functions from its JSON to the records of the port, and back for contacts.

A word that is not in a table becomes `unknown` and stays in the payload.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from lettertrail.errors import ContractError
from lettertrail.esps._times import utc
from lettertrail.esps.port import (
    Body,
    Campaign,
    Contact,
    ContactStatus,
    Event,
    EventSource,
    EventType,
    MailingList,
    event_id,
    normalise_email,
)

Row = Mapping[str, Any]

CONTACT_STATUSES: Mapping[str, ContactStatus] = {
    "CONFIRMED": "subscribed",
    "UNCONFIRMED": "pending",
    "UNSUBSCRIBED": "unsubscribed",
    "BLOCKED": "cleaned",
}
MAILABLE = frozenset({"subscribed", "pending", "unknown"})
"""What has to be stopped: where the service says nothing of a contact, it may well be mailed."""

ACTIVITIES: Mapping[str, EventType] = {
    "SENT": "sent",
    "DELIVERED": "delivered",
    "UNDELIVERED": "bounced",
    "READ": "opened",
    "RECEIVED": "opened",
    "CLICKED": "clicked",
    "UNSUBSCRIBED": "unsubscribed",
    "SPAM": "complained",
}
BASE = "contacts"
"""The list id of the one base of contacts."""
STANDARD_FIELDS = ("firstName", "lastName", "languageCode", "timeZone", "externalCustomerId")
ADDRESS_FIELDS = ("region", "town", "address", "postcode", "countryCode")


@dataclass(frozen=True, slots=True)
class Person:
    """What the account holds of one address. Older interfaces made doubles, so there may be several `ids`."""

    ids: tuple[int, ...]
    word: ContactStatus
    values: Mapping[str, Any] = field(repr=False)
    groups: frozenset[str]
    external_id: str | None = field(default=None, repr=False)

    @property
    def is_mailable(self) -> bool:
        """Whether the service may mail it."""
        return self.word in MAILABLE


def person(row: Row, names: Mapping[int, str]) -> Person:
    """A contact's row; `names` are those of the custom fields, by id."""
    groups = frozenset(str(group.get("name")) for group in row.get("groups") or ())
    return Person((int(row["id"]),), _word(row), values_of(row, names), groups, row.get("externalCustomerId") or None)


def email_of(row: Row) -> str | None:
    """The normalised address among a contact's channels."""
    for channel in row.get("channels") or ():
        if channel.get("type") == "email" and channel.get("value"):
            return normalise_email(str(channel["value"]))
    return None


def values_of(row: Row, names: Mapping[int, str]) -> dict[str, Any]:
    """Every field of a contact by name, as far as it has a value."""
    found = {name: row.get(name) for name in STANDARD_FIELDS}
    found |= {name: (row.get("address") or {}).get(name) for name in ADDRESS_FIELDS}
    for one in row.get("fields") or ():
        found[names.get(int(one["id"]), f"field {one['id']}")] = one.get("value")
    return {name: value for name, value in found.items() if value not in (None, "")}


def same(values: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Whether the wanted fields have their values."""
    return all(str(values.get(name, "")) == value for name, value in wanted.items())


def spelled(value: Any) -> str:
    """A value the way fields take it; nothing is the empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def contact_row(email: str, wanted: Mapping[str, str], ids: Mapping[str, int]) -> dict[str, Any]:
    """A contact as the bulk import takes it, with exactly the wanted fields."""
    row: dict[str, Any] = {"channels": [{"type": "email", "value": email}]}
    row |= {name: wanted[name] for name in STANDARD_FIELDS if name in wanted}
    address = {name: wanted[name] for name in ADDRESS_FIELDS if name in wanted}
    if address:
        row["address"] = address
    own = [{"id": ids[name], "value": value} for name, value in wanted.items() if name in ids]
    if own:
        row["fields"] = own
    return row


def failed_contacts(answer: object) -> dict[str, str]:
    """Address → why it was not imported. The service's own words are left out, they may hold the address."""
    failed = answer.get("failedContacts") if isinstance(answer, Mapping) else None
    found: dict[str, str] = {}
    for row in failed if isinstance(failed, list) else ():
        if isinstance(row, str):
            found[normalise_email(row)] = "the service refused it"
        elif isinstance(row, Mapping):
            inner = row.get("contact")
            email = email_of(inner if isinstance(inner, Mapping) else row) or row.get("email")
            if email:
                found[normalise_email(str(email))] = "the service refused it"
    return found


def field_names(answer: object) -> dict[int, str]:
    """Id → name of the custom fields, from `/v1/addressbooks`.

    Raises:
        ContractError: the answer has no address book.
    """
    book = answer.get("addressBook", answer) if isinstance(answer, Mapping) else None
    groups = book.get("fieldGroups") if isinstance(book, Mapping) else None
    if not isinstance(groups, list):
        raise ContractError("esputnik: the address book has no field groups")
    return {int(one["id"]): str(one["name"]) for group in groups for one in group.get("fields") or ()}


def category_names(answer: object) -> list[str]:
    """The preference categories a person chose, by name."""
    rows = answer.get("subscriptions") if isinstance(answer, Mapping) else answer
    found = (row.get("name") if isinstance(row, Mapping) else row for row in (rows if isinstance(rows, list) else ()))
    return [str(name) for name in found if name]


def base(answer: object) -> MailingList:
    """The account's contacts as a list: the address book that defines their fields."""
    book = answer.get("addressBook", answer) if isinstance(answer, Mapping) else {}
    return MailingList(BASE, book.get("name") or None, None, None, None, payload=book)


def group(row: Row) -> MailingList:
    """A row of `/v1/groups`, which knows neither a size nor a time."""
    return MailingList(need(row, "id"), row.get("name") or None, row.get("type") or None, None, None, payload=row)


def contact(row: Row, names: Mapping[int, str]) -> Contact | None:
    """A row of `/v1/contacts`; None for one without an e-mail channel. Its tags are the groups it is in."""
    email = email_of(row)
    if email is None:
        return None
    found = person(row, names)
    return Contact(
        external_id=contact_id(need(row, "id")),
        list_id=BASE,
        email=email,
        status=found.word,
        status_reason=None,
        opted_in_at=None,
        changed_at=None,
        tags=tuple(sorted(found.groups)),
        payload=row,
        fields=found.values,
    )


def contact_id(number: object) -> str:
    """Our name of a contact: of the base, for groups do not own their members."""
    return f"{BASE}:{number}"


def letter(row: Row) -> Campaign:
    """A row of `/v1/messages/email`. A message may go out often, so it has neither a state nor a time of its own."""
    return Campaign(
        external_id=need(row, "id"),
        list_id=None,
        title=row.get("name") or None,
        subject=row.get("subject") or None,
        status="unknown",
        sent_at=None,
        emails_sent=None,
        utm_campaign=None,
        url=None,
        updated_at=None,
        payload=row,
    )


def letter_version(row: Row) -> str:
    """What can be seen of a message's version: it has no time of change, so an edit of its text alone goes unseen."""
    return event_id(row.get("name"), row.get("from"), row.get("subject"), *sorted(row.get("tags") or ()))


def body_of(listed: Row, detail: Any) -> Body:
    """A row of `/v1/messages/email/{id}`."""
    html = detail.get("htmlText") if isinstance(detail, Mapping) else None
    return Body(letter(listed).external_id, letter_version(listed), html or None)


def activity_events(row: Row, zone: ZoneInfo, *, source: EventSource) -> Iterator[Event]:
    """A row of activity, the same from the interface and from a webhook, and the sending that follows from it.

    There is no row for sending: whatever was delivered or came back was sent. Other media than e-mail are passed over.
    """
    email = normalise_email(str(row.get("email") or ""))
    if str(row.get("mediaType") or "email").lower() != "email" or not email:
        return
    kind = ACTIVITIES.get(str(row.get("activityStatus")), "unknown")
    if kind in ("delivered", "bounced"):
        yield _event(row, zone, email, "sent", source="snapshot")
    yield _event(row, zone, email, kind, source=source)


def _event(row: Row, zone: ZoneInfo, email: str, kind: EventType, *, source: EventSource) -> Event:
    word, spelled_at = str(row.get("activityStatus")), need(row, "activityDateTime")
    message = row.get("messageId")
    if kind == "sent":
        # One sending, whichever rows tell of it: identified by the letter and the person, not by the row.
        whole = ("messageId", "messageInstanceId", "broadcastId", "workflowInstanceId", "externalRequestId")
        identity = event_id("sent", *(row.get(name) for name in whole), email)
    else:
        identity = event_id(row.get("iid"), email, word, spelled_at, row.get("clickEventLink"))
    return Event(
        external_id=identity,
        campaign_id=str(message) if message else None,
        contact_id=contact_id(row["contactId"]) if row.get("contactId") else None,
        email=email,
        event_type=kind,
        bounce_kind=("hard" if row.get("hardBounce") else "soft") if kind == "bounced" else None,
        occurred_at=utc(spelled_at, zone),
        url=(row.get("clickEventLink") or None) if kind == "clicked" else None,
        is_proxy=None,
        reason=word if kind == "unknown" else None,
        payload=row,
        source=source,
        message_ref=row.get("externalRequestId") or None,
    )


def sent_rows(answer: object) -> Sequence[Row]:
    """`results` of a sending: an object for one, an array for many."""
    found = answer.get("results") if isinstance(answer, Mapping) else None
    return [found] if isinstance(found, Mapping) else [row for row in found or () if isinstance(row, Mapping)]


def need(row: Row, name: str) -> str:
    """A field we cannot do without, as text.

    Raises:
        ContractError: the row lacks it.
    """
    if row.get(name) in (None, ""):
        raise ContractError(f"esputnik: a row lacks {name!r}")
    return str(row[name])


def _word(row: Row) -> ContactStatus:
    return CONTACT_STATUSES.get(str(row.get("emailStatus") or "").upper(), "unknown")
