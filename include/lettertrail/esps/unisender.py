"""UniSender (classic API; Selzy is the same service under another name), with UniSender Go for single letters.

Docs:    https://www.unisender.com/en/support/api/
Limits:  1200 calls a minute for a key, and fewer for an address (300 in one place of the docs, so 5 a second here);
         20 exports a minute; imports of at most 500 rows.
Reading: every answer is 200; the body says whether it is an error. Contacts come by exports alone, one for each status,
         always in full: there is no filter by time. Recipients have a last state and no history, so events are derived
         (see `_unisender_rows`); clicks have rows of their own. Totals do not split bounces: those are counted.
         A letter's HTML is that of the message it sent (`getMessage`), asked for once.
Writing: imports name the rows they refuse. A status is written only to unsubscribe, and nothing here can undo that.
         An audience is a tag: unlike a list it says nothing about who may be mailed, and an export reads it back. A tag
         is taken off by writing the others anew, so a tag given in that very moment is lost.
Sending: single letters go through UniSender Go, whose deny list counts as suppression then: suppressing fills it, one
         address a call, and its event dumps are read. `List-Unsubscribe` needs leave of its support.
Options: `list_id` (the list that new contacts join), `add_missing` (true: create contacts a segment names),
         `add_fields` (true: create a field for an attribute without one),
         `activity_days` (how long after its sending a letter is asked for news; 30), `transactional_key`,
         `transactional_host` and `list_unsubscribe` (UniSender Go, see `_unisender_go`).
"""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

