"""What every ESP adapter offers, in both directions, and the records that cross the line.

Reading yields `MailingList`, `Campaign`, `CampaignTotals`, `Link`, `Contact` and `Event`: the columns of `raw_esp`
plus `payload`, the untouched JSON; and `Body`, the HTML of a letter, which takes most services a call of its own. An
adapter translates words and unrolls arrays; it does not interpret. A word it does not know becomes `unknown` and stays
readable in the payload. Iterators, because an answer may come by pages, by an export job that is asked for, waited for
and downloaded, or as last-state rows; the caller cannot tell and need not.

Writing returns exactly one `Outcome` for every `Record` given. An adapter whose service answers with one flag for many
rows reads back before it reports. No method can subscribe someone again, and only `send` sends mail.

What a service cannot do is left as the port has it: readers yield nothing, writers refuse every record with the reason
`UNSUPPORTED`. `lettertrail.esps.capabilities` reads from the classes which methods an adapter has of its own.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, Self

from lettertrail.clock import Clock
from lettertrail.errors import ApiError, ConfigurationError, ContractError
from lettertrail.http import Call, RestClient
from lettertrail.settings import Settings
from lettertrail.throttle import Throttle, shared_throttle

__all__ = [
    "UNSUPPORTED",
    "AccountConnection",
    "Body",
    "Call",
    "Campaign",
    "CampaignTotals",
    "CheckStep",
    "ConnectionField",
    "Contact",
    "Delivery",
    "Endpoint",
    "Esp",
    "Event",
    "Export",
    "Hook",
    "Letter",
    "Link",
    "MailingList",
    "Outcome",
    "Record",
    "Sent",
    "event_id",
    "normalise_email",
    "operator_hosts",
    "says_yes",
    "spelled_address",
    "tried",
]

ContactStatus = Literal["subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived", "unknown"]
EventType = Literal[
    "sent", "delivered", "opened", "clicked", "bounced", "rejected", "unsubscribed", "complained", "unknown"
]
"""`rejected`: the service did not even try (already suppressed, invalid, over a limit)."""
BounceKind = Literal["hard", "soft", "block"]
"""`block`: the receiving side refused for its policy or the sender's reputation, not for the mailbox."""
EventSource = Literal["poll", "snapshot", "webhook"]
"""How we know: an event row of the service, a change of a recipient's last state (derived), or a webhook."""
Status = Literal["applied", "already_ok", "rejected", "retry_pending"]
Evidence = Literal["unsubscribed", "complaint", "hard_bounce", "erased"]
"""What a refusal proves, in the words of `dim_suppression`."""
Signature = Literal["none", "hmac_sha256_time", "hmac_sha1_form", "md5_body"]
HookBody = Literal["form", "json"]
Sending = Literal["accepted", "rejected", "unknown"]

UNSUPPORTED = "the service cannot do this"


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
        return spelled_address(self.base_url or "")

    def needed_password(self, what: str = "API key") -> str:
        """The password without blanks around it.

        Raises:
            ConfigurationError: there is none; it says `what` belongs there.
        """
        password = (self.password or "").strip()
        if not password:
            raise ConfigurationError(f"connection {self.conn_id!r} has no password; put the {what} there")
        return password


@dataclass(frozen=True, slots=True)
class ConnectionField:
    """A field of the connection form beyond host, login and password: an option of the adapter."""

    name: str
    title: str
    description: str
    is_secret: bool = False


@dataclass(frozen=True, slots=True)
class MailingList:
    """An audience, address book, list or group."""

    external_id: str
    name: str | None
    status: str | None
    contacts: int | None
    """Members of any status; None when the service does not say."""
    created_at: datetime | None
    payload: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class CampaignTotals:
    """The service's own counts of one campaign. None: it does not say (which is not zero)."""

    external_id: str
    """The campaign's id."""
    sent: int | None = None
    delivered: int | None = None
    opens: int | None = None
    opened: int | None = None
    """People, once each."""
    opened_without_proxies: int | None = None
    clicks: int | None = None
    clicked: int | None = None
    bounced_hard: int | None = None
    bounced_soft: int | None = None
    bounced: int | None = None
    """Of any kind, also where the service does not split them."""
    unsubscribed: int | None = None
    complained: int | None = None
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a campaign. `external_id` comes from `event_id`."""

    external_id: str
    campaign_id: str
    url: str
    clicks: int | None
    clicked: int | None
    """People, once each."""
    payload: Mapping[str, Any] = field(repr=False)


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
class Body:
    """The HTML of a campaign's letter as it was written: merge tags not filled in, links not rewritten."""

    external_id: str
    """The campaign's id."""
    version: str
    """As long as it is the same, the letter need not be asked for again."""
    html: str | None = field(repr=False)
    """None: the letter has no HTML."""


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
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Custom fields by the service's name."""


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
    source: EventSource = "poll"
    message_ref: str | None = None
    """The service's id of this one message, or our own reference that it gave back (transactional mail)."""
    user_agent: str | None = field(default=None, repr=False)
    ip: str | None = field(default=None, repr=False)


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
    evidence: Evidence | None = None
    """Set when the refusal itself says that this person must not be mailed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a writing method sends its records, so that a plan can say what it would call."""

    call: str
    """Method and path as documented: `POST /lists/{list}`."""
    bulk: int
    """Records that go into one call."""
    splits_by_fields: bool = False
    """True when records that bring different fields go in different calls."""
    times: str | None = None
    """What the calls repeat for, where that is not known before: `address book`."""


