"""Mailchimp Marketing API 3.0.

Docs:    https://mailchimp.com/developer/marketing/api/
Limits:  10 simultaneous connections per user over all programs; lists page by at most 1000, bulk writes and segment
         changes by at most 500. No requests-per-minute figure and no Retry-After; at high volume 429 or 403 may come
         without a body.
Reading: a member's id is the MD5 of the lower-cased address, so it changes with the address. Opens are read from
         `open-details` (the only place that marks proxy opens), clicks and bounces from `email-activity`. The
         reports without `since` are read in full: `unsubscribed` and `abuse-reports` on every run, `sent-to` for a
         week, after which nothing in it changes. `sent-to` has no times: a send is dated with the letter.
Writing: a bulk answer is 200 also when rows failed. `update_existing` with status `subscribed` would undo an opt-out
         that came through the API, so this module never sends the two together.
Options: `list_id` (one audience only; needed for segments when the account has several), `add_missing` (true: create
         contacts that a segment names and the audience lacks), `activity_days` (how long after its sending a letter
         is asked for news; 90).
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Self
from urllib.parse import urlsplit

from lettertrail.bulk import Verdict, outcomes, push, strongest, targets
from lettertrail.clock import Clock
from lettertrail.errors import (
    ApiError,
    ConfigurationError,
    ContractError,
    NotFound,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps._mailchimp_rows import (
    MAILABLE,
    REFUSALS,
    UNSENT,
    Row,
    active,
    campaign,
    complained,
    contact,
    opened,
    row_id,
    row_key,
    sent,
    sent_at,
    spelled,
    unsubscribed,
)
from lettertrail.esps.port import (
    AccountConnection,
    Campaign,
    CheckStep,
    Contact,
    Esp,
    Event,
    Outcome,
    Record,
    normalise_email,
    operator_hosts,
)
from lettertrail.http import Answer, BasicAuth, RestClient
from lettertrail.throttle import shared_throttle

log = logging.getLogger(__name__)

BULK = 500
PAGE = 1000
CONTACT_OVERLAP = timedelta(hours=1)
EVENT_OVERLAP = timedelta(days=1)
SETTLING = timedelta(days=7)
NOT_THERE = "not on the audience"

_STANDING = "members.id,members.email_address,members.status,total_items"


class Mailchimp(Esp):
    """One Mailchimp account."""

    name = "mailchimp"
    hosts = ("api.mailchimp.com", "*.api.mailchimp.com")

    @classmethod
    def connect(
        cls, connection: AccountConnection, *, clock: Clock, allowed_hosts: Sequence[str] | None = None
    ) -> Self:
        """The adapter for one account: password = API key, address = the one in the key's last part if not given.

        Raises:
            ConfigurationError: no key, a key without a data centre and no address, or a host that is not permitted.
        """
        key = (connection.password or "").strip()
        if not key:
            raise ConfigurationError(f"connection {connection.conn_id!r} has no password; put the API key there")
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
            throttle=shared_throttle(f"{cls.name} {connection.conn_id}", max_concurrency=4),
            timeouts=(10.0, 130.0),  # the service itself gives up after 120 s
        )
        return cls(account=connection.conn_id, api=api, options=connection.extra, clock=clock)

    # Reading

    def check(self) -> Iterator[CheckStep]:
        """Three steps: the service answers to the key, the account, the audiences."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("key", lambda: str(self.api.get("/ping").get("health_status"))),
            ("account", lambda: f"account {self.api.get('/').get('account_name')!r}"),
            ("audience", self._describe_lists),
        )
        for step, try_it in steps:
            try:
                yield CheckStep(step, True, try_it())
            except (ApiError, ConfigurationError, ContractError) as error:
                yield CheckStep(step, False, str(error))
                return

    def campaigns(self, since: datetime | None) -> Iterator[Campaign]:
        """All letters, whatever `since`: a thousand come in one call, and old ones change without a trace."""
        for row in self._campaign_rows({}):
            yield campaign(row)

    def contacts(self, since: datetime | None) -> Iterator[Contact]:
        """Members changed since `since` less an hour, per audience."""
        filters = {"sort_field": "last_changed", "sort_dir": "ASC", "exclude_fields": "members._links"}
        if since is not None:
            filters["since_last_changed"] = spelled(since - CONTACT_OVERLAP)
        for list_id in self._lists():
            words: Counter[str] = Counter()
            for row in self._members(list_id, filters):
                member = contact(row, list_id)
                words[member.status] += 1
                yield member
            log.info("mailchimp contacts read=%d unknown=%d list=%s", words.total(), words["unknown"], list_id)

    def events(self, since: datetime | None, until: datetime | None = None) -> Iterator[Event]:
        """What happened to the letters of the last `activity_days` before `since`, re-reading a day."""
        params: dict[str, str] = {"sort_field": "send_time", "sort_dir": "ASC"}
        if since is not None:
            params["since_send_time"] = spelled(since - self._activity_window())
        for row in self._campaign_rows(params):
            if row.get("status") in UNSENT or not row.get("send_time"):
                continue
            words: Counter[str] = Counter()
            for event in self._happened(row, since - EVENT_OVERLAP if since else None):
                words[event.event_type] += 1
                yield event
            log.info("mailchimp events read=%d unknown=%d campaign=%s", words.total(), words["unknown"], row["id"])

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
        yield from outcomes("mailchimp suppress", records, verdicts)

    def add_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Adds to the static segment (a tag) named after the audience."""
        emails = targets(records)
        yield from outcomes("mailchimp add", records, self._tag(audience, emails) if emails else ())

    def remove_members(self, audience: str, records: Sequence[Record]) -> Iterator[Outcome]:
        """Takes the tag off; whoever does not have it is fine already."""
        emails = targets(records)
        yield from outcomes("mailchimp remove", records, self._untag(audience, emails) if emails else ())

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

    def _tag(self, audience: str, emails: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        list_id = self._one_list()
        standing = self._standing(list_id, emails)
        there: list[str] = []
        absent: list[str] = []
        for email in emails:
            match standing.get(email):
                case None:
                    absent.append(email)
                case "archived":
                    yield email, ("rejected", "archived")
                case _:
                    there.append(email)
        for email, verdict in self._create(list_id, absent):
            if verdict[0] == "applied":
                there.append(email)
            else:
                yield email, verdict
        if there:
            segment = self._segment(list_id, audience)
            if segment is None:
                segment = self._create_segment(list_id, audience)
            yield from self._change_segment(list_id, segment, "members_to_add", there)

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

    def _create(self, list_id: str, absent: Sequence[str]) -> Iterator[tuple[str, Verdict]]:
        """Creates contacts that the audience does not have in any state, when the account is allowed to."""
        if not absent or not self._adds_missing():
            yield from ((email, ("rejected", NOT_THERE)) for email in absent)
            return
        asks_twice = self.api.get(f"/lists/{list_id}", params={"fields": "double_optin"}).get("double_optin")
        status = "pending" if asks_twice else "subscribed"

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            answer = self.api.post(
                f"/lists/{list_id}",
                json={
                    "members": [{"email_address": email, "status": status} for email in bulk],
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

    def _adds_missing(self) -> bool:
        return self.options.get("add_missing", "").lower() in ("1", "true", "yes")

    def _activity_window(self) -> timedelta:
        text = self.options.get("activity_days", "90")
        if not text.isdigit():
            raise ConfigurationError(f"option activity_days of connection {self.account!r} must be a whole number")
        return timedelta(days=int(text))

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
        member = hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()
        try:
            row = self.api.get(path + "/{member}", fill={"member": member}, params={"fields": "status"})
        except NotFound:
            return None
        return str(row["status"])

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
    if answer.status in (400, 405, 414, 422, 426) and isinstance(title, str) and "@" not in title:
        return RequestRejected(answer.service, f"refused: {title[:60]}", status=answer.status, code=title)
    return None


def _address_in(key: str, conn_id: str) -> str:
    data_centre = key.rpartition("-")[2]
    if "-" not in key or not re.fullmatch(r"[a-z0-9]+", data_centre):
        raise ConfigurationError(
            f"connection {conn_id!r}: the API key does not end in a data centre such as -us6; give the host as well"
        )
    return f"https://{data_centre}.api.mailchimp.com/3.0"
