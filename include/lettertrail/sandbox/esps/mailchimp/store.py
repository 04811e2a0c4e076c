"""The account's state in one SQLite file. A restart finds everything as it was left."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lettertrail.sandbox.esps.mailchimp.wire import utc_text
from lettertrail.sandbox.state import SqliteState

SCHEMA = """
create table if not exists lists (
    id text primary key, web_id integer not null, name text not null, date_created text not null,
    double_optin integer not null
);
create table if not exists members (
    member integer primary key,                 -- survives an address change, as contact_id does
    list_id text not null references lists,
    id text not null,                           -- md5 of the lower-cased address
    email_address text not null,
    status text not null,
    former_status text,                         -- what an archived member was
    compliance text,                            -- unsubscribe | bounce | abuse: the API may not subscribe this person
    unsubscribe_reason text not null default '',
    email_type text not null default 'html',
    language text not null default '',
    vip integer not null default 0,
    source text not null default 'API - Generic',
    merge_fields text not null default '{}',
    interests text not null default '{}',
    location text not null default '{}',
    ip_signup text not null default '',
    ip_opt text not null default '',
    timestamp_signup text not null default '',
    timestamp_opt text not null default '',
    last_changed text not null,
    unsubscribed_at text not null default '',
    unique (list_id, id)
);
create index if not exists members_changed on members (list_id, last_changed);
create index if not exists members_status on members (list_id, status);
create table if not exists forgotten (list_id text not null, id text not null, primary key (list_id, id));
create table if not exists segments (
    id integer primary key, list_id text not null, name text not null, type text not null, options text,
    created_at text not null, updated_at text not null, unique (list_id, name)
);
create table if not exists segment_members (
    segment_id integer not null references segments on delete cascade,
    member integer not null references members on delete cascade,
    added_at text not null,
    primary key (segment_id, member)
) without rowid;
create index if not exists segment_members_by_member on segment_members (member);
create table if not exists merge_fields (
    list_id text not null, merge_id integer not null, tag text not null, payload text not null,
    primary key (list_id, merge_id)
);
create table if not exists interest_categories (id text primary key, list_id text not null, payload text not null);
create table if not exists interests (
    id text primary key, category_id text not null references interest_categories on delete cascade,
    list_id text not null, payload text not null
);
create table if not exists webhooks (
    id text primary key, list_id text not null, url text not null, payload text not null, signing_secret text not null
);
create table if not exists hook_events (
    number integer primary key, list_id text not null, type text not null, source text not null, fired_at text not null,
    data text not null
);
create table if not exists campaigns (
    id text primary key, web_id integer not null, list_id text not null, type text not null, status text not null,
    title text not null, subject_line text not null, google_analytics text not null, create_time text not null,
    send_time text not null, archive_url text not null
);
create table if not exists contents (campaign_id text primary key, html text not null);
create table if not exists sends (
    send integer primary key, campaign_id text not null, list_id text not null, email_id text not null,
    email_address text not null, status text not null, sent_at text not null
);
create index if not exists sends_by_campaign on sends (campaign_id, send);
create index if not exists sends_by_email on sends (email_id);
create table if not exists activity (
    activity integer primary key, send integer not null references sends, campaign_id text not null,
    action text not null, type text, timestamp text not null, url text, ip text, is_proxy integer not null default 0
);
create index if not exists activity_by_send on activity (send, timestamp);
create index if not exists activity_by_campaign on activity (campaign_id, action, timestamp);
create table if not exists unsubscribes (
    send integer primary key references sends, campaign_id text not null, timestamp text not null, reason text not null
);
create index if not exists unsubscribes_by_campaign on unsubscribes (campaign_id);
create table if not exists abuse_reports (
    id integer primary key, send integer not null references sends, campaign_id text not null, date text not null
);
create index if not exists abuse_by_campaign on abuse_reports (campaign_id);
create table if not exists batches (
    id text primary key, status text not null, operations text not null, results text not null default '[]',
    total integer not null, finished integer not null default 0, errored integer not null default 0,
    submitted_at text not null, completed_at text not null default ''
);
"""


LIST_ID = "a1b2c3d4e5"
"""The audience that the seeds make."""

LEAVING = {"unsubscribe": "None given", "abuse": "Abuse complaint"}
"""Why somebody is unsubscribed for good, and the words that members show for it."""


class MailchimpStore(SqliteState):
    """One account."""

    schema = SCHEMA

    def now(self) -> str:
        """The current time as it is written in answers."""
        return utc_text(self.moment)

    def note_hook(self, member: sqlite3.Row, kind: str, *, source: str, at: str | None = None, **more: str) -> None:
        """Keeps something that webhooks are told of, as the member is now; nothing when nobody listens.

        Args:
            member: the row.
            kind: subscribe, unsubscribe, profile, upemail or cleaned.
            source: who did it: user, admin or api.
            at: when, as the store spells it; now when it is not given.
            more: what the kind says beside the member's facts.
        """
        if self.row("select 1 from webhooks where list_id = ?", member["list_id"]) is None:
            return
        facts: dict[str, Any] = {"list_id": member["list_id"]}
        if kind in {"subscribe", "unsubscribe", "profile"}:
            facts |= {
                "id": unique_email_id(member["member"]),
                "email": member["email_address"],
                "email_type": member["email_type"],
                "ip_opt": member["ip_opt"],
                "ip_signup": member["ip_signup"],
                "web_id": str(web_id(member["member"])),
                "merges": self._merges(member),
            }
        with self.transaction() as db:
            db.execute(
                "insert into hook_events (list_id, type, source, fired_at, data) values (?, ?, ?, ?, ?)",
                (member["list_id"], kind, source, (at or self.now())[:19].replace("T", " "), dump(facts | more)),
            )

    def _merges(self, member: sqlite3.Row) -> dict[str, str]:
        chosen = [name for name, is_on in json.loads(member["interests"]).items() if is_on]
        names = {
            row["id"]: json.loads(row["payload"])["name"]
            for row in self.rows("select id, payload from interests where list_id = ?", member["list_id"])
        }
        fields = {tag: str(value) for tag, value in json.loads(member["merge_fields"]).items()}
        interests = ", ".join(names[number] for number in chosen if number in names)
        return {"EMAIL": member["email_address"], **fields, "INTERESTS": interests}

    # Behind the interface's back

    def enrol(self, emails: Sequence[str], *, status: str = "subscribed", list_id: str = LIST_ID) -> None:
        """Adds members with a status of the service to an audience that exists."""
        with self.transaction() as db:
            db.executemany(
                "insert into members (list_id, id, email_address, status, last_changed) values (?, ?, ?, ?, ?)",
                [(list_id, subscriber_hash(email), email, status, self.now()) for email in emails],
            )

    def leave(self, email: str) -> None:
        """The person unsubscribes everywhere by the link in a letter: the interface cannot take it back."""
        self._depart(email, "unsubscribe", campaign_id="", at=self.now())

    def happen(
        self,
        email: str,
        word: str,
        campaign_id: str,
        at: datetime | str | None = None,
        *,
        url: str | None = None,
        ip: str | None = None,
        is_proxy: bool = False,
    ) -> None:
        """Something becomes of a letter.

        Args:
            email: the recipient.
            word: sent, open, click, hard, soft, unsubscribe or abuse; another word is kept as an action.
            campaign_id: an existing campaign.
            at: when; now when it is not given. Text is as the store spells it.
            url: the link, of a click.
            ip: where from.
            is_proxy: whether a mail proxy did it.
        """
        when = self.now() if at is None else at if isinstance(at, str) else utc_text(at)
        with self.transaction() as db:
            send = self._send_of(db, email, campaign_id, when)
            if word == "unsubscribe":
                db.execute(
                    "insert or ignore into unsubscribes (send, campaign_id, timestamp, reason) values (?, ?, ?, ?)",
                    (send, campaign_id, when, LEAVING[word]),
                )
            elif word == "abuse":
                db.execute(
                    "insert into abuse_reports (send, campaign_id, date) values (?, ?, ?)", (send, campaign_id, when)
                )
            elif word != "sent":
                is_bounce = word in {"hard", "soft"}
                db.execute(
                    "insert into activity (send, campaign_id, action, type, timestamp, url, ip, is_proxy) "
                    "values (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        send,
                        campaign_id,
                        "bounce" if is_bounce else word,
                        word if is_bounce else None,
                        when,
                        url,
                        ip,
                        int(is_proxy),
                    ),
                )
                if is_bounce:
                    db.execute("update sends set status = ? where send = ?", (word, send))
            if word in LEAVING:
                self._depart(email, word, campaign_id=campaign_id, at=when)
            elif word == "hard":
                self._clean(email, campaign_id, at=when)

    def _send_of(self, db: sqlite3.Connection, email: str, campaign_id: str, when: str) -> int:
        found = self.row(
            "select send from sends where campaign_id = ? and email_id = ?", campaign_id, subscriber_hash(email)
        )
        if found is not None:
            return int(found["send"])
        cursor = db.execute(
            "insert into sends (campaign_id, list_id, email_id, email_address, status, sent_at) "
            "select id, list_id, ?, ?, 'sent', ? from campaigns where id = ?",
            (subscriber_hash(email), email, when, campaign_id),
        )
        return int(cursor.lastrowid or 0)

    def _depart(self, email: str, why: str, *, campaign_id: str, at: str) -> None:
        with self.transaction() as db:
            for member in self.rows("select * from members where id = ?", subscriber_hash(email)):
                db.execute(
                    "update members set status = 'unsubscribed', compliance = ?, unsubscribe_reason = ?, "
                    "last_changed = ?, unsubscribed_at = ? where member = ?",
                    (why, LEAVING[why], self.now(), at, member["member"]),
                )
                facts = {
                    "action": "unsub",
                    "reason": "abuse" if why == "abuse" else "manual",
                    "campaign_id": campaign_id,
                }
                self.note_hook(member, "unsubscribe", source="user", at=at, **facts)

    def _clean(self, email: str, campaign_id: str, *, at: str) -> None:
        with self.transaction() as db:
            for member in self.rows("select * from members where id = ?", subscriber_hash(email)):
                db.execute(
                    "update members set status = 'cleaned', compliance = 'bounce', last_changed = ? where member = ?",
                    (self.now(), member["member"]),
                )
                facts = {"campaign_id": campaign_id, "reason": "hard", "email": member["email_address"]}
                self.note_hook(member, "cleaned", source="admin", at=at, **facts)

    def status_of(self, email: str) -> str | None:
        """The member's status; None when there is no such member."""
        found = self.row("select status from members where id = ?", subscriber_hash(email))
        return None if found is None else str(found["status"])

    def people(self) -> int:
        """How many members there are, of any status."""
        return self.number("select count(*) from members")


def subscriber_hash(address: str) -> str:
    """The member id: MD5 of the lower-cased address."""
    return hashlib.md5(address.lower().encode(), usedforsecurity=False).hexdigest()


def dump(value: Any) -> str:
    """JSON for a text column."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def digits(text: str, length: int) -> int:
    """A stable whole number for web ids and the like, made from a text."""
    value: int = int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest(), 16) % 10**length
    return value


def unique_email_id(member: int) -> str:
    """Survives an address change."""
    return f"{digits(f'unique{member}', 10):010d}"


def web_id(member: int) -> int:
    """The member's number in the service's own pages."""
    return 100_000_000 + member
