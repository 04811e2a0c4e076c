"""Outbound events: what Bitrix posts to us when a card changes. Nothing in them but which card, and whose portal.

The portal signs nothing. It sends its `application_token` (and `member_id`, the portal's own id) inside the form, and
who knows the token is taken for the portal. It does not repeat what was not accepted and keeps no order, so an event is
only a hint: the card is read by the next load, and what was missed is found by change times.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from lettertrail.errors import ContractError

_EVENT = re.compile(r"[A-Z][A-Z0-9_:.]{2,99}", re.IGNORECASE)
_MAX_FIELDS = 500
"""A real event has about fifteen."""
_UNIX_TIME = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class OutboundEvent:
    """One event of a portal."""

    event_id: str
    """The same for the same event sent twice."""
    event: str
    """Upper case: `ONCRMDEALUPDATE`."""
    object_id: str | None
    """The id of what changed; None when the event is not about one thing."""
    member_id: str | None
    domain: str | None
    occurred_at: datetime | None


def is_authentic(body: bytes, tokens: Sequence[bytes], *, member_id: bytes | None = None) -> bool:
    """Whether the form holds one of our application tokens, and the portal's id where we know it; constant time."""
    form = _form(body)
    token = form.get("auth[application_token]", "").encode()
    matches = [hmac.compare_digest(token, known) for known in tokens]
    is_portal = member_id is None or hmac.compare_digest(form.get("auth[member_id]", "").encode(), member_id)
    return bool(token) and any(matches) and is_portal


def read_event(body: bytes) -> OutboundEvent:
    """The event in a form that was found authentic.

    Raises:
        ContractError: it names no event.
    """
    form = _form(body)
    event = form.get("event", "").strip()
    if not _EVENT.fullmatch(event):
        raise ContractError("bitrix: an outbound event lacks its name")
    moment = form.get("ts", "")
    facts = {name: value for name, value in form.items() if not name.startswith("auth[")}
    identity = repr((form.get("auth[member_id]"), form.get("auth[domain]"), sorted(facts.items())))
    return OutboundEvent(
        event_id=hashlib.sha256(identity.encode()).hexdigest(),
        event=event.upper(),
        object_id=form.get("data[FIELDS][ID]") or form.get("data[FIELDS_AFTER][ID]") or form.get("data[id]") or None,
        member_id=form.get("auth[member_id]") or None,
        domain=form.get("auth[domain]") or None,
        occurred_at=datetime.fromtimestamp(int(moment), UTC) if _UNIX_TIME.fullmatch(moment) else None,
    )


def _form(body: bytes) -> Mapping[str, str]:
    """Names and values; of a name that comes twice the first one counts, so that nothing appended changes it."""
    found: dict[str, str] = {}
    try:
        fields = parse_qsl(body.decode("latin-1"), keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS)
    except ValueError:
        return found
    for name, value in fields:
        found.setdefault(name, value.replace("\0", ""))
    return found