@dataclass(frozen=True, slots=True)
class CheckStep:
    """One step of a connection check; `message` says what to do when it is not `ok`."""

    name: str
    ok: bool
    message: str


@dataclass(frozen=True, slots=True)
class Export:
    """A job the service was asked for. Holds no address and no secret: it travels through XCom."""

    kind: str
    """The adapter's own word: `contacts active`."""
    job_id: str


@dataclass(frozen=True, slots=True)
class Letter:
    """One transactional message to one person. `key` is ours: it is sent along where the service takes one."""

    key: str
    to: str = field(repr=False)
    subject: str = field(repr=False)
    sender: str
    sender_name: str | None = None
    html: str | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)
    reply_to: str | None = None
    template_id: str | None = None
    """Of the service; then `variables` fill it and html and text stay empty."""
    variables: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unsubscribe_url: str | None = field(default=None, repr=False)
    """For `List-Unsubscribe`, one click (RFC 8058) included; left out where the service takes no such header."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one `Letter`. `unknown`: no answer came, so it may be on its way; sending again may mail twice."""

    key: str
    status: Sending
    message_ref: str | None = None
    reason: str | None = None
    evidence: Evidence | None = None
    is_passing: bool = False
    """Rejected for now and not for what it is: the same letter may be taken later."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook as it came in. Header names in lower case."""

    method: str
    url: str
    """As registered with the service: behind a proxy not what the server sees."""
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Hook:
    """How one kind of webhook of a service is told from a forgery."""

    signature: Signature
    body: HookBody
    header: str | None = None
    """Lower-case name of the header that holds the signature."""
    is_optional: bool = False
    """Hooks made before the service signed have no signature; the secret in the path must do for those."""


