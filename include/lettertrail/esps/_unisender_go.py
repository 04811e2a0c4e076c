"""UniSender Go (the UniOne engine): single letters, its deny list, its event dumps and its webhooks.

Docs:    https://godocs.unisender.ru/web-api-ref
Limits:  no figure published; at most 10 dumps at once; events are kept for 32 days.
Reading: events come as a dump that is asked for, waited for, downloaded and deleted. The same event has the same
         identity in a dump and in a webhook: job, address, status, time, link.
Writing: recipients it refuses are named in the answer and give no webhook. `idempotence_key` guards for a minute only,
         so a call without an answer is not repeated. The deny list takes one address a call.
Headers: `List-Unsubscribe` needs leave of the support; the link goes into `options.unsubscribe_url` in any case.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ComplianceRefusal,
    ContractError,
    Duplicate,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps._rows import Row
from lettertrail.esps._sending import list_headers, unsent
from lettertrail.esps._unisender_rows import spelled, time_of
from lettertrail.esps._webhooks import objects, part
from lettertrail.esps.port import (
    AccountConnection,
    BounceKind,
    Event,
    EventSource,
    EventType,
    Evidence,
    Letter,
    Sent,
    event_id,
    normalise_email,
    operator_hosts,
    says_yes,
    spelled_address,
)
from lettertrail.http import Answer, HeaderAuth, RestClient
from lettertrail.throttle import shared_throttle

HOST = "go1.unisender.ru"
HOSTS = ("*.unisender.ru", "*.unione.io")
KEPT = timedelta(days=32)
PAGE = 1000
SMALL_PAGE = 50
"""What the service gives when nothing is asked for; its largest page is not documented."""
OUR_KEY = "lettertrail_key"
MAX_TAGS = 4
PASSING = "temporary_unavailable"
"""A cause that goes away by itself."""
EVIDENCE: Mapping[str, Evidence] = {
    "unsubscribed": "unsubscribed",
    "permanent_unavailable": "hard_bounce",
    "complained": "complaint",
}
"""Why a recipient was refused → what that proves."""
EVENTS: Mapping[str, tuple[EventType, BounceKind | None]] = {
    "sent": ("sent", None),
    "delivered": ("delivered", None),
    "opened": ("opened", None),
    "clicked": ("clicked", None),
    "unsubscribed": ("unsubscribed", None),
    "soft_bounced": ("bounced", "soft"),
    "hard_bounced": ("bounced", "hard"),
    "spam": ("complained", None),
}
QUIET = frozenset({"accepted", "subscribed"})
BLOCKS = frozenset({"err_spam_rejected", "err_blacklisted"})
UNTRIED = frozenset({"err_unsubscribed", "err_skip_letter", "err_spam_skipped"})
FIELDS = (
    "event_time",
    "job_id",
    "email",
    "status",
    "delivery_status",
    "metadata",
    "destination_response",
    "user_agent",
    "url",
    "ip",
    "tags",
)

_NAME = "unisender go"
_BAD_KEY = frozenset({101, 102, 105, 106, 114})
_REPEATED = "1573"
_LIMITS = frozenset({*range(901, 907), 3309})
"""Of mail by plan, and of dumps at once."""


class UnisenderGo:
    """One project, or the whole account, of the transactional service."""

    def __init__(self, api: RestClient, *, may_set_header: bool) -> None:
        """`may_set_header`: the support has allowed `List-Unsubscribe`."""
        self.api = api
        self._may_set_header = may_set_header

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None
    ) -> Self | None:
        """The client behind the options `transactional_key` and `transactional_host`; None without a key.

        Raises:
            ConfigurationError: the host is not permitted.
        """
        options = {name: str(value or "").strip() for name, value in connection.extra.items()}
        key = options.get("transactional_key", "")
        if not key:
            return None
        base_url = spelled_address(options.get("transactional_host") or HOST)
        if not urlsplit(base_url).path:
            language = "en" if "unione" in base_url else "ru"
            base_url += f"/{language}/transactional/api/v1"
        api = RestClient(
            base_url,
            service=_NAME,
            auth=HeaderAuth("X-API-KEY", key),
            hosts=HOSTS,
            allowed_hosts=operator_hosts(allowed_hosts),
            classify=judge,
            throttle=shared_throttle(f"{_NAME} {connection.conn_id}", max_concurrency=4),
            clock=clock,
        )
        return cls(api, may_set_header=says_yes(options.get("list_unsubscribe", "")))

    def _ask(self, method: str, **parameters: Any) -> Row:
        answer = self.api.post(f"/{method}.json", json=parameters, write=False)
        if not isinstance(answer, Mapping):
            raise ContractError(f"{_NAME}: the answer of {method} is no object")
        return answer

    # The deny list

    def ping(self) -> str:
        """Says that the key is good.

        Raises:
            AuthenticationError: it is not.
        """
        self._ask("suppression/list", limit=1)
        return "the deny list can be read"

    def suppressed(self) -> set[str]:
        """Everybody on the deny list for good."""
        found: set[str] = set()
        limit, cursor = PAGE, ""
        while True:
            more = {"cursor": cursor} if cursor else {}
            try:
                answer = self._ask("suppression/list", limit=limit, **more)
            except RequestRejected:
                if limit == SMALL_PAGE:
                    raise
                limit = SMALL_PAGE
                continue
            rows = answer.get("suppressions") or []
            found.update(normalise_email(str(row["email"])) for row in rows if row.get("cause") != PASSING)
            if not rows or not answer.get("cursor") or answer["cursor"] == cursor:
                return found
            cursor = str(answer["cursor"])

    def suppress(self, email: str) -> None:
        """Puts one address on the deny list; again does no harm."""
        body = {"email": email, "cause": "unsubscribed"}
        with suppress(Duplicate):
            self.api.post("/suppression/set.json", json=body, idempotent=True, records=1)

    # Events

    def ask_dump(self, since: datetime | None, until: datetime) -> str:
        """Asks for the events of a window, at most of the last 32 days; gives the dump's id."""
        earliest = until - KEPT
        start = earliest if since is None else max(since, earliest)
        answer = self._ask(
            "event-dump/create",
            start_time=spelled(start),
            end_time=spelled(until),
            dump_fields=list(FIELDS),
            delimiter=",",
            format="csv",
        )
        return str(answer["dump_id"])

    def dump_files(self, dump_id: str) -> list[str] | None:
        """Where the files of a dump are; None while it is being made.

        Raises:
            TemporaryApiError: it failed.
        """
        dump = self._ask("event-dump/get", dump_id=dump_id).get("event_dump") or {}
        match dump.get("dump_status"):
            case "ready":
                return [str(file["url"]) for file in dump.get("files") or ()]
            case "queued" | "in_process":
                return None
            case _:
                raise TemporaryApiError(self.api.service, "an event dump failed")

    def dump(self, dump_id: str, urls: Sequence[str]) -> Iterator[Event]:
        """The events of a dump that is ready, which is deleted afterwards: only ten may exist.

        Openings of one letter in one second are one event: nothing tells them apart.
        """
        seen: set[str] = set()
        for url in urls:
            path = self.api.download(url, what="an event dump")
            try:
                with path.open(encoding="utf-8-sig", newline="") as file:
                    for event in (event for row in csv.DictReader(file) for event in _happened(row, "poll")):
                        if event.external_id not in seen:
                            seen.add(event.external_id)
                            yield event
            finally:
                path.unlink()
        with suppress(NotFound):
            self._ask("event-dump/delete", dump_id=dump_id)

    # Sending

    def send(self, letter: Letter) -> Sent:
        """Sends one letter, once.

        Raises:
            AuthenticationError: the key was refused, so no letter of this account can go out.
        """
        try:
            answer = self.api.post("/email/send.json", json={"message": self._message(letter)}, records=1)
        except ApiError as error:
            return unsent(letter, error, EVIDENCE)
        cause = _refused(answer)
        if cause:
            return Sent(letter.key, "rejected", answer.get("job_id"), cause, EVIDENCE.get(cause))
        return Sent(letter.key, "accepted", answer.get("job_id"))

    def _message(self, letter: Letter) -> dict[str, Any]:
        headers = list_headers(letter) if self._may_set_header else dict(letter.headers)
        recipient = {"email": letter.to, "metadata": {OUR_KEY: letter.key}, "substitutions": dict(letter.variables)}
        body = {name: text for name, text in (("html", letter.html), ("plaintext", letter.text)) if text}
        message = {
            "recipients": [recipient],
            "template_id": letter.template_id,
            "subject": letter.subject,
            "from_email": letter.sender,
            "from_name": letter.sender_name,
            "reply_to": letter.reply_to,
            "body": body,
            "headers": headers,
            "tags": list(letter.tags[:MAX_TAGS]),
            "options": {"unsubscribe_url": letter.unsubscribe_url} if letter.unsubscribe_url else {},
            "idempotence_key": hashlib.sha256(letter.key.encode()).hexdigest(),
        }
        return {name: value for name, value in message.items() if value not in (None, [], {})}


