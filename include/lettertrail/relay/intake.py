"""From a `mail` event of the site's handler to rows of the outbox, one for each recipient.

    {"event_name": "SALE_NEW_ORDER", "message_id": 7, "site_id": "s1", "language": "ru", "to": "a@shop.example, …",
     "from": "Shop <shop@shop.example>", "reply_to": "…", "subject": "…", "body": "…", "body_type": "html",
     "fields": {…}, "duplicate": true}

Subject and body come finished; `fields` and `duplicate` are not used. What cannot be sent is refused here, while the
site can still send it by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from email.utils import getaddresses, parseaddr
from typing import Any, Literal

from lettertrail.errors import ContractError

MAX_RECIPIENTS = 50
MAX_ADDRESS = 254
MAX_WORD = 255

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\\]+@[^\s@<>,;:\"()\\]+\.[^\s@<>,;:\"()\\]+")
_NOT_IN_A_HEADER = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class OutboxLetter:
    """A row of `ops.outbox` to be; the names are the columns'."""

    key: str
    source: str
    event_name: str
    template_id: str | None
    site_id: str | None
    language: str | None
    recipient: str = field(repr=False)
    sender: str
    sender_name: str | None
    reply_to: str | None = field(repr=False)
    subject: str = field(repr=False)
    body: str = field(repr=False)
    body_type: Literal["html", "text"]
    happened_at: datetime
    queued_at: datetime

    def row(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self) | {"happened_at": self.happened_at.isoformat(), "queued_at": self.queued_at.isoformat()}


def letters(
    data: Mapping[str, Any],
    *,
    source: str,
    event_id: str,
    happened_at: datetime,
    queued_at: datetime,
    sender: str | None,
) -> Iterator[OutboxLetter]:
    """The letters of one event.

    Args:
        source: the inbox account; with `event_id` it makes the idempotency key.
        sender: who sends what names nobody.

    Raises:
        ContractError: the event cannot be sent; it says which part, never what stands there.
    """
    name, address = _from(data, sender)
    recipients = _recipients(data)
    body_type = data.get("body_type")
    if body_type not in ("html", "text"):
        raise ContractError("mail: body_type is neither html nor text")
    body = _text(data, "body")
    if not body.strip():
        raise ContractError("mail: the body is empty")
    for number, recipient in enumerate(recipients, 1):
        yield OutboxLetter(
            key=f"{source}:{event_id}:{number}",
            source=source,
            event_name=_word(data, "event_name", needed=True) or "",
            template_id=_word(data, "message_id"),
            site_id=_word(data, "site_id"),
            language=_word(data, "language"),
            recipient=recipient,
            sender=address,
            sender_name=name,
            reply_to=_reply_to(data),
            subject=_line(_text(data, "subject")),
            body=body,
            body_type=body_type,
            happened_at=happened_at,
            queued_at=queued_at,
        )


def traces(data: Mapping[str, Any]) -> dict[str, Any]:
    """What may be kept of a `mail` event beside the outbox: which letter it was, nothing of what it says or to whom."""
    kept = ("event_name", "message_id", "site_id", "language", "body_type")
    return {name: data[name] for name in kept if isinstance(data.get(name), str | int)}


def _from(data: Mapping[str, Any], sender: str | None) -> tuple[str | None, str]:
    spelled = _text(data, "from") if data.get("from") else sender
    if not spelled:
        raise ContractError("mail: no sender; the event has no `from`, and the inbox account no `sender`")
    name, address = parseaddr(_line(spelled))
    return name or None, _checked(address, "from")


def _recipients(data: Mapping[str, Any]) -> list[str]:
    # Bitrix puts commas or semicolons between them.
    given = getaddresses([_line(_text(data, "to")).replace(";", ",")])
    found = list(dict.fromkeys(_checked(address, "to") for _, address in given if address))
    if not 1 <= len(found) <= MAX_RECIPIENTS:
        raise ContractError(f"mail: `to` must name 1 to {MAX_RECIPIENTS} addresses")
    return found


def _reply_to(data: Mapping[str, Any]) -> str | None:
    if not data.get("reply_to"):
        return None
    _, address = parseaddr(_line(_text(data, "reply_to")))
    return _checked(address, "reply_to")


def _checked(address: str, where: str) -> str:
    if len(address) > MAX_ADDRESS or not _ADDRESS.fullmatch(address):
        raise ContractError(f"mail: `{where}` holds what is no address")
    return address


def _word(data: Mapping[str, Any], name: str, *, needed: bool = False) -> str | None:
    value = data.get(name)
    if value is None or value == "":
        if needed:
            raise ContractError(f"mail: `{name}` is missing")
        return None
    if isinstance(value, bool) or not isinstance(value, str | int) or len(str(value)) > MAX_WORD:
        raise ContractError(f"mail: `{name}` is no short text")
    return _line(_storable(str(value), name))


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise ContractError(f"mail: `{name}` is no text")
    return _storable(value, name)


def _storable(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ContractError(f"mail: `{name}` holds half a character") from None
    if "\0" in text:
        raise ContractError(f"mail: `{name}` holds a zero byte")
    return text


def _line(text: str) -> str:
    """On one line, as a header must be; a line break would begin another header."""
    return _NOT_IN_A_HEADER.sub(" ", text).strip()
