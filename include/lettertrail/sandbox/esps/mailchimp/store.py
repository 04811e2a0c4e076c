"""The account's state in one SQLite file. A restart finds everything as it was left."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lettertrail.clock import Clock, system_clock
from lettertrail.sandbox.esps.mailchimp.wire import utc_text

SCHEMA = """
create table if not exists account (name text primary key, value text not null);
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
create table if not exists campaigns (
    id text primary key, web_id integer not null, list_id text not null, type text not null, status text not null,
    title text not null, subject_line text not null, google_analytics text not null, create_time text not null,
    send_time text not null, archive_url text not null
);
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


class MailchimpStore:
    """One account. Calls are serialised: the file has one writer and this process is it."""

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.execute("pragma foreign_keys = on")
        self._db.executescript(SCHEMA)

    def now(self) -> str:
        """The current time as it is written in answers."""
        return utc_text(self._clock())

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; nested use joins the outer transaction."""
        with self._lock:
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")

    @contextmanager
    def savepoint(self) -> Iterator[sqlite3.Connection]:
        """Inside a transaction: undoes only what happened within, when it raises."""
        with self.transaction() as db:
            db.execute("savepoint row_of_bulk")
            try:
                yield db
            except BaseException:
                db.execute("rollback to row_of_bulk")
                raise
            finally:
                db.execute("release row_of_bulk")

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a select."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> sqlite3.Row | None:
        """The first row of a select."""
        with self._lock:
            found: sqlite3.Row | None = self._db.execute(sql, values).fetchone()
            return found

    def number(self, sql: str, *values: Any) -> int:
        """The first column of the first row, as a whole number; NULL is 0."""
        found = self.row(sql, *values)
        return int(found[0] or 0) if found is not None else 0

    def fact(self, name: str) -> str | None:
        """A remembered word about the account, such as which world it was seeded from."""
        found = self.row("select value from account where name = ?", name)
        return None if found is None else str(found["value"])

    def remember(self, name: str, value: str) -> None:
        """Stores such a word."""
        with self.transaction() as db:
            db.execute("insert or replace into account (name, value) values (?, ?)", (name, value))

    def close(self) -> None:
        """Closes the file; open transactions of other threads end first."""
        with self._lock:
            self._db.close()


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
