"""SendPulse: bulk mail and SMTP (transactional) API.

Docs:    https://sendpulse.com/integrations/api and the OpenAPI files under https://api.sendpulse.com/.well-known/openapi/
Limits:  10 requests a second and, by plan, 1000 to 3000 a minute; 429 or an error code inside, no Retry-After. Lists
         page by 100. At most 100 addresses to unsubscribe or delete in a call; for adding and for asking about
         addresses no number is published and 100 is used, for the blacklist 500.
Reading: contacts have neither times nor a filter for changes, so every book is read in full. What happened to a
         campaign's recipients comes by webhook only; totals come by final state. Transactional letters are listed by
         period with their opens and clicks, so those of the last `activity_days` are read again; the SMTP answer is
         their last state and has no time of its own. Times are naive, in the account's zone. A campaign's HTML is on
         its own page, asked for once after it was sent.
Writing: answers are one flag for all rows, so every write is read back, in bulk too. A book that somebody was never
         in knows nothing of his opt-out in another: this module never puts anyone into a book who left another one,
         and writes variables of those who left by the call that cannot add. Tags cannot be read back and pinning
         them is one call an address, so an audience is an address book named `LetterTrail <audience>`; whoever left
         that book stays in it. Suppressing opts out of every book and adds to the blacklist, which also covers books
         to come; unsubscribing does only the first.
Sending: no own headers and so no List-Unsubscribe, no idempotency key.
Options: `timezone` (of the account; UTC), `list_id` (the only book to write variables to, and where people are
         created), `add_missing` (true: create contacts the account lacks; needs `list_id`), `smtp` (false: leave
         transactional mail alone), `activity_days` (how long a transactional letter is asked for news; 7).
"""

from __future__ import annotations

import base64
import html
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Self

from lettertrail.bulk import Verdict, attributes_of, outcomes, push, push_then_check, strongest, targets
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ContractError,
    Duplicate,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps._rows import Row
from lettertrail.esps._sending import unsent
from lettertrail.esps._sendpulse_rows import (
    UNSENT,
    Place,
    body_of,
    bounce,
    campaign,
    contact,
    hook_event,
    letter_events,
    link,
    mailing_list,
    number,
    place,
    row_id,
    same,
    smtp_opt_out,
    text_of,
    totals,
    writable,
)
from lettertrail.esps._sendpulse_token import ClientToken
from lettertrail.esps._times import local, zone_of
from lettertrail.esps._webhooks import rows_of
from lettertrail.esps.port import (
    AccountConnection,
    Body,
    Campaign,
    CampaignTotals,
    CheckStep,
    ConnectionField,
    Contact,
    Delivery,
    Endpoint,
    Esp,
    Event,
    Hook,
    Letter,
    Link,
    MailingList,
    Outcome,
    Record,
    Sent,
    normalise_email,
    operator_hosts,
    tried,
)
from lettertrail.http import Answer, BearerAuth, OffsetPaging, RestClient, RetryPolicy

log = logging.getLogger(__name__)

ADDRESS = "https://api.sendpulse.com"
BULK = 100
BLACKLIST_BULK = 500
PATIENCE = RetryPolicy(attempts=20, budget=900.0)
"""A push asks before it writes and again after: giving up early would throw all of that away."""
PAGING = OffsetPaging(size=100, size_param="limit", total_field=None)
OVERLAP = timedelta(days=1)
CLOCKS_APART = timedelta(minutes=2)
CAMPAIGN_NEWS = timedelta(days=90)
"""How long after its sending a campaign is asked for totals."""
SHELF = "LetterTrail "
"""How the names of our own address books begin."""
NOT_THERE = "not in any address book"
NO_SMTP = "no transactional mail"
COMMENT = "suppressed by LetterTrail"

_NOT_FOUND = frozenset({"213", "299", "502", "802"})
_DONE_ALREADY = frozenset({"203", "904"})
_NOTHING_DONE = frozenset({None, "303"})
"""`{result: false}` without a code, and: none of these addresses can be used."""
_TOO_FAST = "2020202020"
_NOT_IN_THE_PLAN = "3030303030"


