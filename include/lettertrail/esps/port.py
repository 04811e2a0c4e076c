"""What every ESP adapter offers, in both directions, and the records that cross the line.

Reading yields `Campaign`, `Contact` and `Event`: the columns of `raw_esp` plus `payload`, the untouched JSON.
An adapter translates words and unrolls arrays; it does not interpret. A word it does not know becomes
`unknown` and stays readable in the payload. Iterators, because an answer may come by pages, by an export
job that is asked for, waited for and downloaded, or as last-state rows; the caller cannot tell and need not.

Writing returns exactly one `Outcome` for every `Record` given. An adapter whose service answers with one
flag for many rows reads back before it reports. No method sends mail, and none can subscribe someone again.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from lettertrail.clock import Clock
from lettertrail.http import Call, RestClient
from lettertrail.settings import Settings

__all__ = [
    "AccountConnection",
    "Call",
    "Campaign",
    "CheckStep",
    "Contact",
    "Esp",
    "Event",
    "Outcome",
    "Record",
    "event_id",
    "normalise_email",
    "operator_hosts",
]

ContactStatus = Literal["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived", "unknown"]
EventType = Literal["sent", "opened", "clicked", "bounced", "unsubscribed", "complained", "unknown"]
BounceKind = Literal["hard", "soft"]
Status = Literal["applied", "already_ok", "rejected", "retry_pending"]


@dataclass(frozen=True, slots=True)
class AccountConnection:
    """Where an account lives and how to enter it; secrets stay out of its `repr`."""

    conn_id: str
    """Also the account's name in the warehouse: `mailchimp`, `mailchimp__b2b`."""
    base_url: str | None = None
    """None means the address the service's documentation gives."""
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Options of the adapter, by name; each adapter documents its own."""

    @property
    def address(self) -> str:
        """`base_url` with https:// before a bare host and no slash at the end; empty when there is none."""
        text = (self.base_url or "").strip().rstrip("/")
        return text if not text or "://" in text else f"https://{text}"


@dataclass(frozen=True, slots=True)
class Campaign:
    """A letter sent (or about to be) to many. Times are aware UTC."""

    external_id: str
    list_id: str | None
    title: str | None
    subject: str | None
    status: str
    sent_at: datetime | None
    emails_sent: int | None
    utm_campaign: str | None
    url: str | None
    updated_at: datetime | None
    payload: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Contact:
    """An address on a list. `external_id` is `<list id>:<member id>`."""

    external_id: str
    list_id: str | None
    email: str = field(repr=False)
    status: ContactStatus
    status_reason: str | None
    opted_in_at: datetime | None
    changed_at: datetime | None
    tags: tuple[str, ...]
    payload: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to one letter of one recipient. `external_id` comes from `event_id`."""

    external_id: str
    campaign_id: str | None
    contact_id: str | None
    email: str = field(repr=False)
    event_type: EventType
    bounce_kind: BounceKind | None
    occurred_at: datetime | None
    url: str | None
    is_proxy: bool | None
    """True when the service says a mail proxy did it, None when the service does not say."""
    reason: str | None
    payload: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a push: `key` is ours and comes back in the `Outcome`."""

    key: str = field(repr=False)
    email: str = field(repr=False)
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one `Record`. `reason` is a short code or phrase without an address."""

    key: str = field(repr=False)
    status: Status
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of a connection check; `message` says what to do when it is not `ok`."""

    name: str
    ok: bool
    message: str


class Esp(ABC):
    """One account of an e-mail service."""

    name: ClassVar[str]
    """Equal to the module's name."""
    hosts: ClassVar[tuple[str, ...]] = ()
    """Outbound hosts the service lives on (`*` allowed); https only."""

    def __init__(
        self, *, account: str, api: RestClient, options: Mapping[str, object] | None = None, clock: Clock
    ) -> None:
        self.account = account
        self.api = api
        self.options = {name: str(value).strip() for name, value in (options or {}).items()}
        self.clock = clock

    @classmethod
    @abstractmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The adapter for one account. `allowed_hosts` None means what LETTERTRAIL_ALLOWED_HOSTS permits.

        Raises:
            ConfigurationError: something needed is missing from the connection, or its host is not permitted.
        """

    @abstractmethod
    def check(self) -> Iterator[CheckStep]:
        """Tries the connection step by step and stops at the first step that fails."""

    @abstractmethod
    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """Letters, with those that may have changed since `since`; None means all."""

    @abstractmethod
    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Contacts changed since `since` less an overlap; None means all."""

    @abstractmethod
    def events(self, since: datetime | None) -> Iterator[Event]:
        """What happened since `since` less an overlap; None means everything the service still knows."""

    @abstractmethod
    def suppressed(self) -> Iterator[str]:
        """Normalised addresses this account already refuses to mail."""

    @abstractmethod
    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Makes the service stop mailing these; adds nobody."""

    @abstractmethod
    def members(self, audience: str) -> Iterator[str]:
        """Normalised addresses in the audience; none when the service does not know it yet."""

    @abstractmethod
    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Puts these in the audience, creating the audience when missing."""

    @abstractmethod
    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Takes these out of the audience; they stay contacts."""

    def calls(self) -> list[Call]:
        """The write calls made since this was last asked; paths hold no address."""
        return self.api.drain_calls()


def normalise_email(address: str) -> str:
    """The spelling by which addresses are compared: no surrounding blanks, lower case."""
    return address.strip().lower()


def event_id(*parts: object) -> str:
    """The identity of an event: sha256 over its identifying parts, None kept apart from the empty text."""
    spelled = "\x1f".join("\x00" if part is None else str(part) for part in parts)
    return hashlib.sha256(spelled.encode()).hexdigest()


def operator_hosts(allowed_hosts: Sequence[str] | None) -> Sequence[str]:
    """`allowed_hosts` as given to `Esp.connect`, read from the environment when it was not given."""
    return Settings.from_env().allowed_hosts if allowed_hosts is None else allowed_hosts