class Esp(ABC):
    """One account of an e-mail service."""

    name: ClassVar[str]
    """Equal to the module's name."""
    hosts: ClassVar[tuple[str, ...]] = ()
    """Outbound hosts the service lives on (`*` allowed); https only."""
    title: ClassVar[str] = ""
    """As people write it: `Mailchimp`."""
    fields: ClassVar[tuple[ConnectionField, ...]] = ()
    """The options of the connection form."""
    labels: ClassVar[Mapping[str, str]] = {}
    """What host, login and password mean here, by those names; a field that is not named is hidden."""
    placeholders: ClassVar[Mapping[str, str]] = {}
    """Examples shown in empty fields, by field name."""
    hooks: ClassVar[Mapping[str, Hook]] = {}
    """Webhooks by kind: `marketing`, `transactional`. The kind is part of the address to register."""
    bulk: ClassVar[int] = 1
    """Contacts that `upsert` puts into one call."""
    calls_per_second: ClassVar[float | None] = None
    """The service's limit, shared by everything that uses the account; None when it has none."""
    connections: ClassVar[int] = 4
    """How many requests of one account may be under way at once, over all tasks."""
    guards_repeats: ClassVar[timedelta | None] = None
    """How long the service refuses a letter whose key it has seen; None where it would send it again."""
    traced_after: ClassVar[timedelta | None] = None
    """When `trace` surely finds a letter that was taken; None where a service cannot be asked."""
    sends_attributes: ClassVar[bool] = False
    """True when `add_members` sends `Record.attributes` along, also for who is a member already."""
    endpoints: ClassVar[Mapping[str, tuple[Endpoint, ...]]] = {}
    """`suppress`, `add` (with attributes), `add_bare` (without) and `remove`; what is missing is shown as unknown."""

    def __init__(
        self, *, account: str, api: RestClient, options: Mapping[str, object] | None = None, clock: Clock
    ) -> None:
        self.account = account
        self.api = api
        self.options = {name: str(value).strip() for name, value in (options or {}).items()}
        self.clock = clock
        self.exports: Sequence[Export] = ()
        """Jobs asked for earlier and ready now: the readers collect these instead of asking for new ones."""

    @classmethod
    @abstractmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The adapter for one account. `allowed_hosts` None means what LETTERTRAIL_ALLOWED_HOSTS permits.

        Raises:
            ConfigurationError: something needed is missing from the connection, or its host is not permitted.
        """

    @classmethod
    def throttle(cls, connection: AccountConnection, *, burst: int = 1) -> Throttle:
        """What holds back everything that uses the account, by the class's own limits."""
        return shared_throttle(
            f"{cls.name} {connection.conn_id}",
            max_concurrency=cls.connections,
            rate=cls.calls_per_second,
            burst=burst,
        )

    def is_on(self, option: str, *, default: bool = False) -> bool:
        """Whether an option says yes; `default` when it says nothing."""
        text = self.options.get(option, "")
        return says_yes(text) if text else default

    def days(self, option: str, text: str) -> timedelta:
        """What an option says, in whole days.

        Raises:
            ConfigurationError: `text` is no whole number; it names the option.
        """
        if not text.isdigit():
            raise ConfigurationError(f"option {option} of connection {self.account!r} must be a whole number")
        return timedelta(days=int(text))

    @abstractmethod
    def check(self) -> Iterator[CheckStep]:
        """Tries the connection step by step and stops at the first step that fails."""

    # Reading. `since` None means everything the service still knows. `until` only saves work: what happened later may
    # come too. Overlaps are free (merge on key and content), so each adapter overlaps as much as its service needs.

    def start_exports(self, since: datetime | None) -> list[Export]:
        """Asks for the jobs that the readers will need; none where answers come at once.

        A reader that finds none in `exports` asks and waits by itself.
        """
        return []

    def is_ready(self, export: Export) -> bool:
        """Whether a job is done.

        Raises:
            TemporaryApiError: it failed; it may be asked for again.
        """
        return True

    def lists(self) -> Iterator[MailingList]:
        """All lists."""
        return iter(())

    @abstractmethod
    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """Letters, with those that may have changed since `since`."""

    def totals(self, since: datetime | None) -> Iterator[CampaignTotals]:
        """The service's own counts of the letters that may have changed since `since`."""
        return iter(())

    def links(self, since: datetime | None) -> Iterator[Link]:
        """Links of the letters that may have changed since `since`."""
        return iter(())

    def bodies(self, held: Mapping[str, str]) -> Iterator[Body]:
        """The HTML of letters that went out, newest first: a call each, made when the caller asks for the next one.

        Args:
            held: campaign id → version of the bodies that need not come.
        """
        return iter(())

    @abstractmethod
    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Contacts changed since `since` less an overlap."""

    @abstractmethod
    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        """What happened since `since` less an overlap."""

    # Writing: one outcome per record. Nothing here can make a mailable contact of one who left.

    @abstractmethod
    def suppressed(self) -> Iterator[str]:
        """Normalised addresses this account already refuses to mail."""

    @abstractmethod
    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Makes the service stop mailing these; adds nobody."""

    def unsubscribe(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Records the person's own wish to leave the lists; `suppress` where the service knows no difference."""
        return self.suppress(records)

    def erase(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Deletes people for good, as the law asks; what the service keeps after that is its own matter."""
        return _refuse(records)

    def upsert(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes `attributes` (custom fields by the service's name) in bulk, subscription status untouched.

        An address the service lacks is created with the option `add_missing`, otherwise rejected.
        """
        return _refuse(records)

    def set_preferences(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes preference categories: `attributes` maps the category's name to True or False."""
        return _refuse(records)

    @abstractmethod
    def members(self, audience: str) -> Iterator[str]:
        """Normalised addresses in the audience; none when the service does not know it yet."""

    @abstractmethod
    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Puts these in the audience, creating the audience when missing."""

    @abstractmethod
    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Takes these out of the audience; they stay contacts."""

    # Transactional mail

    def send(self, letters: Sequence[Letter]) -> Iterator[Sent]:
        """Sends each letter to its one person, at most once: an unanswered call is reported and not repeated.

        Raises:
            ConfigurationError: the connection holds nothing to send with.
        """
        raise ConfigurationError(f"connection {self.account!r}: {self.name} sends no transactional mail")

    @property
    def sending(self) -> RestClient:
        """What `send` goes through."""
        return self.api

    def trace(self, letter: Letter, *, since: datetime, known: Collection[str]) -> str | None:
        """The service's id of a letter whose call had no answer; None when it does not have it, or not yet.

        Args:
            since: when the call began.
            known: ids that belong to other letters.

        Raises:
            ConfigurationError: the service cannot be asked (`traced_after` is None).
        """
        raise ConfigurationError(f"{self.name} cannot be asked for a letter")

    # Webhooks

    @classmethod
    def read_hook(cls, kind: str, delivery: Delivery) -> Iterator[Event]:
        """The events of a webhook that was verified already; `source` is `webhook`.

        Raises:
            ContractError: the body is not what the service sends.
        """
        raise ContractError(f"{cls.name} has no webhook {kind!r}")

    def calls(self) -> list[Call]:
        """The write calls made since this was last asked; paths hold no address."""
        return self.api.drain_calls()


def _refuse(records: Sequence[Record]) -> Iterator[Outcome]:
    return (Outcome(record.key, "rejected", UNSUPPORTED) for record in records)


def tried(steps: Iterable[tuple[str, Callable[[], str]]]) -> Iterator[CheckStep]:
    """A step for each name and attempt, which gives what it found; the first that fails is the last."""
    for name, attempt in steps:
        try:
            yield CheckStep(name, True, attempt())
        except (ApiError, ConfigurationError, ContractError) as error:
            yield CheckStep(name, False, str(error))
            return


def spelled_address(text: str) -> str:
    """With https:// before a bare host and no slash at the end; empty when there is none."""
    text = text.strip().rstrip("/")
    return text if not text or "://" in text else f"https://{text}"


def says_yes(text: str) -> bool:
    """How an option is switched on."""
    return text.strip().lower() in ("1", "true", "yes")


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