def judge(answer: Answer) -> ApiError | None:
    """Which error an answer is, by its code; the message is left out, it may hold an address."""
    body, service, status = answer.body, answer.service, answer.status
    if not isinstance(body, Mapping) or body.get("status") != "error":
        return None
    code = body.get("code")
    if code in _BAD_KEY:
        return AuthenticationError(service, "the key was refused; renew transactional_key", status=status)
    if code in _LIMITS or status == 429:
        return RateLimited(service, "too many requests", status=429, code=str(code))
    if status in (401, 403, 404) or status >= 500:
        return None
    return _refusal(service, status, str(_refused(body) or code))


def _refusal(service: str, status: int, cause: str) -> ApiError:
    if cause == _REPEATED:
        return Duplicate(service, "this letter was taken a moment ago", status=status, code=cause)
    if cause not in EVIDENCE:
        return RequestRejected(service, f"refused: {cause}", status=status, code=cause)
    error = ComplianceRefusal(service, f"refused: {cause}", evidence=EVIDENCE[cause], status=status)
    error.code = cause
    return error


def _refused(answer: Row) -> str | None:
    """Why the one recipient was refused."""
    failed = answer.get("failed_emails")
    return str(next(iter(failed.values()))) if isinstance(failed, Mapping) and failed else None