from lettertrail.bulk import Verdict, attributes_of, names_beyond, outcomes, push, push_then_check, strongest, targets
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ContractError,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps._rows import Row
from lettertrail.esps._unisender_go import HOSTS as GO_HOSTS
from lettertrail.esps._unisender_go import UnisenderGo
from lettertrail.esps._unisender_go import hooked as go_hooked
from lettertrail.esps._unisender_rows import (
    COLUMNS,
    REFUSED,
    STATUSES,
    UNSENT,
    body_of,
    body_version,
    campaign,
    clicked,
    contacts,
    happened,
    hooks_of,
    links,
    mailing_list,
    need,
    sent_at,
    spelled,
    table,
    tags_of,
    totals,
)
from lettertrail.esps._webhooks import rows_of, unpacked
from lettertrail.esps.port import (
    AccountConnection,
    Body,
    Call,
    Campaign,
    CampaignTotals,
    CheckStep,
    ConnectionField,
    Contact,
    Delivery,
    Endpoint,
    Esp,
    Event,
    Export,
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
from lettertrail.http import Answer, RestClient, RetryPolicy
from lettertrail.throttle import Throttle, shared_throttle

log = logging.getLogger(__name__)

BULK = 500
CAMPAIGNS = 10_000
CAMPAIGN_OVERLAP = 10
LOOKUPS = 20
"""Up to so many addresses are looked up one by one; more are found by exporting everybody."""
ONE_BY_ONE = 50
"""Up to so many people are unsubscribed by a call each, which the service books as their own wish."""
EVENT_OVERLAP = timedelta(days=1)
EXPORT_WAITS = (1.0, 2.0, 5.0, 10.0, *(30.0,) * 120)
"""Seconds between two questions about an export: an hour in all."""
EXPORT_RATE, EXPORT_BURST = 9 / 60, 10
"""A full burst and a minute of refills stay below the 20 exports of any 60 seconds."""
PATIENCE = RetryPolicy(attempts=14, budget=900.0)
"""Half of all requests may fail for a while, and a push is hundreds of them."""
NOT_THERE = "not in the account"
CONTACTS = "contacts "
GO_EVENTS = "transactional events"

Found = TypeVar("Found")
Form = Sequence[tuple[str, str]]


class Unisender(Esp):
    """One UniSender account."""

    name = "unisender"
    hosts = ("*.unisender.com", "*.selzy.com", *GO_HOSTS)
    title = "UniSender"
    labels: ClassVar[Mapping[str, str]] = {"host": "API address (optional)", "password": "API key"}
    placeholders: ClassVar[Mapping[str, str]] = {
        "host": "https://api.unisender.com/ru/api",
        "activity_days": "30",
        "transactional_host": "go1.unisender.ru",
    }
    fields = (
        ConnectionField("list_id", "List", "Number of the list that new contacts join."),
        ConnectionField("add_missing", "Add missing contacts", "true: create contacts that a segment names."),
        ConnectionField("add_fields", "Add missing fields", "true: create a text field for an attribute without one."),
        ConnectionField("activity_days", "Days of activity", "How long after its sending a letter is asked for news."),
        ConnectionField("transactional_key", "Transactional key", "UniSender Go's API key, for single letters.", True),
        ConnectionField("transactional_host", "Transactional address", "UniSender Go's server."),
        ConnectionField("list_unsubscribe", "List-Unsubscribe", "true: the support has allowed the header."),
    )
    hooks: ClassVar[Mapping[str, Hook]] = {
        "marketing": Hook("md5_body", "json"),
        "transactional": Hook("md5_body", "json"),
    }
    bulk = BULK
    calls_per_second = 5.0
    connections = 4
    sends_attributes = True
    endpoints: ClassVar[Mapping[str, tuple[Endpoint, ...]]] = {
        "suppress": (Endpoint("POST importContacts", BULK),),
        "add": (Endpoint("POST importContacts", BULK, splits_by_fields=True),),
        "add_bare": (Endpoint("POST importContacts", BULK),),
        "remove": (Endpoint("POST importContacts", BULK),),
    }
    guards_repeats = timedelta(minutes=1)

    def __init__(
        self,
        *,
        account: str,
        api: RestClient,
        options: Mapping[str, object] | None = None,
        clock: Clock,
        key: str,
        export_throttle: Throttle,
        go: UnisenderGo | None = None,
    ) -> None:
        """`key` goes into every form, `export_throttle` holds back exports, `go` sends single letters."""
        super().__init__(account=account, api=api, options=options, clock=clock)
        self._key = key
        self.export_throttle = export_throttle
        self.go = go

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The adapter for one account: password = API key.

        Raises:
            ConfigurationError: no key, or a host that is not permitted.
        """
        key = connection.needed_password()
        base_url = connection.address or "https://api.unisender.com"
        if not urlsplit(base_url).path:
            base_url += "/en/api" if "selzy" in base_url else "/ru/api"
        api = RestClient(
            base_url,
            service=cls.name,
            hosts=cls.hosts,
            allowed_hosts=operator_hosts(allowed_hosts),
            classify=_judge,
            retry=PATIENCE,
            throttle=cls.throttle(connection, burst=5),
            clock=clock,
        )
        return cls(
            account=connection.conn_id,
            api=api,
            options=connection.extra,
            clock=clock,
            key=key,
            export_throttle=shared_throttle(
                f"{cls.name} {connection.conn_id} exports", rate=EXPORT_RATE, burst=EXPORT_BURST
            ),
            go=UnisenderGo.connect(connection, clock=clock, allowed_hosts=allowed_hosts),
        )

    def _ask(
        self, method: str, form: Form = (), *, write: bool = False, idempotent: bool = False, records: int = 0
    ) -> Any:
        """One call. Reading goes by POST too, so that the key is in no URL."""
        answer = self.api.post(
            f"/{method}",
            params={"format": "json"},
            form=[("api_key", self._key), *form],
            write=write,
            idempotent=idempotent,
            records=records,
        )
        if not isinstance(answer, Mapping) or "result" not in answer:
            raise ContractError(f"unisender: the answer of {method} has no result")
        return answer["result"]

    # Reading

    def check(self) -> Iterator[CheckStep]:
        """The service answers to the key, the list for new contacts, and the transactional key if there is one."""
        steps: list[tuple[str, Callable[[], str]]] = [
            ("key", lambda: f"lists: {len(self._ask('getLists'))}"),
            ("fields", lambda: f"own fields: {len(self._own_fields())}"),
        ]
        if self.options.get("list_id"):
            steps.append(("list", lambda: f"new contacts join list {self._one_list()}"))
        if self.go:
            steps.append(("transactional key", self.go.ping))
        yield from tried(steps)

    def start_exports(self, since: datetime | None) -> list[Export]:
        """One export of contacts for each status, and a dump of the transactional events."""
        asked = [Export(CONTACTS + status, job) for status, job in self._ask_contacts().items()]
        if self.go:
            asked.append(Export(GO_EVENTS, self._ask_dump(self.go, since, None)))
        return asked

    def is_ready(self, export: Export) -> bool:
        """Whether the file is there."""
        if export.kind == GO_EVENTS:
            return self.go is not None and self.go.dump_files(export.job_id) is not None
        return self._file_of(export.job_id) is not None

    def lists(self) -> Iterator[MailingList]:
        """All lists, by number and title."""
        yield from map(mailing_list, self._ask("getLists"))

    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """All letters, whatever `since`: ten thousand come in one call."""
        yield from map(campaign, self._campaign_rows())

    def totals(self, since: datetime | None) -> Iterator[CampaignTotals]:
        """Counts of the letters of the last `activity_days` before `since`."""
        for letter in self._sent_letters(since):
            common = self._ask("getCampaignCommonStats", [("campaign_id", str(letter["id"]))])
            yield totals(letter, common, self._states(letter, None))

    def links(self, since: datetime | None) -> Iterator[Link]:
        """Clicked links of the same letters."""
        for letter in self._sent_letters(since):
            yield from links(str(letter["id"]), self._clicks(letter))

    def bodies(self, held: Mapping[str, str]) -> Iterator[Body]:
        """The HTML of the messages that sent campaigns were made of."""
        for letter in reversed(list(self._sent_letters(None))):
            if held.get(str(letter["id"])) == body_version(letter):
                continue
            try:
                message = self._ask("getMessage", [("id", str(letter["message_id"]))])
            except NotFound:  # deleted since
                continue
            yield body_of(letter, message)

    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Everybody, whatever `since`: an export knows no time of change."""
        jobs = {export.kind.removeprefix(CONTACTS): export.job_id for export in self.exports}
        if not set(STATUSES) <= set(jobs):
            jobs = self._ask_contacts()
        own, count = self._own_fields(), 0
        for status, row in self._exported(jobs):
            yield from contacts(row, status, own)
            count += 1
        log.info("unisender contacts read=%d", count)

    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        """News of the letters of the last `activity_days` before `since`, re-reading a day; then transactional ones."""
        changed = since - EVENT_OVERLAP if since else None
        for letter in self._sent_letters(since):
            words: Counter[str] = Counter()
            for event in self._happened(letter, changed):
                words[event.event_type] += 1
                yield event
            told = (words.total(), words["unknown"], letter["id"])
            log.info("unisender events read=%d unknown=%d campaign=%s", *told)
        if self.go:
            yield from self._dumped(self.go, since, until)

    def _happened(self, letter: Row, changed: datetime | None) -> Iterator[Event]:
        for row in self._states(letter, changed):
            yield from happened(letter, row)
        yield from clicked(letter, self._clicks(letter))

    def _dumped(self, go: UnisenderGo, since: datetime | None, until: datetime | None) -> Iterator[Event]:
        asked = next((export.job_id for export in self.exports if export.kind == GO_EVENTS), None)
        job = asked or self._ask_dump(go, since, until)
        yield from go.dump(job, self._wait_for(lambda: go.dump_files(job)))

    def _ask_dump(self, go: UnisenderGo, since: datetime | None, until: datetime | None) -> str:
        return go.ask_dump(since - EVENT_OVERLAP if since else None, until or self.clock())

    def _states(self, letter: Row, changed: datetime | None) -> list[Row]:
        form = [("campaign_id", str(letter["id"]))]
        if changed:
            form.append(("changed_since", spelled(changed)))
        return table(self._ask("getCampaignDeliveryStats", form))

    def _clicks(self, letter: Row) -> list[Row]:
        return table(self._ask("getVisitedLinks", [("campaign_id", str(letter["id"])), ("group", "0")]))

    def _sent_letters(self, since: datetime | None) -> Iterator[Row]:
        earliest = since - self._activity_window() if since else None
        rows = self._campaign_rows(earliest)
        return (row for row in rows if row.get("status") not in UNSENT and sent_at(row) is not None)

    def _campaign_rows(self, earliest: datetime | None = None) -> Iterator[Row]:
        """Pages overlap: rows that leave move the rest to the left."""
        seen: set[object] = set()
        offset = 0
        window = [("from", spelled(earliest))] if earliest else []
        while True:
            page = self._ask("getCampaigns", [*window, ("limit", str(CAMPAIGNS)), ("offset", str(offset))])
            for row in page:
                if need(row, "id") not in seen:
                    seen.add(row["id"])
                    yield row
            if len(page) < CAMPAIGNS:
                return
            offset += CAMPAIGNS - CAMPAIGN_OVERLAP

    def suppressed(self) -> Iterator[str]:
        """Who unsubscribed or is blocked. With a transactional key: who is on its deny list and nowhere mailable."""
        if self.go is None:
            jobs = self._ask_contacts(sorted(REFUSED))
            yield from sorted(_email(row) for _, row in self._exported(jobs))
            return
        mailable = {email for email, status in self._everybody().items() if status not in REFUSED}
        yield from sorted(self.go.suppressed() - mailable)

    def members(self, audience: str) -> Iterator[str]:
        """Addresses with the tag of that name, whatever their status."""
        yield from self._tagged(audience)

    # Exports

    def _ask_contacts(self, statuses: Sequence[str] = STATUSES) -> dict[str, str]:
        """Status → job; the laxest first, so that who moves to a stricter status is in both."""
        columns = [*COLUMNS, *self._own_fields()]
        return {status: self._export(columns, email_status=status) for status in reversed(statuses)}

    def _export(self, columns: Sequence[str], **filters: str) -> str:
        form = [*(("field_names[]", column) for column in columns), *filters.items()]
        with self.export_throttle.slot():
            answer = self._ask("async/exportContacts", form)
        return str(answer["task_uuid"])

    def _file_of(self, job: str) -> str | None:
        """Where the file of an export is; None while it is being made.

        Raises:
            TemporaryApiError: the service says neither that it is at work nor that it has done.
        """
        answer = self._ask("async/getTaskResult", [("task_uuid", job)])
        if answer.get("status") == "completed":
            return str(answer["file_to_download"])
        if answer.get("status") in ("new", "processing"):
            return None
        raise TemporaryApiError(self.name, "an export failed")

    def _exported(self, jobs: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
        """Everybody in some exports with his status, each once, the strictest status first.

        The laxest file is waited for first: who moves to a stricter status meanwhile is in one of the two.
        """
        seen: set[str] = set()
        with ExitStack() as files:
            rows = {status: files.enter_context(self._file(job)) for status, job in reversed(_by_strictness(jobs))}
            for status, _ in _by_strictness(jobs):
                for row in rows[status]:
                    email = _email(row)
                    if email and email not in seen:
                        seen.add(email)
                        yield status, row

    @contextmanager
    def _file(self, job: str) -> Iterator[Iterator[Row]]:
        """The rows of an export, which is waited for and downloaded."""
        path = self.api.download(self._wait_for(lambda: self._file_of(job)), what="an export")
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                head = file.readline()
                file.seek(0)
                yield csv.DictReader(file, delimiter=";" if head.count(";") > head.count(",") else ",")
        finally:
            path.unlink()

    def _wait_for(self, look: Callable[[], Found | None]) -> Found:
        for wait in EXPORT_WAITS:
            found = look()
            if found is not None:
                return found
            self.api.pause(wait)
        raise TemporaryApiError(self.name, "a job did not finish in an hour")

    def _everybody(self) -> dict[str, str]:
        """Address → status: one export of everybody."""
        with self._file(self._export(("email", "email_status"))) as rows:
            return {email: str(need(row, "email_status")) for row in rows if (email := _email(row))}

    def _tagged(self, audience: str) -> dict[str, tuple[str, ...]]:
        """Address → all its tags, for those that have this one."""
        with self._file(self._export(("email", "tags"), tag=audience)) as rows:
            return {email: tags_of(row) for row in rows if (email := _email(row))}

    def _standing(self, emails: Collection[str]) -> dict[str, str]:
        """Address → status, without those the account does not have; by the way that takes fewer calls."""
        if len(emails) > LOOKUPS:
            wanted = set(emails)
            return {email: status for email, status in self._everybody().items() if email in wanted}
        return {email: status for email in emails if (status := self._status(email))}

    def _status(self, email: str) -> str | None:
        try:
            answer = self._ask("getContact", [("email", email), ("include_details", "1")])
        except NotFound:
            return None
        return str(answer["email"]["status"])

    def _own_fields(self) -> list[str]:
        return [str(row["name"]) for row in self._ask("getFields")]

    # Writing

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Sets `unsubscribed` by imports, and fills the transactional deny list; adds nobody."""
        verdicts = self._leave(targets(records), self._import_opt_outs)
        yield from outcomes("unisender suppress", records, verdicts)

    def unsubscribe(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """As `suppress`; a few are told one by one, which the service books as the person's own wish."""
        emails = targets(records)
        one_by_one = len(emails) <= ONE_BY_ONE
        verdicts = self._leave(emails, self._opt_out_each if one_by_one else self._import_opt_outs)
        yield from outcomes("unisender unsubscribe", records, verdicts)

    def erase(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Deletes contacts; the service has no call that erases what it keeps beside them."""
        yield from outcomes("unisender erase", records, self._delete(targets(records)))

    def upsert(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes own fields. An attribute the account has no field for is a refusal, not a loss in silence."""
        emails = targets(records)
        verdicts = self._upsert(emails, attributes_of(records)) if emails else ()
        yield from outcomes("unisender upsert", records, verdicts)

    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Adds the tag named after the audience, and writes the attributes the account has fields for."""
        emails = targets(records)
        verdicts = self._tag(audience, emails, attributes_of(records)) if emails else ()
        yield from outcomes("unisender add", records, verdicts)

    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Takes the tag off; whoever does not have it is fine already."""
        emails = targets(records)
        yield from outcomes("unisender remove", records, self._untag(audience, emails) if emails else ())

    def send(self, letters: Sequence[Letter]) -> Iterator[Sent]:
        """Sends through UniSender Go."""
        if self.go is None:
            raise ConfigurationError(f"connection {self.account!r} has no option transactional_key to send with")
        for letter in letters:
            yield self.go.send(letter)

    @property
    def sending(self) -> RestClient:
        """UniSender Go."""
        return self.go.api if self.go else self.api

    @classmethod
    def read_hook(cls, kind: str, delivery: Delivery) -> Iterator[Event]:
        """`marketing`: states and opt-outs; `transactional`: UniSender Go's events."""
        if kind not in cls.hooks:
            yield from super().read_hook(kind, delivery)
        for body in rows_of(cls.name, unpacked(cls.name, delivery)):
            yield from go_hooked(body) if kind == "transactional" else hooks_of(body)

    def calls(self) -> list[Call]:
        """Those to UniSender Go come last."""
        return [*super().calls(), *(self.go.api.drain_calls() if self.go else ())]

    def _leave(
        self, emails: Sequence[str], opt_out: Callable[[Sequence[str]], Iterator[tuple[str, Verdict]]]
    ) -> Iterator[tuple[str, Verdict]]:
        if not emails:
            return
        standing = self._standing(emails)
        done: dict[str, Verdict] = {
            email: ("already_ok", standing.get(email, NOT_THERE))
            for email in emails
            if standing.get(email, "blocked") in REFUSED
        }
        done |= opt_out([email for email in emails if email not in done])
        denied = dict(_deny(self.go, emails)) if self.go else {}
        for email in emails:
            yield email, strongest([done[email], *filter(None, [denied.get(email)])], weakest_reason=NOT_THERE)

    def _import_opt_outs(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        """The log names refused rows only, and a status may be left as it is without a word: read back."""
        rows = {email: {"email_status": "unsubscribed"} for email in emails}

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            told = self._import(bulk, rows)
            return {email: verdict for email, verdict in told.items() if verdict[0] == "rejected"}

        return push_then_check(emails, send, self._refused, bulk=BULK, otherwise="still subscribed")

    def _opt_out_each(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            form = [("contact_type", "email"), ("contact", bulk[0])]
            try:
                self._ask("unsubscribe", form, write=True, idempotent=True, records=1)
            except RequestRejected as error:
                if isinstance(error, NotFound):
                    return {}  # on no list: the import can still switch him off
                return {bulk[0]: ("rejected", error.code or "refused")}
            return {bulk[0]: ("applied", None)}

        listless: list[str] = []
        for email, verdict in push(emails, send, self._refused, bulk=1, unmentioned="applied", otherwise="on no list"):
            if verdict == ("rejected", "on no list"):
                listless.append(email)
            else:
                yield email, verdict
        yield from self._import_opt_outs(listless)

    def _refused(self, emails: Sequence[str]) -> set[str]:
        standing = self._standing(emails)
        return {email for email in emails if standing.get(email, "blocked") in REFUSED}

    def _delete(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        standing = self._standing(emails) if emails else {}
        yield from ((email, ("already_ok", NOT_THERE)) for email in emails if email not in standing)
        rows = {email: {"delete": "1"} for email in standing}

        def settled(bulk: Sequence[str]) -> set[str]:
            return set(bulk) - set(self._standing(bulk))

        there = [email for email in emails if email in rows]
        yield from push_then_check(
            there, lambda bulk: self._import(bulk, rows), settled, bulk=BULK, otherwise="not deleted"
        )

    def _field_names(self, wanted: Mapping[str, Row]) -> dict[str, str]:
        """Case folded → as the account spells it; what is wanted and missing is made when the account allows it."""
        names = {name.casefold(): name for name in self._own_fields()}
        for name in names_beyond(names, wanted) if self.is_on("add_fields") else ():
            self._ask("createField", [("name", name), ("type", "string")], write=True)
            names[name.casefold()] = name
        return names

    def _upsert(self, emails: Sequence[str], wanted: Mapping[str, Row]) -> Iterator[tuple[str, Verdict]]:
        names = self._field_names(wanted)
        rows: dict[str, dict[str, str]] = {}
        for email in emails:
            given = wanted.get(email, {})
            unknown = sorted(name for name in given if name.casefold() not in names)
            if unknown:
                yield email, ("rejected", f"the account has no field {unknown[0]!r}")
            elif not given:
                yield email, ("already_ok", "nothing to write")
            else:
                rows[email] = _cells(given, names)
        yield from self._write(rows, lambda bulk: self._holding(bulk, rows))

    def _tag(self, audience: str, emails: Sequence[str], wanted: Mapping[str, Row]) -> Iterator[tuple[str, Verdict]]:
        names = self._field_names(wanted) if wanted else {}
        if unknown := names_beyond(names, wanted):
            log.warning("unisender account=%s has no field for: %s", self.account, ", ".join(unknown))
        rows = {email: {"tags": audience, **_cells(wanted.get(email, {}), names)} for email in emails}
        yield from self._write(rows, lambda bulk: set(bulk) & set(self._tagged(audience)))

    def _untag(self, audience: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        tagged = self._tagged(audience)
        yield from ((email, ("already_ok", "not in the segment")) for email in emails if email not in tagged)
        there = [email for email in emails if email in tagged]
        rows = {email: {"tags": ",".join(tag for tag in tagged[email] if tag != audience)} for email in there}

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            return self._import(bulk, rows, replace_tags=True)

        def settled(bulk: Sequence[str]) -> set[str]:
            return set(bulk) - set(self._tagged(audience))

        yield from push_then_check(there, send, settled, bulk=BULK, otherwise="still in the segment")

    def _write(
        self, rows: Mapping[str, Mapping[str, str]], settled: Callable[[Sequence[str]], set[str]]
    ) -> Iterator[tuple[str, Verdict]]:
        """Imports cells of known contacts, and of strangers when the account may have them."""
        if not rows:
            return
        standing = self._standing(rows)
        absent = [email for email in rows if email not in standing]
        ready = {email: rows[email] for email in rows if email in standing}
        if absent and self.is_on("add_missing"):
            list_id = self._one_list()
            ready |= {email: {**rows[email], "email_list_ids": list_id} for email in absent}
        else:
            yield from ((email, ("rejected", NOT_THERE)) for email in absent)
        for alike in _alike(ready):
            yield from push_then_check(
                alike, lambda bulk: self._import(bulk, ready), settled, bulk=BULK, otherwise="not written"
            )

    def _import(
        self, emails: Sequence[str], rows: Mapping[str, Mapping[str, str]], *, replace_tags: bool = False
    ) -> dict[str, Verdict]:
        """One import of rows with the same columns; no verdicts when the service does not account for all of them."""
        columns = ["email", *rows[emails[0]]]
        form = [(f"field_names[{place}]", column) for place, column in enumerate(columns)]
        for number, email in enumerate(emails):
            cells = (email, *rows[email].values())
            form += [(f"data[{number}][{place}]", cell) for place, cell in enumerate(cells)]
        if replace_tags:
            form.append(("overwrite_tags", "1"))
        answer = self._ask("importContacts", form, write=True, idempotent=True, records=len(emails))
        refusals = {int(line["index"]): str(line.get("code") or "refused") for line in answer.get("log") or ()}
        verdicts: dict[str, Verdict] = {
            email: ("rejected", refusals[number]) for number, email in enumerate(emails) if number in refusals
        }
        if int(answer.get("total", -1)) == len(emails):
            verdicts |= {email: ("applied", None) for email in emails if email not in verdicts}
        return verdicts

    def _holding(self, emails: Sequence[str], rows: Mapping[str, Mapping[str, str]]) -> set[str]:
        """Who has the cells that were written."""
        wanted = set(emails)
        names = sorted({name for email in emails for name in rows[email]})
        with self._file(self._export(("email", *names))) as exported:
            known = ((email, row) for row in exported if (email := _email(row)) in wanted)
            return {email for email, row in known if all(row.get(name) == cell for name, cell in rows[email].items())}

    # Settings

    def _one_list(self) -> str:
        """The list that new contacts join.

        Raises:
            ConfigurationError: it is not named and there are several, or it is not there.
        """
        lists = [str(row["id"]) for row in self._ask("getLists")]
        wanted = self.options.get("list_id")
        if wanted and wanted not in lists:
            raise ConfigurationError(f"option list_id of connection {self.account!r} names no list of the account")
        if not wanted and len(lists) != 1:
            raise ConfigurationError(
                f"connection {self.account!r} has {len(lists)} lists; name the one for new contacts in option list_id"
            )
        return wanted or lists[0]

    def _activity_window(self) -> timedelta:
        return self.days("activity_days", self.options.get("activity_days", "30"))


def _judge(answer: Answer) -> ApiError | None:
    """Which error a 200 hides, by its code; the text is left out, it may hold an address."""
    body, service = answer.body, answer.service
    if not isinstance(body, Mapping) or "error" not in body:
        return None
    code = str(body.get("code") or "unspecified")
    code = code[:60] if "@" not in code else "refused"
    if code in ("invalid_api_key", "access_denied"):
        return AuthenticationError(service, "the key was refused; renew it in the connection", code=code)
    if code.startswith("api_call_limit_exceeded"):
        return RateLimited(service, "too many requests", status=429, code=code)
    if code == "retry_later":
        return TemporaryApiError(service, "the service asks to come back later", code=code)
    if "not_found" in code:
        return NotFound(service, f"refused: {code}", code=code)
    return RequestRejected(service, f"refused: {code}", code=code)


def _deny(go: UnisenderGo, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
    """Puts those on the deny list who are not there yet."""
    known = go.suppressed()
    yield from ((email, ("already_ok", "on the deny list")) for email in emails if email in known)

    def send(bulk: Sequence[str]) -> dict[str, Verdict]:
        try:
            go.suppress(bulk[0])
        except RequestRejected as error:
            return {bulk[0]: ("rejected", error.code or "refused")}
        return {bulk[0]: ("applied", None)}

    missing = [email for email in emails if email not in known]
    yield from push(
        missing,
        send,
        lambda bulk: set(bulk) & go.suppressed(),
        bulk=1,
        unmentioned="applied",
        otherwise="not on the deny list",
    )


def _email(row: Row) -> str:
    return normalise_email(str(need(row, "email")))


def _by_strictness(jobs: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(status, jobs[status]) for status in STATUSES if status in jobs]


def _alike(rows: Mapping[str, Mapping[str, str]]) -> list[list[str]]:
    """Addresses with the same columns together: a cell left out is not an empty cell."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for email, cells in rows.items():
        groups.setdefault(tuple(cells), []).append(email)
    return list(groups.values())


def _cells(given: Row, names: Mapping[str, str]) -> dict[str, str]:
    """Texts by the account's name of a field, always in the same order."""
    known = sorted((names[name.casefold()], value) for name, value in given.items() if name.casefold() in names)
    return {name: "" if value is None else str(value) for name, value in known}