class SendPulse(Esp):
    """One SendPulse account."""

    name = "sendpulse"
    title = "SendPulse"
    hosts = ("api.sendpulse.com",)
    labels: ClassVar[Mapping[str, str]] = {
        "host": "API address (only when it is another)",
        "login": "API ID (empty with a static API key)",
        "password": "API secret or static API key",
    }
    placeholders: ClassVar[Mapping[str, str]] = {
        "host": ADDRESS,
        "login": "0123456789abcdef0123456789abcdef",
        "timezone": "Europe/Kyiv",
        "activity_days": "7",
    }
    fields = (
        ConnectionField("timezone", "Time zone", "The zone in the account's settings: SendPulse's times have none."),
        ConnectionField("list_id", "Address book", "The only book to write variables to and to create contacts in."),
        ConnectionField("add_missing", "Add missing", "true: create contacts that a segment names and no book has."),
        ConnectionField("smtp", "Transactional mail", "false: do not read the SMTP service."),
        ConnectionField("activity_days", "Days of activity", "How long a transactional letter is asked for news."),
    )
    hooks: ClassVar[Mapping[str, Hook]] = {"marketing": Hook("none", "json"), "transactional": Hook("none", "json")}
    bulk = BULK
    calls_per_second = 9.0  # below the hard limit of 10, because calls bunch on their way
    sends_attributes = True
    endpoints: ClassVar[Mapping[str, tuple[Endpoint, ...]]] = {
        "suppress": (
            Endpoint("POST /addressbooks/{book}/emails/unsubscribe", BULK, times="address book"),
            Endpoint("POST /blacklist", BLACKLIST_BULK),
        ),
        "add": (Endpoint("POST /addressbooks/{book}/emails", BULK),),
        "add_bare": (Endpoint("POST /addressbooks/{book}/emails", BULK),),
        "remove": (Endpoint("DELETE /addressbooks/{book}/emails", BULK),),
    }
    traced_after = timedelta(minutes=15)

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The adapter for one account: login and password are the API id and secret, or a static key alone.

        Raises:
            ConfigurationError: no password, an unknown time zone, or a host that is not permitted.
        """
        secret, client_id = connection.needed_password("API secret"), (connection.login or "").strip()
        open_client = partial(
            RestClient,
            connection.address or ADDRESS,
            service=cls.name,
            hosts=cls.hosts,
            allowed_hosts=operator_hosts(allowed_hosts),
            classify=_judge,
            retry=PATIENCE,
            throttle=cls.throttle(connection),
            clock=clock,
        )
        auth = ClientToken(open_client(), client_id, secret) if client_id else BearerAuth(secret)
        return cls(account=connection.conn_id, api=open_client(auth=auth), options=connection.extra, clock=clock)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.zone = zone_of(self.options.get("timezone") or "UTC", self.account)

    def check(self) -> Iterator[CheckStep]:
        """Four steps: the key, the address books, the blacklist, the transactional service."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("key", self._describe_key),
            ("address books", self._describe_books),
            ("blacklist", self._describe_blacklist),
            ("transactional mail", self._describe_smtp),
        )
        with self.api.hurried():
            yield from tried(steps)

    # Reading

    def lists(self) -> Iterator[MailingList]:
        """All address books, our own included."""
        return (mailing_list(row, self.zone) for row in self._books())

    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """All e-mail campaigns, whatever `since`: old ones change without a trace."""
        return (campaign(row, self.zone) for row in self._campaign_rows())

    def totals(self, since: datetime | None) -> Iterator[CampaignTotals]:
        """Counts of the campaigns sent in the last `activity_days` before `since`."""
        for row in self._fresh_campaigns(since):
            detail = self.api.get(f"/campaigns/{row['id']}")
            yield totals(row, detail if isinstance(detail, Mapping) else {})

    def links(self, since: datetime | None) -> Iterator[Link]:
        """Links of the same campaigns."""
        for row in self._fresh_campaigns(since):
            referrals = self.api.get(f"/campaigns/{row['id']}/referrals")
            yield from (link(str(row["id"]), one) for one in referrals or ())

    def bodies(self, held: Mapping[str, str]) -> Iterator[Body]:
        """The HTML of sent campaigns, which is on a campaign's own page alone."""
        for row in reversed(list(self._fresh_campaigns(None))):
            if held.get(text_of(row, "id")) == str(row.get("send_date")):
                continue
            try:
                detail = self.api.get(f"/campaigns/{row['id']}")
            except NotFound:  # deleted while we read
                continue
            yield body_of(row, detail)

    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Everybody in every book, whatever `since`: nothing says when a contact changed."""
        for book in self._books():
            words: Counter[str] = Counter()
            for row in self._book_rows(str(book["id"])):
                found = contact(row, str(book["id"]))
                words[found.status] += 1
                yield found
            log.info("sendpulse contacts read=%d unknown=%d book=%s", words.total(), words["unknown"], book["id"])

    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        """What happened to transactional letters; campaigns tell by webhook only."""
        if not self.is_on("smtp", default=True):
            return
        words: Counter[str] = Counter()
        try:
            for event in self._smtp_events(since, until or self.clock()):
                words["undated" if event.occurred_at is None else event.event_type] += 1
                yield event
        except RequestRejected as refused:
            if refused.code != NO_SMTP:
                raise
            log.info("sendpulse: the account has %s", NO_SMTP)
        read, unknown, undated = words.total(), words["unknown"], words["undated"]
        log.info("sendpulse events read=%d unknown=%d undated=%d", read, unknown, undated)

    def _smtp_events(self, since: datetime | None, until: datetime) -> Iterator[Event]:
        period = {"to": str(self._day(until) + timedelta(days=1))}
        if since is not None:
            period["from"] = str(self._day(since - self._activity_window()))
        bounced: set[str] = set()
        first = self._day(until)
        for row in self.api.pages("/smtp/emails", rows=None, key=row_id, params=period, paging=PAGING):
            for event in letter_events(row, self.zone):
                if event.event_type == "bounced":
                    bounced.add(event.external_id)
                if event.occurred_at is not None:
                    first = min(first, self._day(event.occurred_at))
                yield event
        if since is not None:
            first = self._day(since - OVERLAP)
        for row in self._bounces(first, self._day(until)):
            event = bounce(row, self.zone)
            if event.external_id not in bounced:
                yield event
        for row in self._opt_outs(None if since is None else first, self._day(until)):
            yield smtp_opt_out(row, self.zone)

    def _bounces(self, first: date, last: date) -> Iterator[Row]:
        for day in _days(first, last):
            params = {"date": str(day)}
            yield from self.api.pages("/smtp/bounces/day", rows="emails", key=_bounce_key, params=params, paging=PAGING)

    def _opt_outs(self, first: date | None, last: date) -> Iterator[Row]:
        for day in [None] if first is None else _days(first, last):
            params = {} if day is None else {"date": str(day)}
            yield from self.api.pages("/smtp/unsubscribe", rows=None, key=_opt_out_key, params=params, paging=PAGING)

    def suppressed(self) -> Iterator[str]:
        """The blacklist, and whoever may be mailed through none of his books."""
        mailable: set[str] = set()
        refused: set[str] = set()
        for book in self._books():
            for row in self._book_rows(str(book["id"])):
                found = contact(row, str(book["id"]))
                (mailable if Place(found.status, {}).is_mailable else refused).add(found.email)
        yield from sorted((refused - mailable) | self._blacklisted())

    def members(self, audience: str) -> Iterator[str]:
        """Addresses in the audience's book that may be mailed there."""
        book = self._book_named(SHELF + audience)
        if book is not None:
            found = (contact(row, book) for row in self._book_rows(book))
            yield from (one.email for one in found if Place(one.status, {}).is_mailable)

    # Writing

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Opts out of every book and then adds to the blacklist; who is in no book is left alone."""
        yield from outcomes("sendpulse suppress", records, self._stop(targets(records), for_good=True))

    def unsubscribe(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Opts out of every book; transactional mail goes on."""
        yield from outcomes("sendpulse unsubscribe", records, self._stop(targets(records), for_good=False))

    def erase(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Adds to the blacklist and then deletes from every book, one call a person.

        The service forgets opt-outs with the contact: only the blacklist keeps the next import from mailing him.
        """
        yield from outcomes("sendpulse erase", records, self._erase(targets(records)))

    def upsert(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes variables in every book that has the person, or in that of option `list_id` only."""
        emails, attributes = targets(records), attributes_of(records)
        yield from outcomes("sendpulse upsert", records, self._upsert(emails, attributes) if emails else ())

    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Adds to the audience's book, attributes as its variables."""
        emails, attributes = targets(records), attributes_of(records)
        yield from outcomes("sendpulse add", records, self._add(audience, emails, attributes) if emails else ())

    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Takes out of the audience's book; whoever left that book stays, or his opt-out would be forgotten."""
        emails = targets(records)
        yield from outcomes("sendpulse remove", records, self._remove(audience, emails) if emails else ())

    def _stop(self, emails: Sequence[str], *, for_good: bool) -> Iterator[tuple[str, Verdict]]:
        standing = self._standing(emails)
        to_stop: dict[str, list[str]] = {}
        for email in emails:
            books = [book for book, there in standing.get(email, {}).items() if there.is_mailable]
            if not books:
                yield email, ("already_ok", _why_not(standing.get(email)))
            for book in books:
                to_stop.setdefault(book, []).append(email)
        stages = [dict(self._leave(book, inside)) for book, inside in to_stop.items()]
        verdicts = _together(stages)
        if for_good:
            gone = [email for email, verdict in verdicts.items() if verdict[0] == "applied"]
            verdicts = _together([verdicts, dict(self._blacklist(gone))])
        yield from verdicts.items()

    def _leave(self, book: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            return self._write("POST", f"/addressbooks/{book}/emails/unsubscribe", {"emails": list(bulk)}, bulk)

        def settled(bulk: Sequence[str]) -> set[str]:
            now = self._standing(bulk)
            return {email for email in bulk if not _may_mail(now.get(email, {}).get(book))}

        yield from push(emails, send, settled, bulk=BULK, unmentioned="applied", otherwise="still subscribed")

    def _blacklist(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            encoded = base64.b64encode(",".join(bulk).encode()).decode()
            refusals = self._write("POST", "/blacklist", {"emails": encoded, "comment": COMMENT}, bulk)
            # The list has no way to look somebody up, so the flag is believed here.
            return refusals or dict.fromkeys(bulk, ("applied", None))

        def settled(bulk: Sequence[str]) -> set[str]:
            return set(bulk) & self._blacklisted()

        yield from push(
            emails, send, settled, bulk=BLACKLIST_BULK, unmentioned="applied", otherwise="not on the blacklist"
        )

    def _erase(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        standing = self._standing(emails)
        yield from ((email, ("already_ok", NOT_THERE)) for email in emails if email not in standing)

        def send(one: Sequence[str]) -> dict[str, Verdict]:
            try:
                self.api.delete("/emails/{email}", fill={"email": one[0]}, idempotent=True, records=1)
            except NotFound:
                log.info("sendpulse erase: somebody was deleted meanwhile")
            return {}

        def settled(gone: Sequence[str]) -> set[str]:
            return set(gone) - set(self._standing(gone))

        barred = dict(self._blacklist([email for email in emails if email in standing]))
        yield from ((email, verdict) for email, verdict in barred.items() if verdict[0] != "applied")
        known = [email for email, verdict in barred.items() if verdict[0] == "applied"]
        yield from push_then_check(known, send, settled, bulk=1, otherwise="still there")

    def _upsert(
        self, emails: Sequence[str], attributes: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, Verdict]]:
        standing = self._standing(emails)
        only = self.options.get("list_id")
        to_add: dict[str, list[str]] = {}
        to_change: dict[str, list[str]] = {}
        absent: list[str] = []
        for email in emails:
            places = {book: there for book, there in standing.get(email, {}).items() if only in (None, "", book)}
            if not places:
                absent.append(email)
            elif not attributes.get(email):
                yield email, ("already_ok", "nothing to write")
            else:
                for book, there in places.items():
                    (to_add if there.is_mailable else to_change).setdefault(book, []).append(email)
        stages = [dict(self._put(book, inside, attributes, standing)) for book, inside in to_add.items()]
        stages += [
            dict(self._put(book, inside, attributes, standing, is_adding=False)) for book, inside in to_change.items()
        ]
        yield from _together(stages).items()
        yield from self._create(absent, attributes, standing)

    def _add(
        self, audience: str, emails: Sequence[str], attributes: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, Verdict]]:
        standing = self._standing(emails)
        there: list[str] = []
        absent: list[str] = []
        for email in emails:
            places = standing.get(email, {})
            if not places:
                absent.append(email)
            elif all(one.is_mailable for one in places.values()):
                there.append(email)
            else:
                # A choice made in one book is not known in the next; we hold on to it for him. It proves nothing
                # new, for an opt-out that we wrote ourselves looks the same.
                yield email, ("rejected", _why_not(places))
        for email, verdict in self._create(absent, {}, standing):
            if verdict[0] == "applied":
                there.append(email)
            else:
                yield email, verdict
        if there:
            book = self._book_named(SHELF + audience) or self._create_book(SHELF + audience)
            yield from self._put(book, there, attributes, standing)

    def _create(
        self,
        absent: Sequence[str],
        attributes: Mapping[str, Mapping[str, Any]],
        standing: Mapping[str, Mapping[str, Place]],
    ) -> Iterator[tuple[str, Verdict]]:
        """Creates contacts in the book of option `list_id`, when the account is allowed to."""
        home = self.options.get("list_id")
        if not absent or not self.is_on("add_missing", default=False):
            missing = NOT_THERE if not home else "not in the address book"
            yield from ((email, ("rejected", missing)) for email in absent)
            return
        if not home:
            raise ConfigurationError(
                f"connection {self.account!r}: add_missing needs the address book for new contacts in option list_id"
            )
        refused = self._blacklisted()
        yield from ((email, ("rejected", "blacklisted")) for email in absent if email in refused)
        # Known in another book and gone from it: the new book would not know.
        left = {email for email in absent if not all(one.is_mailable for one in standing.get(email, {}).values())}
        yield from ((email, ("rejected", _why_not(standing[email]))) for email in left if email not in refused)
        new = [email for email in absent if email not in refused and email not in left]
        yield from self._put(home, new, attributes, standing)

    def _put(
        self,
        book: str,
        emails: Sequence[str],
        attributes: Mapping[str, Mapping[str, Any]],
        standing: Mapping[str, Mapping[str, Place]],
        *,
        is_adding: bool = True,
    ) -> Iterator[tuple[str, Verdict]]:
        """Writes to a book whatever is not there yet, variables included.

        In bulk that is adding again. Those who may not be mailed are changed one by one instead (`is_adding` False),
        by the call that knows no way to add.
        """
        wanted = {
            email: {name: writable(value) for name, value in attributes.get(email, {}).items()} for email in emails
        }

        def is_done(email: str, places: Mapping[str, Place]) -> bool:
            return book in places and same(places[book].variables, wanted[email])

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            if not is_adding:
                return self._write("POST", f"/addressbooks/{book}/emails/variable", _change(bulk[0], wanted), bulk)
            contacts = [{"email": email, "variables": wanted[email]} for email in bulk]
            return self._write("POST", f"/addressbooks/{book}/emails", {"emails": contacts}, bulk)

        def settled(bulk: Sequence[str]) -> set[str]:
            now = self._standing(bulk)
            return {email for email in bulk if is_done(email, now.get(email, {}))}

        done = {email for email in emails if is_done(email, standing.get(email, {}))}
        yield from ((email, ("already_ok", None)) for email in done)
        todo = [email for email in emails if email not in done]
        ignored = "the service did not take it"
        if is_adding:
            yield from push(todo, send, settled, bulk=BULK, unmentioned="applied", otherwise=ignored)
        else:
            yield from push_then_check(todo, send, settled, bulk=1, otherwise=ignored)

    def _remove(self, audience: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        book = self._book_named(SHELF + audience)
        if book is None:
            yield from ((email, ("already_ok", "no such audience")) for email in emails)
            return
        standing = self._standing(emails)
        inside: list[str] = []
        for email in emails:
            there = standing.get(email, {}).get(book)
            if there is None:
                yield email, ("already_ok", "not in the audience")
            elif not there.is_mailable:
                yield email, ("already_ok", _why_not({book: there}))
            else:
                inside.append(email)

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            return self._write("DELETE", f"/addressbooks/{book}/emails", {"emails": list(bulk)}, bulk)

        def settled(bulk: Sequence[str]) -> set[str]:
            now = self._standing(bulk)
            return {email for email in bulk if book not in now.get(email, {})}

        yield from push(inside, send, settled, bulk=BULK, unmentioned="applied", otherwise="still in the audience")

    def _write(self, method: str, path: str, body: Row, bulk: Sequence[str]) -> dict[str, Verdict]:
        """A write that may be repeated. What the one flag of the answer means is left to reading back.

        Raises:
            NotFound: the address book is gone.
        """
        try:
            self.api.request(method, path, json=body, idempotent=True, records=len(bulk))
        except NotFound:
            raise
        except RequestRejected as refused:
            if not isinstance(refused, Duplicate) and refused.code not in _NOTHING_DONE:
                return dict.fromkeys(bulk, ("rejected", f"code {refused.code}"))
        return {}

    # Transactional mail

    def send(self, letters: Sequence[Letter]) -> Iterator[Sent]:
        """One call a letter. `headers`, `tags` and `unsubscribe_url` are left out: the service takes none.

        Raises:
            AuthenticationError: the key was refused; the letters not yet reported were not sent.
        """
        for letter in letters:
            if not (letter.html or letter.text or letter.template_id):
                yield Sent(letter.key, "rejected", reason="nothing to send")
                continue
            try:
                answer = self.api.post("/smtp/emails", json={"email": _spelled(letter)}, records=1)
            except ApiError as error:
                yield unsent(letter, error, {})
            else:
                ref = answer.get("id") if isinstance(answer, Mapping) else None
                yield Sent(letter.key, "accepted", message_ref=str(ref) if ref else None)

    def trace(self, letter: Letter, *, since: datetime, known: Collection[str]) -> str | None:
        """No key comes back: the first letter to the same person with the same subject that is no other's."""
        days = {"from": str(self._day(since - OVERLAP)), "to": str(self._day(self.clock()) + timedelta(days=1))}
        params = {"recipient": letter.to, **days}
        rows = self.api.pages("/smtp/emails", rows=None, key=row_id, params=params, paging=PAGING)
        for row in sorted(rows, key=lambda row: str(row.get("send_date"))):
            times = [event.occurred_at for event in letter_events(row, self.zone) if event.event_type == "sent"]
            is_later = any(at is None or at >= since - CLOCKS_APART for at in times)
            if row.get("subject") == letter.subject and is_later and str(row["id"]) not in known:
                return str(row["id"])
        return None

    @classmethod
    def read_hook(cls, kind: str, delivery: Delivery) -> Iterator[Event]:
        """Both kinds come as an array of events; news of books and campaigns are passed over.

        Raises:
            ContractError: the body is not what the service sends.
        """
        if kind not in cls.hooks:
            raise ContractError(f"{cls.name} has no webhook {kind!r}")
        yield from filter(None, map(hook_event, rows_of(cls.name, delivery.body)))

    # Where things are

    def _books(self) -> Iterator[Row]:
        rows = self.api.pages("/addressbooks", rows=None, key=row_id, paging=PAGING)
        return (row for row in rows if number(row.get("status")) != 1)  # 1: deleted

    def _book_rows(self, book: str) -> Iterator[Row]:
        """Contacts of a book, in the order they came; phones without an address are passed over."""
        path = f"/addressbooks/{book}/emails"
        rows = self.api.pages(path, rows=None, key=_email_key, params={"order": "asc"}, paging=PAGING)
        return (row for row in rows if row.get("email"))

    def _book_named(self, name: str) -> str | None:
        return next((str(book["id"]) for book in self._books() if book.get("name") == name), None)

    def _create_book(self, name: str) -> str:
        try:
            return text_of(self.api.post("/addressbooks", json={"bookName": name}), "id")
        except (TemporaryApiError, Duplicate):
            # It may have been made before the answer was lost.
            made = self._book_named(name)
            if made is None:
                raise
            return made

    def _campaign_rows(self) -> Iterator[Row]:
        rows = self.api.pages("/campaigns", rows=None, key=row_id, params={"order": "asc"}, paging=PAGING)
        return (row for row in rows if not (row.get("is_sms") or row.get("is_viber")))

    def _fresh_campaigns(self, since: datetime | None) -> Iterator[Row]:
        for row in self._campaign_rows():
            found = campaign(row, self.zone)
            is_old = since is not None and found.sent_at is not None and found.sent_at < since - CAMPAIGN_NEWS
            if found.status not in UNSENT and not is_old:
                yield row

    def _standing(self, emails: Sequence[str]) -> dict[str, dict[str, Place]]:
        """Address → book → how it stands there; without those no book has."""
        found: dict[str, dict[str, Place]] = {}
        for start in range(0, len(emails), BULK):
            part = list(emails[start : start + BULK])
            answer = self.api.post("/emails", json={"emails": part}, write=False)
            for address, rows in answer.items() if isinstance(answer, Mapping) else ():
                books = dict(place(row) for row in rows or ())
                if books:
                    found[normalise_email(address)] = books
        return found

    def _blacklisted(self) -> set[str]:
        rows = self.api.pages("/blacklist", rows=None, key=str, paging=PAGING)
        return {normalise_email(str(address)) for address in rows}

    def _describe_key(self) -> str:
        self.api.get("/addressbooks", params={"limit": 1})
        return f"accepted; times are read in {self.zone.key}"

    def _describe_books(self) -> str:
        books = [str(book["id"]) for book in self._books()]
        home = self.options.get("list_id")
        if home and home not in books:
            raise ConfigurationError(f"option list_id of connection {self.account!r} names no address book")
        return f"address books: {len(books)}"

    def _describe_blacklist(self) -> str:
        self.api.get("/blacklist", params={"limit": 1})
        return "readable"

    def _describe_smtp(self) -> str:
        if not self.is_on("smtp", default=True):
            return "left alone by option smtp"
        try:
            answer = self.api.get("/smtp/emails/total")
        except RequestRejected as refused:
            if refused.code != NO_SMTP:
                raise
            return f"the account has {NO_SMTP}"
        return f"letters so far: {answer.get('total') if isinstance(answer, Mapping) else 'not said'}"

    def _activity_window(self) -> timedelta:
        return self.days("activity_days", self.options.get("activity_days") or "7")

    def _day(self, moment: datetime) -> date:
        return local(moment, self.zone).date()


def _judge(answer: Answer) -> ApiError | None:
    """Names a refusal by its code, also behind a 200; the message is left out, it may hold the address."""
    body = answer.body if isinstance(answer.body, Mapping) else {}
    code, said = str(body.get("error_code") or ""), str(body.get("message") or "").lower()
    is_refused = bool(body.get("is_error")) or body.get("result") is False or body.get("success") is False
    if answer.status < 400 and not is_refused:
        return None
    if answer.status == 401 or code == "401" or body.get("error") == "invalid_client":
        return AuthenticationError(answer.service, "the key was refused; renew it in the connection", status=401)
    if code == _TOO_FAST:  # whatever its HTTP status, it was not carried out
        return RateLimited(answer.service, "too many requests", status=429, code=code)
    if answer.status >= 500 or answer.status in (408, 429) or (answer.status == 403 and code != _NOT_IN_THE_PLAN):
        return None
    if code == _NOT_IN_THE_PLAN or "smtp user" in said or "tariff" in said:
        code = NO_SMTP if code != _NOT_IN_THE_PLAN else "not in the plan"
    kind = RequestRejected
    if code in _NOT_FOUND or answer.status == 404:
        kind = NotFound
    elif code in _DONE_ALREADY or "active emails" in said:
        kind = Duplicate
    return kind(answer.service, f"refused, code {code or 'none'}", status=answer.status, code=code or None)


def _spelled(letter: Letter) -> dict[str, Any]:
    """The letter as `POST /smtp/emails` takes it: html and text together, or a template."""
    email: dict[str, Any] = {
        "subject": letter.subject,
        "from": {"name": letter.sender_name or letter.sender, "email": letter.sender},
        "to": [{"name": "", "email": letter.to}],
    }
    if letter.reply_to:
        email["reply_to"] = {"name": "", "email": letter.reply_to}
    if letter.template_id:
        return email | {"template": {"id": letter.template_id, "variables": dict(letter.variables)}}
    page = letter.html or f"<pre>{html.escape(letter.text or '')}</pre>"
    return email | {
        "html": base64.b64encode(page.encode()).decode(),
        "text": letter.text or "",
        "auto_plain_text": not letter.text,
    }


def _change(email: str, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One contact's variables as the call for a single contact takes them."""
    variables = [
        {"name": name, "type": "string" if isinstance(value, str) else "number", "value": value}
        for name, value in wanted[email].items()
    ]
    return {"email": email, "variables": variables}


def _together(stages: Sequence[Mapping[str, Verdict]]) -> dict[str, Verdict]:
    """One verdict a target where several books, or the blacklist, had one each."""
    emails = dict.fromkeys(email for stage in stages for email in stage)
    return {
        email: strongest([stage[email] for stage in stages if email in stage], weakest_reason=NOT_THERE)
        for email in emails
    }


def _may_mail(there: Place | None) -> bool:
    return there is not None and there.is_mailable


def _why_not(places: Mapping[str, Place] | None) -> str:
    """The word of the book that speaks against mailing."""
    words = [there.word for there in (places or {}).values() if not there.is_mailable]
    return words[0] if words else NOT_THERE


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def _email_key(row: Row) -> object:
    return row["email"], row.get("phone")


def _bounce_key(row: Row) -> object:
    return row["email_to"], row.get("send_date"), row.get("subject")


def _opt_out_key(row: Row) -> object:
    return row["email"], row.get("date")