def hooked(body: Row) -> Iterator[Event]:
    """The events of a webhook: many for each user, or a single one.

    Raises:
        ContractError: it is neither.
    """
    if "events_by_user" not in body and "event_name" not in body:
        raise ContractError(f"{_NAME}: a webhook without events")
    users = objects(_NAME, body.get("events_by_user", [{"events": [body]}]))
    for event in (event for user in users for event in objects(_NAME, user.get("events"))):
        if event.get("event_name") == "transactional_email_status":
            # A single event may be flat.
            data = part(_NAME, event, "event_data") or event
            yield from _happened({**part(_NAME, data, "delivery_info"), **data}, "webhook")


def _happened(row: Row, source: EventSource) -> Iterator[Event]:
    word, email = str(row.get("status")), normalise_email(str(row.get("email") or ""))
    if word in QUIET or not email:
        return
    kind, bounce = EVENTS.get(word, ("unknown", None))
    refined = str(row.get("delivery_status") or "")
    if refined in UNTRIED or refined.startswith("skip_"):
        kind, bounce = "rejected", None
    elif kind == "bounced" and refined in BLOCKS:
        bounce = "block"
    at, url, job = time_of(row.get("event_time")), row.get("url") or None, row.get("job_id") or None
    yield Event(
        external_id=event_id("go", job, email, word, at, url),
        campaign_id=None,
        contact_id=None,
        email=email,
        event_type=kind,
        bounce_kind=bounce,
        occurred_at=at,
        url=url,
        is_proxy=None,
        reason=word if kind == "unknown" else refined or None,
        payload=row,
        source=source,
        message_ref=job,
        user_agent=row.get("user_agent") or None,
        ip=row.get("ip") or None,
    )
