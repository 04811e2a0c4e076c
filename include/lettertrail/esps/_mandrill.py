"""Mailchimp Transactional (Mandrill): single letters, and its webhooks.

Docs:    https://mailchimp.com/developer/transactional/api/
Limits:  no figure published; what is over the hourly quota is queued.
Reading: `messages/search` gives at most 1000 messages and no pages, so a window that is full is halved. Opens and
         clicks hang on their message: those of the last week are read again. Complaints and opt-outs are on the deny
         list, of which no more than 1000 rows can be read; the webhook tells them all.
Writing: the key is part of every body. A 200 does not mean accepted: each recipient has a status of his own. Nothing
         keeps a repeated call from mailing twice, so a call without an answer is not repeated.
Errors:  told by `name`; older servers answer most of them with 500.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ContractError,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps._sending import list_headers, unsent
from lettertrail.esps._webhooks import part, rows_of
from lettertrail.esps.port import (
    AccountConnection,
    BounceKind,
    Delivery,
    Event,
    EventSource,
    EventType,
    Evidence,
    Letter,
    Sent,
    event_id,
    normalise_email,
    operator_hosts,
    spelled_address,
)
from lettertrail.http import Answer, RestClient
from lettertrail.throttle import shared_throttle

HOST = "mandrillapp.com"
ACCEPTED = frozenset({"sent", "queued", "scheduled"})
EVIDENCE: Mapping[str, Evidence] = {"hard-bounce": "hard_bounce", "spam": "complaint", "unsub": "unsubscribed"}
"""Why a letter was refused → what that proves."""
EVENTS: Mapping[str, tuple[EventType, BounceKind | None]] = {
    "send": ("sent", None),
    "delivered": ("delivered", None),
    "hard_bounce": ("bounced", "hard"),
    "soft_bounce": ("bounced", "soft"),
    "open": ("opened", None),
    "click": ("clicked", None),
    "spam": ("complained", None),
    "unsub": ("unsubscribed", None),
    "reject": ("rejected", None),
}
DENIALS: Mapping[str, tuple[EventType, BounceKind | None]] = {
    "hard-bounce": ("bounced", "hard"),
    "spam": ("complained", None),
    "unsub": ("unsubscribed", None),
}
"""Why an address came onto the deny list → the event."""
OUR_KEY = "lettertrail_key"
FOUND = 1000
"""The most that a search or the deny list gives."""
LOOKING_BACK = timedelta(days=7)
UNSENT = frozenset({"rejected", "queued", "scheduled", "canceled"})
STATES: Mapping[str, str] = {"bounced": "hard_bounce", "soft-bounced": "soft_bounce", "rejected": "reject"}
"""State of a message → the event it proves."""
SHORTEST = timedelta(seconds=1)

_PASSING = frozenset({"GeneralError", "ServiceUnavailable"})
_NO_KEY = frozenset({"Invalid_Key", "User_Disabled"})


class Mandrill:
    """Sends single letters through one account."""

    def __init__(self, api: RestClient, key: str) -> None:
        self.api = api
        self._key = key

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None
    ) -> Self | None:
        """The client behind the options `transactional_key` and `transactional_host`; None without a key.

        Raises:
            ConfigurationError: the host is not permitted.
        """
        key = str(connection.extra.get("transactional_key") or "").strip()
        if not key:
            return None
        base_url = spelled_address(str(connection.extra.get("transactional_host") or HOST))
        if not urlsplit(base_url).path:
            base_url += "/api/1.0"
        api = RestClient(
            base_url,
            service="mandrill",
            hosts=(HOST,),
            allowed_hosts=operator_hosts(allowed_hosts),
            classify=judge,
            throttle=shared_throttle(f"mandrill {connection.conn_id}", max_concurrency=4),
            clock=clock,
        )
        return cls(api, key)

    def ping(self) -> str:
        """Says that the key is good.

        Raises:
            AuthenticationError: it is not.
        """
        answer = self.api.post("/users/ping2", json={"key": self._key}, write=False)
        return str(answer.get("PING")) if isinstance(answer, Mapping) else str(answer)

    def events(self, since: datetime | None, until: datetime) -> Iterator[Event]:
        """What became of the messages of the week before `since`, or of the last week; then the deny list."""
        for row in self._messages((since or until) - LOOKING_BACK, until):
            yield from _history(row)
        body = {"key": self._key, "include_expired": True}
        for row in self.api.post("/rejects/list", json=body, write=False):
            yield from _denied({"reject": row, "type": "blacklist", "ts": row.get("created_at")}, source="snapshot")

    def _messages(self, start: datetime, end: datetime) -> Iterator[Mapping[str, Any]]:
        body = {"key": self._key, "date_from": _spelled(start), "date_to": _spelled(end), "limit": FOUND}
        rows = self.api.post("/messages/search", json=body, write=False)
        if len(rows) < FOUND:
            yield from rows
            return
        if end - start <= SHORTEST:
            raise ContractError("mandrill: more messages in a second than a search can give")
        middle = start + (end - start) / 2
        seen: set[object] = set()
        for half in ((start, middle), (middle, end)):
            for row in self._messages(*half):
                if row["_id"] not in seen:  # both ends of a window belong to it
                    seen.add(row["_id"])
                    yield row

    def send(self, letter: Letter) -> Sent:
        """Sends one letter, once.

        Raises:
            AuthenticationError: the key was refused, so no letter of this account can go out.
        """
        body: dict[str, Any] = {"key": self._key, "message": _message(letter)}
        method = "/messages/send"
        if letter.template_id:
            method = "/messages/send-template"
            body |= {"template_name": letter.template_id, "template_content": []}
        try:
            answer = self.api.post(method, json=body, records=1)
        except ApiError as error:
            return unsent(letter, error, EVIDENCE)
        return _sent(letter, answer)

    def trace(self, letter: Letter) -> str | None:
        """The id of the message that bears our key, as far as the search knows it by now."""
        body = {"key": self._key, "query": f'u_{OUR_KEY}:"{letter.key}"', "limit": FOUND}
        rows = self.api.post("/messages/search", json=body, write=False)
        # The search may find more than was asked for.
        refs = (row.get("_id") for row in rows if (row.get("metadata") or {}).get(OUR_KEY) == letter.key)
        return next((str(ref) for ref in refs if ref), None)


def _message(letter: Letter) -> dict[str, Any]:
    headers = list_headers(letter) | ({"Reply-To": letter.reply_to} if letter.reply_to else {})
    message = {
        "to": [{"email": letter.to, "type": "to"}],
        "from_email": letter.sender,
        "from_name": letter.sender_name,
        "subject": letter.subject,
        "html": letter.html,
        "text": letter.text,
        "headers": headers,
        "tags": list(letter.tags),
        "metadata": {OUR_KEY: letter.key},
        "global_merge_vars": [{"name": name, "content": value} for name, value in letter.variables.items()],
    }
    return {name: value for name, value in message.items() if value not in (None, [], {})}


def _sent(letter: Letter, answer: Any) -> Sent:
    if not isinstance(answer, Sequence) or len(answer) != 1 or not isinstance(answer[0], Mapping):
        return Sent(letter.key, "unknown", reason="an answer that says nothing about the letter")
    row = answer[0]
    ref = row.get("_id") or None
    if row.get("status") in ACCEPTED:
        return Sent(letter.key, "accepted", ref)
    reason = row.get("reject_reason") or str(row.get("status"))
    return Sent(letter.key, "rejected", ref, reason, EVIDENCE.get(reason))


def judge(answer: Answer) -> ApiError | None:
    """Which error an answer is, by its name; the message is left out, it may hold an address."""
    body = answer.body
    if not isinstance(body, Mapping) or body.get("status") != "error":
        return None
    service, name = answer.service, str(body.get("name", ""))[:60]
    if name in _NO_KEY:
        return AuthenticationError(service, "the key was refused; renew transactional_key", status=answer.status)
    if name == "RequestLimitExceeded":
        return RateLimited(service, "too many requests", status=429, code=name)
    if name in _PASSING:
        return TemporaryApiError(service, "the service failed", status=answer.status, code=name)
    if name.startswith("Unknown_"):
        return NotFound(service, f"refused: {name}", status=answer.status, code=name)
    return RequestRejected(service, f"refused: {name}", status=answer.status, code=name or None)


def read_hook(delivery: Delivery) -> Iterator[Event]:
    """The events of a webhook: a form with one field `mandrill_events`, an array of them in JSON.

    Raises:
        ContractError: it is not.
    """
    form = dict(parse_qsl(delivery.body.decode("utf-8", "replace"), keep_blank_values=True))
    if "mandrill_events" not in form:
        raise ContractError("mandrill: a webhook without events")
    for row in rows_of("mandrill", form["mandrill_events"].encode()):
        yield from _denied(row) if "event" not in row else _happened(row)


def _happened(row: Mapping[str, Any]) -> Iterator[Event]:
    message = part("mandrill", row, "msg")
    email = message.get("email") or row.get("email")
    if email:
        known = {**message, "_id": row.get("_id") or message.get("_id"), "email": email}
        yield _event(known, str(row["event"]), row.get("ts"), row, payload=row, source="webhook")


def _history(message: Mapping[str, Any]) -> Iterator[Event]:
    """What a row of `messages/search` tells: its way, its openings, its clicks.

    The row changes with every opening, so each event keeps only its own part of it. Two openings in one second are one
    event: a webhook could not tell them apart either.
    """
    if not message.get("email"):
        return
    state, steps = str(message.get("state")), {step.get("type"): step for step in message.get("smtp_events") or ()}
    start = {"_id": message.get("_id"), "ts": message.get("ts"), "metadata": message.get("metadata")}
    told = [] if state in UNSENT else [("send", steps.get("sent") or start)]
    told += [("delivered", steps["delivered"])] if "delivered" in steps else []
    told += [(STATES[state], steps.get("bounced") or start)] if state in STATES else []
    told += [(word, did) for word in ("open", "click") for did in message.get(f"{word}s_detail") or ()]
    seen: set[str] = set()
    for word, did in told:
        more = {**did, "user_agent": did.get("ua")}
        event = _event(message, word, did.get("ts"), more, payload=did, source="poll")
        if event.external_id not in seen:
            seen.add(event.external_id)
            yield event


def _event(
    message: Mapping[str, Any],
    word: str,
    ts: object,
    did: Mapping[str, Any],
    *,
    payload: Mapping[str, Any],
    source: EventSource,
) -> Event:
    """One event of a message; the same identity however it is told."""
    kind, bounce = EVENTS.get(word, ("unknown", None))
    ref, url = message.get("_id"), did.get("url") or None
    return Event(
        external_id=event_id("mandrill", ref, word, ts, url),
        campaign_id=None,
        contact_id=None,
        email=normalise_email(str(message["email"])),
        event_type=kind,
        bounce_kind=bounce,
        occurred_at=_time(ts),
        url=url,
        is_proxy=None,
        reason=word if kind == "unknown" else _why(message, kind),
        payload=payload,
        source=source,
        message_ref=ref,
        user_agent=did.get("user_agent") or None,
        ip=did.get("ip") or None,
    )


def _why(message: Mapping[str, Any], kind: EventType) -> str | None:
    """Only for what it explains: a message that bounces later was sent for no reason."""
    if kind == "rejected":
        return part("mandrill", message, "reject").get("reason") or None
    return message.get("bounce_description") or None if kind == "bounced" else None


def _denied(row: Mapping[str, Any], source: EventSource = "webhook") -> Iterator[Event]:
    """An entry of the deny list: of interest when somebody came onto it for a reason of his own."""
    reject = part("mandrill", row, "reject")
    reason, email = str(reject.get("reason")), reject.get("email")
    if row.get("type") != "blacklist" or row.get("action") == "remove" or reason not in DENIALS or not email:
        return
    kind, bounce = DENIALS[reason]
    address = normalise_email(str(email))
    yield Event(
        external_id=event_id("mandrill", "blacklist", address, reason, row.get("ts")),
        campaign_id=None,
        contact_id=None,
        email=address,
        event_type=kind,
        bounce_kind=bounce,
        occurred_at=_time(row.get("ts")),
        url=None,
        is_proxy=None,
        reason=reason,
        payload=row,
        source=source,
    )


def _spelled(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _time(value: object) -> datetime | None:
    """Unix seconds, also as text, or a naive time in UTC."""
    if value is None:
        return None
    text = str(value)
    try:
        if text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        raise ContractError("mandrill: a time is neither in seconds nor in UTC") from None
