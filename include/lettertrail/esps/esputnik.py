"""eSputnik, now named Yespo: REST API v1, and v2 for activity.

Docs:    https://docs.yespo.io/reference
Limits:  not published. One account got 429 on the second call in a row, so calls keep 1.25 s between them. Lists page
         from 1 by at most 500, an import takes 3000 contacts; the unsubscribe list is given 1000 a call, a group 500.
         The same request within a minute is answered 409: done already. A key may be limited to events or contacts.
Reading: one base of contacts without a filter for changes, read in full; groups stand as lists and as tags. A contact's
         status is there only as far as the service shows `emailStatus`. Letters are messages, which have no time and no
         totals: both follow from activity. Activity has to be switched on by support, has no row for sending (derived
         and marked as such), and is read by windows: a full page is halved, and the `offset` of the last row leads on.
         Times are naive, in the account's zone. A message's HTML is on its own page, which is asked for once and again
         when name, sender, subject or tags change; an edit of the HTML alone is seen by a reading of everything only.
Writing: contacts go in by sessions that take a while, each row with its own result. A field that a session names and a
         contact lacks would be cleared, so contacts with different fields go in different sessions. Nothing on the
         provider's side guards the unsubscribe list: this module only ever adds to it. There is no list of it to read.
Sending: no own headers, so no List-Unsubscribe. `externalRequestId` carries our key and comes back in activity.
Options: `timezone` (of the account; Europe/Kyiv), `add_missing` (true: create contacts the account lacks),
         `history_days` (how far back the first reading of activity goes; 1095).
Webhook: set up by hand. A custom header `X-Timezone` there names the account's zone when it is not Kyiv.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from lettertrail.bulk import Verdict, attributes_of, outcomes, push_then_check, targets
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    ConfigurationError,
    ContractError,
    Duplicate,
    NotFound,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps._esputnik_rows import (
    ADDRESS_FIELDS,
    STANDARD_FIELDS,
    Person,
    Row,
    activity_events,
    base,
    body_of,
    category_names,
    contact,
    contact_row,
    email_of,
    failed_contacts,
    field_names,
    group,
    letter,
    letter_version,
    person,
    same,
    sent_rows,
    spelled,
)
from lettertrail.esps._sending import unsent
from lettertrail.esps._times import local, zone_of
from lettertrail.esps._webhooks import rows_of
from lettertrail.esps.port import (
    AccountConnection,
    Body,
    Campaign,
    CheckStep,
    ConnectionField,
    Contact,
    Delivery,
    Endpoint,
    Esp,
    Event,
    Evidence,
    Hook,
    Letter,
    MailingList,
    Outcome,
    Record,
    Sent,
    operator_hosts,
    tried,
)
from lettertrail.http import Answer, BasicAuth, OffsetPaging, RestClient, RetryPolicy

log = logging.getLogger(__name__)

ADDRESS = "https://esputnik.com/api"
ZONE = "Europe/Kyiv"
BULK = 3000
UNSUBSCRIBE_BULK = 1000
DETACH_BULK = 500
FEW = 25
"""Up to so many addresses are looked up one by one; for more the whole base is read, 500 contacts a call."""
PATIENCE = RetryPolicy(attempts=20, budget=900.0)
"""Reading the whole base takes long: giving up early would throw all of it away."""
PAGING = OffsetPaging(size=500, size_param="maxrows", offset_param="startindex", first=1, total_field=None)
ACTIVITY_PAGE = 1000
LONGEST_WINDOW, DAY, SHORTEST_WINDOW = timedelta(days=32), timedelta(days=1), timedelta(minutes=1)
EVENT_OVERLAP = timedelta(days=1)
POLLS = 400
"""Questions about one import, up to 30 s apart: some three hours."""
LOST_SESSION = 30.0
"""Seconds that an import is given whose session we did not learn."""
NOT_THERE = "no such contact"
NO_ACTIVITY = "ContactActivity is off"

_PROOF: Mapping[str, Evidence] = {"unsubscribed": "unsubscribed"}


class Esputnik(Esp):
    """One eSputnik account."""

    name = "esputnik"
    title = "eSputnik (Yespo)"
    hosts = ("esputnik.com", "yespo.io")
    labels: ClassVar[Mapping[str, str]] = {
        "host": "API address (only when it is another)",
        "login": "Login e-mail",
        "password": "API key",
    }
    placeholders: ClassVar[Mapping[str, str]] = {
        "host": "https://yespo.io/api",
        "login": "marketing@shop.example",
        "timezone": ZONE,
        "history_days": "1095",
    }
    fields = (
        ConnectionField("timezone", "Time zone", "The zone in the account's settings: eSputnik's times have none."),
        ConnectionField("add_missing", "Add missing", "true: create contacts that a segment names and nobody has."),
        ConnectionField("history_days", "Days of history", "How far back the first reading of activity goes."),
    )
    hooks: ClassVar[Mapping[str, Hook]] = {"marketing": Hook("none", "json")}
    bulk = BULK
    calls_per_second = 0.8
    connections = 1
    sends_attributes = True
    endpoints: ClassVar[Mapping[str, tuple[Endpoint, ...]]] = {
        "suppress": (Endpoint("POST /v1/emails/unsubscribed/add", UNSUBSCRIBE_BULK),),
        "add": (Endpoint("POST /v1/contacts", BULK, splits_by_fields=True),),
        "add_bare": (Endpoint("POST /v1/contacts", BULK),),
        "remove": (Endpoint("POST /v1/group/{group}/contacts/detach", DETACH_BULK),),
    }
    guards_repeats = timedelta(minutes=1)

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The adapter for one account: password = API key, login = the account's e-mail.

        Raises:
            ConfigurationError: no key, an unknown time zone, or a host that is not permitted.
        """
        key = connection.needed_password()
        base_url = connection.address or ADDRESS
        if not urlsplit(base_url).path:
            base_url += "/api"
        api = RestClient(
            base_url,
            service=cls.name,
            auth=BasicAuth((connection.login or "").strip() or "lettertrail", key),
            hosts=cls.hosts,
            allowed_hosts=operator_hosts(allowed_hosts),
            classify=_judge,
            retry=PATIENCE,
            throttle=cls.throttle(connection),
            timeouts=(10.0, 180.0),  # activity is slow while a broadcast runs
            clock=clock,
        )
        return cls(account=connection.conn_id, api=api, options=connection.extra, clock=clock)

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.zone = zone_of(self.options.get("timezone") or ZONE, self.account)
        self._base: dict[str, Person] | None = None
        self._field_names: dict[int, str] | None = None

    def check(self) -> Iterator[CheckStep]:
        """Four steps: the key, the contacts, the groups, the activity that support has to switch on."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("key", self._describe_key),
            ("contacts", self._describe_contacts),
            ("groups", lambda: f"groups: {sum(1 for _ in self._groups())}"),
            ("activity", self._describe_activity),
        )
        with self.api.hurried():
            yield from tried(steps)

    # Reading

    def lists(self) -> Iterator[MailingList]:
        """The one base that all contacts belong to, and the groups, static and dynamic."""
        yield base(self.api.get("/v1/addressbooks"))
        yield from map(group, self._groups())

    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """All e-mail messages, whatever `since`: nothing says when one changed."""
        return map(letter, self._rows("/v1/messages/email"))

    def bodies(self, held: Mapping[str, str]) -> Iterator[Body]:
        """The HTML of all messages, also those that never went out: nothing tells them apart."""
        for row in reversed(list(self._rows("/v1/messages/email"))):
            if held.get(letter(row).external_id) == letter_version(row):
                continue
            try:
                detail = self.api.get(f"/v1/messages/email/{row['id']}")
            except NotFound:  # deleted while we read
                continue
            yield body_of(row, detail)

    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Everybody with an address, whatever `since`: nothing says when a contact changed."""
        words: Counter[str] = Counter()
        names = self._names()
        for found in (contact(row, names) for row in self._rows("/v1/contacts")):
            if found is not None:
                words[found.status] += 1
                yield found
        log.info("esputnik contacts read=%d unknown=%d", words.total(), words["unknown"])

    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        """Activity from a day before `since` on, each event once.

        Raises:
            RequestRejected: support has not switched activity on.
        """
        words: Counter[str] = Counter()
        seen: set[str] = set()
        start = self.clock() - self._history() if since is None else since - EVENT_OVERLAP
        end = local(until or self.clock(), self.zone) + timedelta(hours=1)
        for row in self._activity(local(start, self.zone), end):
            for event in activity_events(row, self.zone, source="poll"):
                if event.external_id not in seen:
                    seen.add(event.external_id)
                    words["undated" if event.occurred_at is None else event.event_type] += 1
                    yield event
        read, unknown, undated = words.total(), words["unknown"], words["undated"]
        log.info("esputnik events read=%d unknown=%d undated=%d", read, unknown, undated)

    def _activity(self, start: datetime, end: datetime) -> Iterator[Row]:
        """Rows from `start` to `end`, by the account's clock and in the order of time."""
        width = DAY
        while start < end:
            stop = min(start + width, end)
            is_quiet = True
            for row in self._window(start, stop):
                is_quiet = False
                yield row
            # Quiet years need not be asked about day by day.
            width = min(width * 2, LONGEST_WINDOW) if is_quiet else DAY
            start = stop

    def _window(self, start: datetime, stop: datetime) -> Iterator[Row]:
        period = {"dateFrom": start.isoformat(), "dateTo": stop.isoformat(), "maxrows": ACTIVITY_PAGE}
        rows = self._activity_page(period)
        width = stop - start
        # Long windows with anything in them and full pages are what the service is known to answer badly.
        if (rows and width > DAY) or (len(rows) >= ACTIVITY_PAGE and width > SHORTEST_WINDOW):
            middle = start + (width / 2 - timedelta(microseconds=(width / 2).microseconds))
            yield from self._window(start, middle)
            yield from self._window(middle, stop)
            return
        before = None
        while rows and rows[-1].get("offset") != before:  # a cursor that stands still leads nowhere
            yield from rows
            before = rows[-1].get("offset")
            rows = [] if before is None else self._activity_page({**period, "offset": before})

    def _activity_page(self, asked: Mapping[str, Any]) -> Sequence[Row]:
        rows = self.api.get("/v2/contacts/activity", params=asked)
        if not isinstance(rows, list):
            raise ContractError("esputnik: activity is no list")
        return rows

    def suppressed(self) -> Iterator[str]:
        """Contacts that the service shows as unsubscribed or blocked; it lists nobody else."""
        found = self._everybody()
        yield from sorted(email for email, one in found.items() if not one.is_mailable)

    def members(self, audience: str) -> Iterator[str]:
        """Addresses in the static group of that name."""
        number = self._group_named(audience)
        if number is not None:
            yield from sorted(set(filter(None, map(email_of, self._rows(f"/v1/group/{number}/contacts")))))

    # Writing

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Adds contacts to the list of those who left, which covers every group; strangers are left alone."""
        emails = targets(records)
        yield from outcomes("esputnik suppress", records, self._stop(emails) if emails else ())

    def erase(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Deletes one by one, for good where the contact has an external id, and keeps the address from being mailed.

        The service forgets with the person that he left, so his address goes back to the list of those who left.
        """
        emails = targets(records)
        yield from outcomes("esputnik erase", records, self._erase(emails) if emails else ())

    def upsert(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes standard and custom fields by name; custom fields are defined in the service's pages only."""
        emails, attributes = targets(records), attributes_of(records)
        yield from outcomes("esputnik upsert", records, self._upsert(emails, attributes, None) if emails else ())

    def set_preferences(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes subscription categories, one contact after the other; the others he chose stay."""
        emails, attributes = targets(records), attributes_of(records)
        yield from outcomes("esputnik preferences", records, self._prefer(emails, attributes) if emails else ())

    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Adds to the static group of that name, attributes as fields."""
        emails, attributes = targets(records), attributes_of(records)
        yield from outcomes("esputnik add", records, self._upsert(emails, attributes, audience) if emails else ())

    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Takes out of the group."""
        emails = targets(records)
        yield from outcomes("esputnik remove", records, self._remove(audience, emails) if emails else ())

    def _stop(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        people = self._people(emails)
        for email in emails:
            if email not in people:
                yield email, ("already_ok", NOT_THERE)
            elif not people[email].is_mailable:
                yield email, ("already_ok", people[email].word)
        to_stop = [email for email in emails if email in people and people[email].is_mailable]
        yield from self._bar(to_stop)

    def _bar(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        """Adds to the list of those who left, contacts or not."""
        answered: set[str] = set()

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            try:
                self._write("POST", "/v1/emails/unsubscribed/add", {"emails": list(bulk)}, len(bulk))
            except Duplicate:
                log.info("esputnik: the same addresses were added a moment ago")
            answered.update(bulk)
            return {}

        def settled(bulk: Sequence[str]) -> set[str]:
            now = self._people(bulk, fresh=True)
            words = {email: now[email].word if email in now else "unknown" for email in bulk}
            # Where the service shows no status, or no contact, its answer has to do.
            return {
                email for email, word in words.items() if word in _GONE or (word == "unknown" and email in answered)
            }

        for email, verdict in push_then_check(
            emails, send, settled, bulk=UNSUBSCRIBE_BULK, otherwise="still subscribed"
        ):
            if verdict[0] == "applied":
                self._note(email, word="unsubscribed")
            yield email, verdict

    def _erase(self, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        people = self._people(emails)
        yield from ((email, ("already_ok", NOT_THERE)) for email in emails if email not in people)

        def send(one: Sequence[str]) -> dict[str, Verdict]:
            self._delete(people[one[0]])
            return {}

        def settled(some: Sequence[str]) -> set[str]:
            return set(some) - set(self._people(some, fresh=True))

        known = [email for email in emails if email in people]
        gone = dict(push_then_check(known, send, settled, bulk=1, otherwise="still there"))
        erased = [email for email, verdict in gone.items() if verdict[0] == "applied"]
        for email in erased:
            (self._base or {}).pop(email, None)
        barred = dict(self._bar(erased))
        yield from (gone | barred).items()

    def _delete(self, one: Person) -> None:
        try:
            if one.external_id:
                params = {"externalCustomerId": one.external_id, "erase": "true"}
                self.api.delete("/v1/contact", params=params, idempotent=True, records=1, text_ok=True)
            else:
                for number in one.ids:
                    fill = {"id": str(number)}
                    self.api.delete("/v1/contact/{id}", fill=fill, idempotent=True, records=1, text_ok=True)
        except (NotFound, Duplicate):
            log.info("esputnik erase: somebody was deleted already")

    def _upsert(
        self, emails: Sequence[str], attributes: Mapping[str, Mapping[str, Any]], audience: str | None
    ) -> Iterator[tuple[str, Verdict]]:
        """Writes fields and, with an audience, membership. Contacts with the same fields share their sessions."""
        people, ids = self._people(emails), {name: number for number, name in self._names().items()}
        known_fields = {*ids, *STANDARD_FIELDS, *ADDRESS_FIELDS}
        sessions: dict[frozenset[str], list[str]] = {}
        wanted: dict[str, dict[str, str]] = {}
        for email in emails:
            wanted[email] = {name: spelled(value) for name, value in attributes.get(email, {}).items()}
            unknown = sorted(set(wanted[email]) - known_fields)
            verdict = self._known_verdict(people.get(email), wanted[email], audience)
            if unknown:
                yield email, ("rejected", f"no field named {unknown[0]}")
            elif verdict is not None:
                yield email, verdict
            else:
                sessions.setdefault(frozenset(wanted[email]), []).append(email)
        for inside in sessions.values():
            for email, verdict in self._import(inside, wanted, ids, audience, known=set(people)):
                if verdict[0] == "applied" and email in people:
                    one = people[email]
                    joined = one.groups | {audience} if audience else one.groups
                    self._note(email, values={**one.values, **wanted[email]}, groups=joined)
                yield email, verdict

    def _known_verdict(self, one: Person | None, wanted: Mapping[str, str], audience: str | None) -> Verdict | None:
        """What can be said of a contact without writing; None when it has to be written."""
        if one is None:
            return None if self.is_on("add_missing") else ("rejected", NOT_THERE)
        if audience is not None and not one.is_mailable:
            return "rejected", one.word
        is_done = (audience is None or audience in one.groups) and same(one.values, wanted)
        return ("already_ok", None) if is_done else None

    def _import(
        self,
        emails: Sequence[str],
        wanted: Mapping[str, Mapping[str, str]],
        ids: Mapping[str, int],
        audience: str | None,
        *,
        known: Collection[str],
    ) -> Iterator[tuple[str, Verdict]]:
        """Imports contacts that bring the same fields.

        What did not fail is done for the `known`. A stranger may be a deleted contact, which is passed over
        without a word: those are read back.
        """
        names = sorted(wanted[emails[0]])
        session = {
            "dedupeOn": "email",
            "contactFields": ["email", *(name for name in names if name not in ids)],
            "customFieldsIDs": [ids[name] for name in names if name in ids],
            "groupNames": [audience] if audience else [],
            "restoreDeleted": False,
        }

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            contacts = [contact_row(email, wanted[email], ids) for email in bulk]
            failed = self._run_session(session, contacts, may_repeat=all(email in known for email in bulk))
            done: dict[str, Verdict] = {email: ("applied", None) for email in bulk if email in known}
            return done | {email: ("rejected", failed[email]) for email in bulk if email in failed}

        def settled(bulk: Sequence[str]) -> set[str]:
            now = self._people(bulk, fresh=True)
            return {
                email
                for email in bulk
                if email in now
                and same(now[email].values, wanted[email])
                and (audience is None or audience in now[email].groups)
            }

        yield from push_then_check(emails, send, settled, bulk=BULK, otherwise="the service did not take it")

    def _run_session(self, how: Row, contacts: Sequence[Row], *, may_repeat: bool) -> dict[str, str]:
        """Imports contacts, waits until they are in, and names those that failed.

        Raises:
            TemporaryApiError: it failed, takes too long, or its number was lost with the answer.
        """
        answer = self._submit(how, contacts, may_repeat=may_repeat)
        session = answer.get("asyncSessionId") if isinstance(answer, Mapping) else None
        if not session:
            raise ContractError("esputnik: an import without a session")
        failed = failed_contacts(answer)
        pause = 1.0
        for _ in range(POLLS):
            found = self.api.request("GET", "/v1/importstatus/{session}", fill={"session": str(session)}, text_ok=True)
            state = str(found.get("status") if isinstance(found, Mapping) else found).upper()
            if state.startswith("FINISH"):
                return failed | failed_contacts(found)
            if state.startswith(("ERROR", "FAIL")):
                raise TemporaryApiError(self.name, "an import failed")
            self.api.pause(pause)
            pause = min(pause * 1.5, 30.0)
        raise TemporaryApiError(self.name, "an import takes too long")

    def _submit(self, how: Row, contacts: Sequence[Row], *, may_repeat: bool) -> Any:
        """Starts an import. When it was taken and its answer lost, contacts that exist are imported once more.

        The other order makes it another request. New contacts are not repeated: two sessions might make each twice.
        """
        body = {"contacts": list(contacts), **how}
        try:
            return self.api.post("/v1/contacts", json=body, idempotent=True, records=len(contacts))
        except Duplicate:
            if not may_repeat or len(contacts) == 1:
                # All we can do is give it time before reading back.
                self.api.pause(LOST_SESSION)
                raise TemporaryApiError(self.name, "an import was taken but its session is not known") from None
        return self._submit(how, list(reversed(contacts)), may_repeat=False)

    def _remove(self, audience: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        number = self._group_named(audience)
        people = self._people(emails) if number is not None else {}
        inside = [email for email in emails if email in people and audience in people[email].groups]
        outside = set(emails) - set(inside)
        yield from ((email, ("already_ok", "not in the group")) for email in emails if email in outside)

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            ids = [one for email in bulk for one in people[email].ids]
            try:
                self._write("POST", f"/v1/group/{number}/contacts/detach", {"contactIds": ids}, len(bulk))
            except Duplicate:
                log.info("esputnik: the same contacts were detached a moment ago")
            return {}

        def settled(bulk: Sequence[str]) -> set[str]:
            return set(bulk) - set(self.members(audience))

        for email, verdict in push_then_check(inside, send, settled, bulk=DETACH_BULK, otherwise="still in the group"):
            if verdict[0] == "applied":
                self._note(email, groups=people[email].groups - {audience})
            yield email, verdict

    def _prefer(
        self, emails: Sequence[str], attributes: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[tuple[str, Verdict]]:
        people = self._people(emails)
        for email in emails:
            one = people.get(email)
            if one is None:
                yield email, ("rejected", NOT_THERE)
            elif not one.is_mailable:
                yield email, ("rejected", one.word)
            else:
                yield email, self._prefer_one(str(one.ids[0]), attributes.get(email, {}))

    def _prefer_one(self, number: str, wishes: Mapping[str, Any]) -> Verdict:
        path, fill = "/v1/contact/{id}/subscriptions", {"id": number}
        now = set(category_names(self.api.get(path, fill=fill)))
        wanted = (now | {name for name, wish in wishes.items() if wish}) - {
            name for name, wish in wishes.items() if not wish
        }
        if wanted == now:
            return "already_ok", None
        try:
            body = {"subscriptions": sorted(wanted)}
            self.api.put(path, fill=fill, json=body, idempotent=True, records=1, text_ok=True)
        except (RequestRejected, TemporaryApiError) as error:
            if isinstance(error, RequestRejected) and not isinstance(error, Duplicate):
                return "rejected", "no such category"
        now = set(category_names(self.api.get(path, fill=fill)))
        return ("applied", None) if wanted == now else ("retry_pending", "no answer")

    # Transactional mail

    def send(self, letters: Sequence[Letter]) -> Iterator[Sent]:
        """One call a letter, with our key as `externalRequestId`. Headers and `unsubscribe_url` are left out.

        Raises:
            AuthenticationError: the key was refused; the letters not yet reported were not sent.
        """
        for one in letters:
            path, body = _call_for(one)
            try:
                answer = self.api.request("POST", path, json=body, records=1)
            except ApiError as error:
                yield unsent(one, error, _PROOF)
            else:
                yield _sent(one, answer)

    @classmethod
    def read_hook(cls, kind: str, delivery: Delivery) -> Iterator[Event]:
        """Rows of activity, with the keys that polling gives them.

        Raises:
            ContractError: the body is not what the service sends, or the header `X-Timezone` names no zone.
        """
        if kind not in cls.hooks:
            raise ContractError(f"{cls.name} has no webhook {kind!r}")
        try:
            zone = zone_of(delivery.headers.get("x-timezone") or ZONE, cls.name)
        except ConfigurationError:
            raise ContractError("esputnik: the webhook's header X-Timezone names no time zone") from None
        for row in rows_of(cls.name, delivery.body):
            yield from activity_events(row, zone, source="webhook")

    # Where things are

    def _rows(self, path: str, **params: str) -> Iterator[Row]:
        return self.api.pages(path, rows=None, key=_row_id, params=params, paging=PAGING)

    def _groups(self, **params: str) -> Iterator[Row]:
        return self._rows("/v1/groups", **params)

    def _group_named(self, name: str) -> str | None:
        """The static group of that name.

        Raises:
            ConfigurationError: there is one, and its members follow a rule.
        """
        for row in self._groups(name=name):
            if row.get("name") != name:  # the search is not exact
                continue
            if str(row.get("type") or "Static").lower() != "static":
                raise ConfigurationError(f"connection {self.account!r}: the group {name!r} is not static")
            return str(row["id"])
        return None

    def _names(self) -> dict[int, str]:
        if self._field_names is None:
            self._field_names = field_names(self.api.get("/v1/addressbooks"))
        return self._field_names

    def _people(self, emails: Sequence[str], *, fresh: bool = False) -> dict[str, Person]:
        """What the account holds of these, without strangers; by the way that takes fewer calls.

        The base is read once and kept for the next questions, unless it has to be `fresh`.
        """
        if len(emails) <= FEW:
            found: dict[str, Person] = {}
            for email in emails:
                self._collect(self._rows("/v1/contacts", email=email), found)
            return {email: found[email] for email in emails if email in found}
        if self._base is None or fresh:
            self._base = self._everybody()
        known = self._base
        return {email: known[email] for email in emails if email in known}

    def _everybody(self) -> dict[str, Person]:
        found: dict[str, Person] = {}
        self._collect(self._rows("/v1/contacts"), found)
        return found

    def _collect(self, rows: Iterator[Row], found: dict[str, Person]) -> None:
        names = self._names()
        for row in rows:
            email = email_of(row)
            if email is None:
                continue
            one = person(row, names)
            known = found.get(email)
            if known is not None:
                one = replace(
                    known,
                    ids=(*known.ids, *one.ids),
                    groups=known.groups | one.groups,
                    external_id=known.external_id or one.external_id,
                )
            found[email] = one

    def _note(self, email: str, **changes: Any) -> None:
        """Keeps what was read of the base true after a write of our own."""
        if self._base is not None and email in self._base:
            self._base[email] = replace(self._base[email], **changes)

    def _write(self, method: str, path: str, body: Row, records: int) -> None:
        self.api.request(method, path, json=body, idempotent=True, records=records, text_ok=True)

    def _describe_key(self) -> str:
        self.api.get("/v1/account/info")
        return f"accepted; times are read in {self.zone.key}"

    def _describe_contacts(self) -> str:
        rows = self.api.get("/v1/contacts", params={"startindex": 1, "maxrows": 1})
        if rows and "emailStatus" not in rows[0]:
            return "readable, but contacts show no emailStatus: who left is known from activity only"
        return f"readable; custom fields: {len(self._names())}"

    def _describe_activity(self) -> str:
        now = local(self.clock(), self.zone)
        self._activity_page({"dateFrom": now.isoformat(), "dateTo": now.isoformat(), "maxrows": 1})
        return "readable"

    def _history(self) -> timedelta:
        return self.days("history_days", self.options.get("history_days") or "1095")


_GONE = ("unsubscribed", "cleaned")


def _judge(answer: Answer) -> ApiError | None:
    """Knows the one refusal that support can lift; every other is what its status says, JSON or text."""
    said = answer.body.get("message") if isinstance(answer.body, Mapping) else answer.body
    if answer.status == 400 and "contactactivity" in str(said).replace(" ", "").lower():
        message = "activity is switched off; ask the service's support to enable ContactActivity for this account"
        return RequestRejected(answer.service, message, status=400, code=NO_ACTIVITY)
    return None


def _call_for(one: Letter) -> tuple[str, dict[str, Any]]:
    """Path and body: of a prepared message with variables, or of a letter that brings its own text."""
    if one.template_id:
        recipient = {
            "locator": one.to,
            "jsonParam": json.dumps(dict(one.variables), ensure_ascii=False, default=str),
            "externalRequestId": one.key,
            "email": True,
        }
        body = {"recipients": [recipient], "email": True}
        return f"/v1/message/{int(one.template_id)}/smartsend", body | (
            {"fromName": one.sender_name} if one.sender_name else {}
        )
    return "/v1/message/email", {
        "from": f'"{one.sender_name}" <{one.sender}>' if one.sender_name else one.sender,
        "subject": one.subject,
        "htmlText": one.html or "",
        "plainText": one.text or "",
        "emails": [one.to],
        "tags": list(one.tags),
        "externalRequestId": one.key,
    }


def _sent(one: Letter, answer: object) -> Sent:
    """The verdict on a letter; the service's own words may hold the address and are only looked at."""
    rows = sent_rows(answer)
    if not rows:
        return Sent(one.key, "unknown", reason="an answer without results")
    status, said = str(rows[0].get("status")), str(rows[0].get("message") or "").lower()
    if status == "OK":
        return Sent(one.key, "accepted", message_ref=one.key)
    reason = "unsubscribed" if "unsubscri" in said else "the service refused it"
    return Sent(one.key, "rejected", reason=reason, evidence=_PROOF.get(reason))


def _row_id(row: Row) -> object:
    return row["id"]
