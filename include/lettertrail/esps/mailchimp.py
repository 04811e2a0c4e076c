"""Mailchimp Marketing API 3.0.

Docs:    https://mailchimp.com/developer/marketing/api/
Limits:  10 simultaneous connections per user over all programs; lists page by at most 1000, bulk writes and segment
         changes by at most 500. No requests-per-minute figure and no Retry-After; at high volume 429 or 403 may come
         without a body.
Reading: a member's id is the MD5 of the lower-cased address, so it changes with the address. Opens are read from
         `open-details` (the only place that marks proxy opens), clicks and bounces from `email-activity`. The
         reports without `since` are read in full: `unsubscribed` and `abuse-reports` on every run, `sent-to` for a
         week, after which nothing in it changes. `sent-to` has no times: a send is dated with the letter.
         The HTML of a sent letter does not change any more: `/campaigns/{id}/content` is asked once for each.
Writing: a bulk answer is 200 also when rows failed. `update_existing` with status `subscribed` would undo an opt-out
         that came through the API, so this module never sends the two together.
         Attributes go into merge fields, found by tag or label in any case; preferences into interest groups.
         Erasing is one call per person; more than a few go as a batch, which is asked about until it has run.
Sending: single letters go through Mandrill, and what becomes of them is read for a week. Its deny list takes one
         address a call, cannot be read in full, and is left alone.
Options: `list_id` (one audience only; needed for segments when the account has several), `add_missing` (true: create
         contacts that a segment names and the audience lacks), `add_fields` (true: create a text field for an
         attribute the audience has no field for), `activity_days` (how long after its sending a letter
         is asked for news; 90), `transactional_key` and `transactional_host` (Mandrill, see `_mandrill`).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl, urlsplit

from lettertrail.bulk import Verdict, attributes_of, names_beyond, outcomes, push, strongest, targets
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    ComplianceRefusal,
    ConfigurationError,
    ContractError,
    Duplicate,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps import _mandrill
from lettertrail.esps._mailchimp_rows import (
    EVIDENCE,
    MAILABLE,
    REFUSALS,
    UNSENT,
    active,
    body_of,
    campaign,
    complained,
    contact,
    hooked,
    link,
    mailing_list,
    opened,
    row_id,
    row_key,
    sent,
    sent_at,
    spelled,
    subscriber_hash,
    totals,
    unsubscribed,
)
from lettertrail.esps._rows import Row
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
from lettertrail.http import Answer, BasicAuth, RestClient, RetryPolicy

log = logging.getLogger(__name__)

BULK = 500
PAGE = 1000
CONTACT_OVERLAP = timedelta(hours=1)
EVENT_OVERLAP = timedelta(days=1)
SETTLING = timedelta(days=7)
PATIENCE = RetryPolicy(attempts=14, budget=900.0)
"""Half of all requests may fail for a while, and a push is hundreds of them."""
NOT_THERE = "not on the audience"
NOT_WRITTEN = "not written"
ONE_BY_ONE = 10
"""Up to so many people are erased by a call each; more go as a batch."""
BATCH = 1000
BATCH_WAITS = (1.0, 2.0, 5.0, 10.0, *(30.0,) * 120)
"""Seconds between two questions about a batch: an hour in all."""

_STANDING = "members.id,members.email_address,members.status,total_items"
_HOLDING = f"{_STANDING},members.merge_fields,members.interests,members.tags"


class Mailchimp(Esp):
    """One Mailchimp account."""

    name = "mailchimp"
    hosts = ("api.mailchimp.com", "*.api.mailchimp.com", _mandrill.HOST)
    title = "Mailchimp"
    labels: ClassVar[Mapping[str, str]] = {
        "host": "API address (from the key when empty)",
        "login": "User name (any)",
        "password": "API key",
    }
    placeholders: ClassVar[Mapping[str, str]] = {
        "host": "https://us6.api.mailchimp.com/3.0",
        "password": "0123…cdef-us6",
        "activity_days": "90",
    }
    fields = (
        ConnectionField("list_id", "Audience", "Only this audience; needed for segments when there are several."),
        ConnectionField("add_missing", "Add missing contacts", "true: create contacts that a segment names."),
        ConnectionField("add_fields", "Add missing fields", "true: create a text field for an attribute without one."),
        ConnectionField("activity_days", "Days of activity", "How long after its sending a letter is asked for news."),
        ConnectionField("transactional_key", "Transactional key", "Mandrill's API key, to send single letters.", True),
        ConnectionField("transactional_host", "Transactional address", "Another address of Mandrill's API."),
    )
    hooks: ClassVar[Mapping[str, Hook]] = {
        "marketing": Hook("hmac_sha256_time", "form", header="x-mailchimp-signature", is_optional=True),
        "transactional": Hook("hmac_sha1_form", "form", header="x-mandrill-signature"),
    }
    bulk = BULK
    connections = 4  # of ten: people and other programs use the account too
    sends_attributes = True
    endpoints: ClassVar[Mapping[str, tuple[Endpoint, ...]]] = {
        "suppress": (Endpoint("POST /lists/{list}", BULK, times="audience"),),
        "add": (Endpoint("POST /lists/{list}", BULK),),
        "add_bare": (Endpoint("POST /lists/{list}/segments/{segment}", BULK),),
        "remove": (Endpoint("POST /lists/{list}/segments/{segment}", BULK),),
    }
    traced_after = timedelta(minutes=15)

    def __init__(
        self,
        *,
        account: str,
        api: RestClient,
        options: Mapping[str, object] | None = None,
        clock: Clock,
        mandrill: _mandrill.Mandrill | None = None,
    ) -> None:
        """`mandrill` sends single letters."""
        super().__init__(account=account, api=api, options=options, clock=clock)
        self.mandrill = mandrill

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The adapter for one account: password = API key, address = the one in the key's last part if not given.

        Raises:
            ConfigurationError: no key, a key without a data centre and no address, or a host that is not permitted.
        """
        key = connection.needed_password()
        base_url = connection.address or _address_in(key, connection.conn_id)
        if not urlsplit(base_url).path:
            base_url += "/3.0"
        api = RestClient(
            base_url,
            service=cls.name,
            auth=BasicAuth(connection.login or "lettertrail", key),
            hosts=cls.hosts,
            allowed_hosts=operator_hosts(allowed_hosts),
            classify=_judge,
            retry=PATIENCE,
            throttle=cls.throttle(connection),
            timeouts=(10.0, 130.0),  # the service itself gives up after 120 s
            clock=clock,
        )
        return cls(
            account=connection.conn_id,
            api=api,
            options=connection.extra,
            clock=clock,
            mandrill=_mandrill.Mandrill.connect(connection, clock=clock, allowed_hosts=allowed_hosts),
        )

    # Reading

    def check(self) -> Iterator[CheckStep]:
        """The service answers to the key, the account, the audiences, and to the transactional key if there is one."""
        steps: list[tuple[str, Callable[[], str]]] = [
            ("key", lambda: str(self.api.get("/ping").get("health_status"))),
            ("account", lambda: f"account {self.api.get('/').get('account_name')!r}"),
            ("audience", self._describe_lists),
        ]
        if self.mandrill:
            steps.append(("transactional key", self.mandrill.ping))
        yield from tried(steps)

    def lists(self) -> Iterator[MailingList]:
        """The audiences, or the one of option `list_id`."""
        wanted = self.options.get("list_id")
        rows = self.api.pages("/lists", rows="lists", key=row_id, params={"exclude_fields": "lists._links"})
        yield from (mailing_list(row) for row in rows if wanted in (None, "", row["id"]))

    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """All letters, whatever `since`: a thousand come in one call, and old ones change without a trace."""
        for row in self._campaign_rows({}):
            yield campaign(row)

    def totals(self, since: datetime | None) -> Iterator[CampaignTotals]:
        """The reports of the letters of the last `activity_days` before `since`."""
        wanted = self.options.get("list_id")
        rows = self.api.pages(
            "/reports",
            rows="reports",
            key=row_id,
            params={"exclude_fields": "reports._links,reports.timeseries", **self._recent(since)},
        )
        yield from (totals(row) for row in rows if wanted in (None, "", row.get("list_id")))

    def links(self, since: datetime | None) -> Iterator[Link]:
        """The links of the same letters."""
        for letter in self._sent_letters(since):
            rows = self.api.pages(
                f"/reports/{letter['id']}/click-details",
                rows="urls_clicked",
                key=row_id,
                params={"exclude_fields": "urls_clicked._links"},
            )
            yield from (link(row, letter["id"]) for row in rows)

    def bodies(self, held: Mapping[str, str]) -> Iterator[Body]:
        """The HTML of sent letters; of a test of several versions the first."""
        for letter in self._sent_letters(None, sort_dir="DESC"):
            if held.get(letter["id"]) == letter["send_time"]:
                continue
            try:
                answer = self.api.get(f"/campaigns/{letter['id']}/content", params={"exclude_fields": "_links"})
            except NotFound:  # deleted while we read
                continue
            yield body_of(letter, answer)

    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Members changed since `since` less an hour, per audience."""
        filters = {"sort_field": "last_changed", "sort_dir": "ASC", "exclude_fields": "members._links"}
        if since is not None:
            filters["since_last_changed"] = spelled(since - CONTACT_OVERLAP)
        for list_id in self._lists():
            words: Counter[str] = Counter()
            interests = {key: label for label, key in self._interests(list_id).items()}
            for row in self._members(list_id, filters):
                member = contact(row, list_id, interests)
                words[member.status] += 1
                yield member
            log.info("mailchimp contacts read=%d unknown=%d list=%s", words.total(), words["unknown"], list_id)

    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        """News of the letters of the last `activity_days` before `since`, re-reading a day; then of single letters."""
        for row in self._sent_letters(since):
            words: Counter[str] = Counter()
            for event in self._happened(row, since - EVENT_OVERLAP if since else None):
                words[event.event_type] += 1
                yield event
            log.info("mailchimp events read=%d unknown=%d campaign=%s", words.total(), words["unknown"], row["id"])
        if self.mandrill:
            yield from self.mandrill.events(since, until or self.clock())

    def _recent(self, since: datetime | None) -> dict[str, str]:
        return {} if since is None else {"since_send_time": spelled(since - self._activity_window())}

    def _sent_letters(self, since: datetime | None, *, sort_dir: str = "ASC") -> Iterator[Row]:
        params = {"sort_field": "send_time", "sort_dir": sort_dir, **self._recent(since)}
        rows = self._campaign_rows(params)
        return (row for row in rows if row.get("status") not in UNSENT and row.get("send_time"))

    def _happened(self, letter: Row, since: datetime | None) -> Iterator[Event]:
        is_settled = since is not None and sent_at(letter) < since - SETTLING
        bounced: set[str] = set()
        for row in self._report(letter, "email-activity", "emails", since if is_settled else None):
            for event in active(letter, row):
                if event.event_type == "bounced":
                    bounced.add(row["email_id"])
                yield event
        for row in self._report(letter, "open-details", "members", since):
            yield from opened(letter, row)
        for row in self._report(letter, "unsubscribed", "unsubscribes"):
            yield from unsubscribed(letter, row)
        for row in self._report(letter, "abuse-reports", "abuse_reports"):
            yield from complained(letter, row)
        if not is_settled:
            for row in self._report(letter, "sent-to", "sent_to"):
                yield from sent(letter, row, dated=bounced)

    def _report(self, letter: Row, report: str, rows: str, since: datetime | None = None) -> Iterator[Row]:
        # Counters and merge fields change with every open and are kept elsewhere: left out, a row stays the same.
        left_out = ("_links", "merge_fields", "open_count", "last_open", "opens_count")
        params = {"exclude_fields": ",".join(f"{rows}.{name}" for name in left_out)}
        if since is not None:
            params["since"] = spelled(since)
        path = f"/reports/{letter['id']}/{report}"
        return self.api.pages(path, rows=rows, key=row_key, params=params)

    def suppressed(self) -> Iterator[str]:
        """Addresses that left or bounced out of an audience and can be mailed through no other."""
        lists = self._lists()
        refused: set[str] = set()
        for list_id in lists:
            for status in ("unsubscribed", "cleaned"):
                refused.update(self._addresses(list_id, status))
        if len(lists) > 1:
            for list_id in lists:
                for status in MAILABLE:
                    refused.difference_update(self._addresses(list_id, status))
        yield from sorted(refused)

    def members(self, audience: str) -> Iterator[str]:
        """Addresses in the static segment of that name, also those that may not be mailed any more."""
        list_id = self._one_list()
        segment = self._segment(list_id, audience)
        if segment is not None:
            yield from self._segment_members(list_id, segment)

    # Writing

    def suppress(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Sets `unsubscribed` where an audience has the address as subscribed or pending; adds nobody."""
        emails = targets(records)
        *others, last = self._lists()
        earlier = [dict(self._unsubscribe(list_id, emails)) for list_id in others]
        verdicts = (
            (email, strongest([verdict, *(known[email] for known in earlier)], weakest_reason=NOT_THERE))
            for email, verdict in self._unsubscribe(last, emails)
        )
        yield from outcomes("mailchimp suppress", records, verdicts, proof=EVIDENCE)

    def erase(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Deletes from every audience for good; Mailchimp never takes the address by its interface again."""
        emails = targets(records)
        *others, last = self._lists() if emails else [""]
        earlier = [dict(self._erase(list_id, emails)) for list_id in others]
        verdicts = (
            (email, strongest([verdict, *(known[email] for known in earlier)], weakest_reason=NOT_THERE))
            for email, verdict in self._erase(last, emails)
        )
        yield from outcomes("mailchimp erase", records, verdicts)

    def upsert(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes merge fields. An attribute the audience has no field for is a refusal, not a loss in silence."""
        emails = targets(records)
        verdicts = self._upsert(emails, attributes_of(records)) if emails else ()
        yield from outcomes("mailchimp upsert", records, verdicts, proof=EVIDENCE)

    def set_preferences(self, records: Sequence[Record]) -> Iterator[Outcome]:
        """Writes interests by name, or by `group: name` where two groups have the same name."""
        emails = targets(records)
        verdicts = self._prefer(emails, attributes_of(records)) if emails else ()
        yield from outcomes("mailchimp preferences", records, verdicts, proof=EVIDENCE)

    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Adds to the static segment (a tag) named after the audience, and writes the attributes it has fields for."""
        emails = targets(records)
        verdicts = self._tag(audience, emails, attributes_of(records)) if emails else ()
        yield from outcomes("mailchimp add", records, verdicts, proof=EVIDENCE)

    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Takes the tag off; whoever does not have it is fine already."""
        emails = targets(records)
        yield from outcomes("mailchimp remove", records, self._untag(audience, emails) if emails else ())

    def send(self, letters: Sequence[Letter]) -> Iterator[Sent]:
        """Sends through Mandrill."""
        if self.mandrill is None:
            raise ConfigurationError(f"connection {self.account!r} has no option transactional_key to send with")
        for letter in letters:
            yield self.mandrill.send(letter)

    @property
    def sending(self) -> RestClient:
        """Mandrill."""
        return self.mandrill.api if self.mandrill else self.api

    def trace(self, letter: Letter, *, since: datetime, known: Collection[str]) -> str | None:
        """By our key in the message's metadata."""
        if self.mandrill is None:
            raise ConfigurationError(f"connection {self.account!r} has no option transactional_key to ask with")
        return self.mandrill.trace(letter)

    @classmethod
    def read_hook(cls, kind: str, delivery: Delivery) -> Iterator[Event]:
        """`marketing`: opt-outs, complaints and addresses given up; `transactional`: Mandrill's events."""
        if kind == "marketing":
            form = dict(parse_qsl(delivery.body.decode("utf-8", "replace"), keep_blank_values=True))
            if "type" not in form:
                raise ContractError("mailchimp: a webhook without a type")
            yield from hooked(form)
        elif kind == "transactional":
            yield from _mandrill.read_hook(delivery)
        else:
            yield from super().read_hook(kind, delivery)

    def calls(self) -> list[Call]:
        """Those to Mandrill come last."""
        return [*super().calls(), *(self.mandrill.api.drain_calls() if self.mandrill else ())]

    def _unsubscribe(self, list_id: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        standing = self._standing(list_id, emails)
        for email in emails:
            status = standing.get(email, NOT_THERE)
            if status not in MAILABLE:
                yield email, ("already_ok", status)

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            # A required merge field that is empty must not keep someone from leaving.
            answer = self.api.post(
                f"/lists/{list_id}",
                params={"skip_merge_validation": "true"},
                json={
                    "members": [{"email_address": email, "status": "unsubscribed"} for email in bulk],
                    "update_existing": True,
                },
                idempotent=True,
                records=len(bulk),
            )
            return self._bulk_verdicts(answer)

        def settled(bulk: Sequence[str]) -> set[str]:
            now = self._standing(list_id, bulk)
            return {email for email in bulk if now.get(email, NOT_THERE) not in MAILABLE}

        to_write = [email for email in emails if standing.get(email) in MAILABLE]
        yield from push(to_write, send, settled, bulk=BULK, unmentioned="applied", otherwise="still subscribed")

    def _erase(self, list_id: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        standing = self._standing(list_id, emails)
        there = [email for email in emails if email in standing]
        yield from ((email, ("already_ok", NOT_THERE)) for email in emails if email not in standing)

        def settled(bulk: Sequence[str]) -> set[str]:
            return set(bulk) - set(self._standing(list_id, bulk))

        def one(bulk: Sequence[str]) -> dict[str, Verdict]:
            path, member = f"/lists/{list_id}/members/{{member}}/actions/delete-permanent", subscriber_hash(bulk[0])
            try:
                self.api.post(path, fill={"member": member}, idempotent=True, records=1)
            except NotFound:
                pass  # erased by the attempt whose answer was lost, or by somebody else
            except RequestRejected as error:
                return {bulk[0]: ("rejected", error.code or "refused")}
            return {bulk[0]: ("applied", None)}

        def many(bulk: Sequence[str]) -> dict[str, Verdict]:
            paths = (f"/lists/{list_id}/members/{subscriber_hash(email)}/actions/delete-permanent" for email in bulk)
            batch = self._run_batch([{"method": "POST", "path": path} for path in paths])
            # Which of them failed is in a file of answers; reading back tells the same.
            return {} if batch["errored_operations"] else dict.fromkeys(bulk, ("applied", None))

        few = len(there) <= ONE_BY_ONE
        yield from push(
            there,
            one if few else many,
            settled,
            bulk=1 if few else BATCH,
            unmentioned="applied",
            otherwise="not erased",
        )

    def _run_batch(self, operations: Sequence[Row]) -> Row:
        """Hands in a batch and waits until it has run.

        Raises:
            TemporaryApiError: it did not finish in time.
        """
        batch = self.api.post("/batches", json={"operations": operations}, records=len(operations))
        for wait in BATCH_WAITS:
            if batch["status"] == "finished":
                return dict(batch)
            self.api.pause(wait)
            batch = self.api.get(f"/batches/{batch['id']}")
        raise TemporaryApiError(self.name, "a batch did not finish in an hour")

    def _upsert(self, emails: Sequence[str], wanted: Mapping[str, Row]) -> Iterator[tuple[str, Verdict]]:
        list_id = self._one_list()
        tags = self._merge_tags(list_id, wanted)
        rows: dict[str, Row] = {}
        for email in emails:
            given = wanted.get(email, {})
            unknown = sorted(name for name in given if name.casefold() not in tags)
            if unknown:
                yield email, ("rejected", f"the audience has no field {unknown[0]!r}")
            elif not given:
                yield email, ("already_ok", "nothing to write")
            else:
                rows[email] = {"merge_fields": _merge_fields(given, tags)}
        there, absent, archived = self._sorted_out(list_id, list(rows))
        yield from ((email, ("rejected", "archived")) for email in archived)
        yield from self._create(list_id, absent, rows)
        yield from self._write_members(list_id, {email: rows[email] for email in there})

    def _prefer(self, emails: Sequence[str], wanted: Mapping[str, Row]) -> Iterator[tuple[str, Verdict]]:
        list_id = self._one_list()
        interests = self._interests(list_id)
        rows: dict[str, Row] = {}
        for email in emails:
            given = wanted.get(email, {})
            unknown = sorted(name for name in given if name not in interests)
            if unknown:
                yield email, ("rejected", f"the audience has no interest {unknown[0]!r}")
            elif not given:
                yield email, ("already_ok", "nothing to write")
            else:
                rows[email] = {"interests": {interests[name]: bool(value) for name, value in given.items()}}
        there, absent, archived = self._sorted_out(list_id, list(rows))
        yield from ((email, ("rejected", "archived")) for email in archived)
        yield from ((email, ("rejected", NOT_THERE)) for email in absent)
        yield from self._write_members(list_id, {email: rows[email] for email in there})

    def _write_members(self, list_id: str, rows: Mapping[str, Row]) -> Iterator[tuple[str, Verdict]]:
        """Changes members that are there. Without a status, so that each keeps his own."""

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            answer = self.api.post(
                f"/lists/{list_id}",
                params={"skip_merge_validation": "true"},  # a required field that is empty is not ours to fill
                json={"members": [{"email_address": email, **rows[email]} for email in bulk], "update_existing": True},
                idempotent=True,
                records=len(bulk),
            )
            verdicts = self._bulk_verdicts(answer)
            for member in answer.get("updated_members", ()):
                email = normalise_email(member["email_address"])
                if email in rows and not _has_tags(member, rows[email]):
                    del verdicts[email]
            return verdicts

        def settled(bulk: Sequence[str]) -> set[str]:
            members = self._members(list_id, {"fields": _HOLDING})
            held = {normalise_email(row["email_address"]): row for row in members}
            return {email for email in bulk if email in held and _holds(held[email], rows[email])}

        yield from push(list(rows), send, settled, bulk=BULK, unmentioned="applied", otherwise=NOT_WRITTEN)

    def _sorted_out(self, list_id: str, emails: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
        """The members that may be changed, the strangers, and the archived."""
        standing = self._standing(list_id, emails)
        archived = [email for email in emails if standing.get(email) == "archived"]
        there = [email for email in emails if standing.get(email, "archived") != "archived"]
        return there, [email for email in emails if email not in standing], archived

    def _tag(self, audience: str, emails: Sequence[str], wanted: Mapping[str, Row]) -> Iterator[tuple[str, Verdict]]:
        list_id = self._one_list()
        rows = self._segment_fields(list_id, wanted)
        there, absent, archived = self._sorted_out(list_id, emails)
        yield from ((email, ("rejected", "archived")) for email in archived)
        bare = [email for email in there if email not in rows]
        for email, verdict in self._create(list_id, absent, rows):
            if verdict[0] == "applied":
                bare.append(email)
            else:
                yield email, verdict
        tagged = {email: {**rows[email], "tags": [audience]} for email in there if email in rows}
        for email, verdict in self._write_members(list_id, tagged):
            if verdict == ("rejected", NOT_WRITTEN):
                bare.append(email)  # older accounts may pass over the tags of a bulk
            else:
                yield email, verdict
        if bare:
            segment = self._segment(list_id, audience)
            if segment is None:
                segment = self._create_segment(list_id, audience)
            yield from self._change_segment(list_id, segment, "members_to_add", bare)

    def _segment_fields(self, list_id: str, wanted: Mapping[str, Row]) -> dict[str, Row]:
        """The attributes of a segment that the audience has fields for; the rest is told and left out."""
        if not wanted:
            return {}
        tags = self._merge_tags(list_id, wanted)
        if unknown := names_beyond(tags, wanted):
            log.warning("mailchimp list=%s has no merge field for: %s", list_id, ", ".join(unknown))
        fields = ((email, _merge_fields(given, tags)) for email, given in wanted.items())
        return {email: {"merge_fields": values} for email, values in fields if values}

    def _untag(self, audience: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        list_id = self._one_list()
        segment = self._segment(list_id, audience)
        if segment is None:
            yield from ((email, ("already_ok", "no such segment")) for email in emails)
            return
        for email, verdict in self._change_segment(list_id, segment, "members_to_remove", emails):
            yield email, ("already_ok", "not in the segment") if verdict[0] == "rejected" else verdict

    def _change_segment(
        self, list_id: str, segment: int, change: str, emails: Sequence[str]
    ) -> Iterator[tuple[str, Verdict]]:
        done = {"members_to_add": "members_added", "members_to_remove": "members_removed"}[change]

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            path = f"/lists/{list_id}/segments/{segment}"
            answer = self.api.post(path, json={change: list(bulk)}, idempotent=True, records=len(bulk))
            verdicts: dict[str, Verdict] = {
                normalise_email(address): ("rejected", self._refusal(error.get("error")) or NOT_THERE)
                for error in answer.get("errors", ())
                for address in error.get("email_addresses", ())
            }
            for member in answer.get(done, ()):
                verdicts[normalise_email(member["email_address"])] = ("applied", None)
            return verdicts

        def settled(bulk: Sequence[str]) -> set[str]:
            inside = set(self._segment_members(list_id, segment))
            return set(bulk) & inside if change == "members_to_add" else set(bulk) - inside

        yield from push(emails, send, settled, bulk=BULK, unmentioned="already_ok", otherwise=NOT_THERE)

    def _create(self, list_id: str, absent: Sequence[str], rows: Mapping[str, Row]) -> Iterator[tuple[str, Verdict]]:
        """Creates contacts that the audience does not have in any state, when the account is allowed to."""
        if not absent or not self.is_on("add_missing"):
            yield from ((email, ("rejected", NOT_THERE)) for email in absent)
            return
        asks_twice = self.api.get(f"/lists/{list_id}", params={"fields": "double_optin"}).get("double_optin")
        status = "pending" if asks_twice else "subscribed"

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            answer = self.api.post(
                f"/lists/{list_id}",
                json={
                    "members": [{"email_address": email, "status": status, **rows.get(email, {})} for email in bulk],
                    "update_existing": False,  # so that a contact made meanwhile keeps its own choice
                },
                records=len(bulk),
            )
            return self._bulk_verdicts(answer)

        def settled(bulk: Sequence[str]) -> set[str]:
            return set(bulk) & set(self._standing(list_id, bulk))

        yield from push(absent, send, settled, bulk=BULK, unmentioned="applied", otherwise="not created")

    def _bulk_verdicts(self, answer: Row) -> dict[str, Verdict]:
        verdicts: dict[str, Verdict] = {}
        for error in answer.get("errors", ()):
            reason = self._refusal(error.get("error")) or str(error.get("error_code") or "refused")
            verdicts[normalise_email(error["email_address"])] = ("rejected", reason)
        for member in (*answer.get("new_members", ()), *answer.get("updated_members", ())):
            verdicts[normalise_email(member["email_address"])] = ("applied", None)
        return verdicts

    def _refusal(self, text: str | None) -> str | None:
        """The compliance refusal an error text speaks of; the text itself may hold the address."""
        said = (text or "").lower()
        return next((refusal for phrase, refusal in REFUSALS.items() if phrase in said), None)

    # Where things are

    def _lists(self) -> list[str]:
        if list_id := self.options.get("list_id"):
            if not re.fullmatch(r"\w+", list_id):
                raise ConfigurationError(f"option list_id of connection {self.account!r} is no audience id")
            return [list_id]
        rows = self.api.pages("/lists", rows="lists", key=row_id, params={"fields": "lists.id,total_items"})
        lists = [row["id"] for row in rows]
        if not lists:
            raise ConfigurationError(f"connection {self.account!r}: the account has no audience; create one there")
        return lists

    def _one_list(self) -> str:
        lists = self._lists()
        if len(lists) != 1:
            raise ConfigurationError(
                f"connection {self.account!r} has {len(lists)} audiences; name the one for segments in option list_id"
            )
        return lists[0]

    def _describe_lists(self) -> str:
        lists = self._lists()
        for list_id in lists:
            self.api.get(f"/lists/{list_id}", params={"fields": "id"})
        return f"audiences: {len(lists)}"

    def _activity_window(self) -> timedelta:
        return self.days("activity_days", self.options.get("activity_days", "90"))

    def _campaign_rows(self, params: Mapping[str, str]) -> Iterator[Row]:
        asked = {"sort_field": "create_time", "sort_dir": "ASC", "exclude_fields": "campaigns._links", **params}
        if list_id := self.options.get("list_id"):
            asked["list_id"] = list_id
        yield from self.api.pages("/campaigns", rows="campaigns", key=row_id, params=asked)

    def _members(self, list_id: str, filters: Mapping[str, str]) -> Iterator[Row]:
        """Members by filter; without a status the archived ones too, which come only when asked for."""
        path = f"/lists/{list_id}/members"
        archived: set[str] = set()
        for row in self.api.pages(path, rows="members", key=row_id, params=filters):
            if row.get("status") == "archived":
                archived.add(row["id"])
            yield row
        if "status" not in filters:
            more = self.api.pages(path, rows="members", key=row_id, params={**filters, "status": "archived"})
            yield from (row for row in more if row["id"] not in archived)

    def _addresses(self, list_id: str, status: str) -> Iterator[str]:
        rows = self._members(list_id, {"status": status, "fields": _STANDING})
        return (normalise_email(row["email_address"]) for row in rows)

    def _standing(self, list_id: str, emails: Collection[str]) -> dict[str, str]:
        """Address → status, without those the audience does not have; by the way that takes fewer calls."""
        path = f"/lists/{list_id}/members"
        wanted = set(emails)
        if not wanted:
            return {}
        total = self.api.get(path, params={"count": 1, "fields": "total_items"})["total_items"]
        if len(wanted) <= total // PAGE:
            return {email: status for email in sorted(wanted) if (status := self._status(path, email))}
        rows = self._members(list_id, {"fields": _STANDING})
        found = ((normalise_email(row["email_address"]), row["status"]) for row in rows)
        return {email: status for email, status in found if email in wanted}

    def _status(self, path: str, email: str) -> str | None:
        member = subscriber_hash(email)
        try:
            row = self.api.get(path + "/{member}", fill={"member": member}, params={"fields": "status"})
        except NotFound:
            return None
        return str(row["status"])

    def _merge_tags(self, list_id: str, wanted: Mapping[str, Row]) -> dict[str, str]:
        """Tag or label in lower case → tag; what is wanted and missing is made when the account allows it."""
        path = f"/lists/{list_id}/merge-fields"
        rows = list(
            self.api.pages(
                path,
                rows="merge_fields",
                key=lambda row: row["merge_id"],
                params={"fields": "merge_fields.merge_id,merge_fields.tag,merge_fields.name,total_items"},
            )
        )
        labels = {str(row.get("name", "")).casefold(): str(row["tag"]) for row in rows}
        tags = labels | {str(row["tag"]).casefold(): str(row["tag"]) for row in rows}
        for name in names_beyond(tags, wanted) if self.is_on("add_fields") else ():
            made = self.api.post(path, json={"name": name, "type": "text"})  # Mailchimp finds a tag for it
            tags[name.casefold()] = str(made["tag"])
        return tags

    def _interests(self, list_id: str) -> dict[str, str]:
        """Name of a preference → id; `group: name` where a name alone is not enough."""
        path = f"/lists/{list_id}/interest-categories"
        found: list[tuple[str, str, str]] = []
        for category in self.api.pages(path, rows="categories", key=row_id, params={"exclude_fields": "_links"}):
            interests = self.api.pages(
                f"{path}/{category['id']}/interests", rows="interests", key=row_id, params={"exclude_fields": "_links"}
            )
            found += [(str(category["title"]), str(row["name"]), str(row["id"])) for row in interests]
        names = Counter(name for _, name, _ in found)
        return {name if names[name] == 1 else f"{group}: {name}": key for group, name, key in found}

    def _segment(self, list_id: str, audience: str) -> int | None:
        rows = self.api.pages(
            f"/lists/{list_id}/segments",
            rows="segments",
            key=row_id,
            params={"type": "static", "fields": "segments.id,segments.name,total_items"},
        )
        return next((row["id"] for row in rows if row["name"] == audience), None)

    def _create_segment(self, list_id: str, audience: str) -> int:
        body = {"name": audience, "static_segment": []}
        try:
            return int(self.api.post(f"/lists/{list_id}/segments", json=body)["id"])
        except TemporaryApiError:
            # It may have been made before the answer was lost, and a second one would have the same name.
            made = self._segment(list_id, audience)
            if made is None:
                raise
            return made

    def _segment_members(self, list_id: str, segment: int) -> Iterator[str]:
        everyone = dict.fromkeys(("include_cleaned", "include_transactional", "include_unsubscribed"), "true")
        rows = self.api.pages(
            f"/lists/{list_id}/segments/{segment}/members",
            rows="members",
            key=row_id,
            params={"fields": "members.id,members.email_address,total_items", **everyone},
        )
        return (normalise_email(row["email_address"]) for row in rows)


def _judge(answer: Answer) -> ApiError | None:
    """Names a refusal by its title; the detail is left out, it may hold the address."""
    title = answer.body.get("title") if isinstance(answer.body, Mapping) else None
    if answer.status == 403 and title is None:
        return RateLimited(answer.service, "too many requests, without a word", status=403)
    if answer.status == 400 and title in EVIDENCE:
        return ComplianceRefusal(answer.service, f"refused: {title}", evidence=EVIDENCE[title], status=400)
    if answer.status == 400 and title == "Member Exists":
        return Duplicate(answer.service, "the audience has this member", status=400, code=title)
    if answer.status in (400, 405, 414, 422, 426) and isinstance(title, str) and "@" not in title:
        return RequestRejected(answer.service, f"refused: {title[:60]}", status=answer.status, code=title)
    return None


def _merge_fields(given: Row, tags: Mapping[str, str]) -> dict[str, Any]:
    """Values by tag. Mailchimp knows no null: an empty text clears a field."""
    named = ((tags.get(name.casefold()), value) for name, value in given.items())
    return {tag: "" if value is None else value for tag, value in named if tag}


def _has_tags(member: Row, wanted: Row) -> bool:
    return {tag.get("name") for tag in member.get("tags") or ()} >= set(wanted.get("tags", ()))


def _holds(member: Row, wanted: Row) -> bool:
    """Whether a member has the fields, interests and tags that were written."""
    return _has_tags(member, wanted) and all(
        str((member.get(part) or {}).get(name)) == str(value)
        for part in ("merge_fields", "interests")
        for name, value in (wanted.get(part) or {}).items()
    )


def _address_in(key: str, conn_id: str) -> str:
    data_centre = key.rpartition("-")[2]
    if "-" not in key or not re.fullmatch(r"[a-z0-9]+", data_centre):
        raise ConfigurationError(
            f"connection {conn_id!r}: the API key does not end in a data centre such as -us6; give the host as well"
        )
    return f"https://{data_centre}.api.mailchimp.com/3.0"
