"""The account's state, and the ways to change it that are not the service's interface."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from lettertrail.sandbox.esps.sendpulse.rendering import SMTP_BATCH, happening, letter_happening, render
from lettertrail.sandbox.esps.sendpulse.words import (
    ACTIVE,
    BLOCKED,
    COMPLAINTS,
    CONFIRMING,
    CONTACT_STATUS,
    HAPPENINGS,
    MAILABLE,
    OF_NO_LETTER,
    SENDING_ERROR,
    UNKNOWN_CODE,
    UNSUBSCRIBED,
    UNSUBSCRIBED_ALL,
    rung,
)
from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.zoned import ZonedState, stored
from lettertrail.sandbox.hooks import HookRequest

BOOK = 490686
"""The book that the seeds make."""

STATISTICS = "statistics"
"""Setting: `object` (newer answers) or `list` (older ones)."""
ERRORS = "errors"
"""Setting: `http` (most errors have a status of their own) or `200` (each is an HTTP 200 with `is_error`)."""
STATUS_NUMBER = {words: number for number, words in CONTACT_STATUS.items()}
SETTINGS = {STATISTICS: ("object", "list"), ERRORS: ("http", "200")}

TRACKED = {"opened": "opens", "clicked": "clicks"}
"""SMTP words and the column of the letter that keeps them."""
FAILED = ("undelivered", "hard_bounces", "soft_bounces")

SCHEMA = """
create table if not exists tokens (token text primary key, expires_at text not null);
create table if not exists books (
    id integer primary key, name text not null, created_at text not null, status integer not null default 0
);
create table if not exists variables (
    book_id integer not null references books on delete cascade, name text not null, type text not null,
    primary key (book_id, name)
);
create table if not exists contacts (
    contact integer primary key, book_id integer not null references books on delete cascade,
    key text not null,                          -- the address in lower case
    email text not null, phone text, status integer not null, variables text not null default '{}',
    added_at text not null, source text not null,
    unique (book_id, key)
);
create index if not exists contacts_by_key on contacts (key);
create index if not exists contacts_by_book on contacts (book_id, contact);
create table if not exists opt_outs (              -- survives the removal of the contact from the book
    key text not null, book_id integer not null,   -- 0: from everything
    primary key (key, book_id)
) without rowid;
create table if not exists blacklist (key text primary key, email text not null, comment text not null);
create table if not exists tags (id integer primary key, name text not null unique, color text not null);
create table if not exists tag_pins (
    tag_id integer not null references tags on delete cascade, key text not null, primary key (tag_id, key)
) without rowid;
create table if not exists tag_queue (job integer primary key, tag_id integer not null, key text not null, pin integer);
create table if not exists campaigns (
    id integer primary key, name text not null, book_id integer not null, status integer not null,
    sender_name text not null, sender_email text not null, subject text not null, body text not null,
    send_date text not null, created_at text not null, made_by_api integer not null default 0
);
create table if not exists recipients (
    campaign_id integer not null, key text not null, email text not null, sent_at text not null, code integer not null,
    primary key (campaign_id, key)
) without rowid;
create index if not exists recipients_by_key on recipients (key);
create table if not exists happenings (
    happening integer primary key, campaign_id integer, key text not null, email text not null, word text not null,
    at text not null, more text not null default '{}'
);
create index if not exists happenings_by_campaign on happenings (campaign_id, word);
create table if not exists webhooks (id integer primary key, url text not null, action text not null);
create table if not exists letters (               -- transactional mail
    letter integer primary key, id text not null unique, sender text not null, recipient text not null,
    subject text not null, size integer not null, sent_at text not null, code integer not null,
    clicks text not null default '[]', opens text not null default '[]', content text not null default '{}'
);
create table if not exists letter_happenings (
    happening integer primary key, letter integer not null references letters, word text not null, at text not null,
    more text not null default '{}'
);
create table if not exists smtp_unsubscribed (
    key text primary key, email text not null, by_link integer not null, by_user integer not null,
    spam integer not null, comment text not null, at text not null
);
"""


class SendPulseStore(ZonedState):
    """One account; every time but the webhooks' is written in its zone."""

    schema = SCHEMA
    usual_zone = "UTC"
    spelling = "%Y-%m-%d %H:%M:%S"
    settings = SETTINGS

    # Tokens

    def issue_token(self, seconds: int) -> str:
        """A new access token; older ones go on until they expire."""
        token = secrets.token_urlsafe(24)
        with self.transaction() as db:
            db.execute("delete from tokens where expires_at <= ?", (self.now(),))
            expires_at = stored(self.moment + timedelta(seconds=seconds))
            db.execute("insert into tokens (token, expires_at) values (?, ?)", (token, expires_at))
        return token

    def is_valid(self, token: str) -> bool:
        """Whether the token was issued here and has not expired."""
        found = self.row("select expires_at from tokens where token = ?", token)
        return found is not None and str(found["expires_at"]) > self.now()

    def expire_tokens(self) -> None:
        """All access tokens are over, as after an hour."""
        with self.transaction() as db:
            db.execute("delete from tokens")

    # Behind the interface's back

    def add_book(self, name: str, *, book_id: int | None = None) -> int:
        """A new address book."""
        with self.transaction() as db:
            cursor = db.execute(
                "insert into books (id, name, created_at) values (?, ?, ?)", (book_id, name, self.now())
            )
            return int(cursor.lastrowid or 0)

    def enrol(self, emails: Iterable[str], *, status: int | str = ACTIVE, list_id: int | str = BOOK) -> None:
        """Puts contacts into a book, known ones with this status (number or words) from now on."""
        now = self.now()
        number = STATUS_NUMBER[status] if isinstance(status, str) else status
        with self.transaction() as db:
            db.executemany(
                "insert into contacts (book_id, key, email, status, added_at, source) values (?, ?, ?, ?, ?, 'import') "
                "on conflict (book_id, key) do update set status = excluded.status",
                [(int(list_id), key_of(email), email, number, now) for email in emails],
            )

    def leave(self, email: str, *, everywhere: bool = True, campaign_id: int | None = None) -> None:
        """The person follows the unsubscribe link."""
        self.happen(email, "unsubscribe", campaign_id, self.moment, from_all=int(everywhere))

    def confirm(self, email: str) -> None:
        """The person follows a confirmation link: the only way back in."""
        key = key_of(email)
        with self.transaction() as db:
            db.execute("delete from opt_outs where key = ?", (key,))
            db.execute(
                "update contacts set status = ? where key = ? and status in (?, ?, ?)",
                (ACTIVE, key, CONFIRMING, UNSUBSCRIBED, UNSUBSCRIBED_ALL),
            )

    def happen(self, email: str, word: str, campaign_id: int | str | None, at: datetime, **more: Any) -> None:
        """Something happens to a letter of a person, told with the webhook's word and its further fields.

        The campaign's state of this recipient, the contact's status and the queue of webhooks follow from it.
        """
        key = key_of(email)
        number = None if campaign_id is None else int(campaign_id)
        with self.transaction() as db:
            db.execute(
                "insert into happenings (campaign_id, key, email, word, at, more) values (?, ?, ?, ?, ?, ?)",
                (number, key, email, word, stored(at), dump(more)),
            )
            if number is not None and word not in OF_NO_LETTER:
                _climb(db, number, email, HAPPENINGS.get(word, UNKNOWN_CODE), stored(at))
            if word == "unsubscribe":
                _opt_out(db, key, everywhere=bool(more.get("from_all")), book_id=self._book_of(number, more))
            elif word in COMPLAINTS:
                # U: what a complaint makes of the contact, and that it counts as leaving everything.
                db.execute("insert or ignore into opt_outs (key, book_id) values (?, 0)", (key,))
                db.execute("update contacts set status = ? where key = ?", (BLOCKED, key))
            elif word == "hard_bounces":
                db.execute("update contacts set status = ? where key = ?", (SENDING_ERROR, key))

    def happen_to_letter(self, letter_id: str, word: str, at: datetime, **more: Any) -> None:
        """Something happens to a transactional letter, told with the word and the fields of the SMTP webhook."""
        with self.transaction() as db:
            row = db.execute("select * from letters where id = ?", (letter_id,)).fetchone()
            db.execute(
                "insert into letter_happenings (letter, word, at, more) values (?, ?, ?, ?)",
                (row["letter"], word, stored(at), dump(more)),
            )
            if word in TRACKED:
                seen = [*json.loads(row[TRACKED[word]]), {**more, "action_date": self.local(stored(at))}]
                db.execute(
                    f"update letters set {TRACKED[word]} = ? where letter = ?",  # noqa: S608
                    (dump(seen), row["letter"]),
                )
            elif word in FAILED:
                db.execute("update letters set code = 550 where letter = ?", (row["letter"],))
            if word in {"unsubscribed", "spam_by_user"}:
                leave_smtp(db, row["recipient"], stored(at), by_link=word == "unsubscribed")

    def set_smtp_webhook(self, url: str) -> None:
        """The hook for transactional mail, which people set up in the service's pages only."""
        self.remember("smtp webhook", url)

    def status_of(self, email: str) -> str | None:
        """The contact's status in words, the most mailable one when it differs from book to book."""
        key = key_of(email)
        codes = [int(row["status"]) for row in self.rows("select status from contacts where key = ?", key)]
        if not codes:
            return None
        if self.is_blacklisted(key):
            return CONTACT_STATUS[BLOCKED]
        return CONTACT_STATUS[min(codes, key=lambda code: (code not in MAILABLE, code))]

    def people(self) -> int:
        """How many people the account holds."""
        return self.number("select count(distinct key) from contacts")

    def finish_jobs(self) -> None:
        """Everything that was only queued is done now."""
        with self.transaction() as db:
            for job in self.rows("select * from tag_queue order by job"):
                apply_pin(db, job)
            db.execute("delete from tag_queue")

    def hook_requests(self, since: datetime | None = None) -> list[HookRequest]:
        """What the registered webhooks receive about everything that happened from `since` on, in order."""
        rows = self.rows(
            "select * from happenings where word <> 'sent' and at >= ? order by happening",
            "" if since is None else stored(since),
        )
        hooks = self.rows("select url, group_concat(action) as actions from webhooks group by url order by min(id)")
        bulk = [
            request
            for hook in hooks
            for request in render(
                hook["url"], [happening(row) for row in rows if row["word"] in hook["actions"].split(",")]
            )
        ]
        return [*bulk, *self._smtp_requests(since)]

    # For the routes

    def is_blacklisted(self, key: str) -> bool:
        """Whether the address is on the account's blacklist."""
        return self.row("select 1 from blacklist where key = ?", key) is not None

    def tell(self, db: sqlite3.Connection, email: str, word: str, **more: Any) -> None:
        """Notes what the webhooks report although it belongs to no letter: contacts added and deleted."""
        db.execute(
            "insert into happenings (key, email, word, at, more) values (?, ?, ?, ?, ?)",
            (key_of(email), email, word, self.now(), dump(more)),
        )

    def _smtp_requests(self, since: datetime | None) -> list[HookRequest]:
        url = self.fact("smtp webhook")
        if url is None:
            return []
        rows = self.rows(
            "select h.*, l.id, l.recipient, l.sender, l.subject from letter_happenings h "
            "join letters l on l.letter = h.letter where h.at >= ? order by h.happening",
            "" if since is None else stored(since),
        )
        return list(render(url, [letter_happening(row) for row in rows], size=SMTP_BATCH))

    def _book_of(self, campaign_id: int | None, more: dict[str, Any]) -> int | None:
        if "book_id" in more:
            return int(more["book_id"])
        found = self.row("select book_id from campaigns where id = ?", campaign_id)
        return None if found is None else int(found["book_id"])


def variables_of(row: sqlite3.Row) -> dict[str, Any]:
    """The contact's variables."""
    values: dict[str, Any] = json.loads(row["variables"])
    return values


def apply_pin(db: sqlite3.Connection, job: sqlite3.Row) -> None:
    """Does one queued pinning or unpinning of a tag."""
    if job["pin"]:
        db.execute("insert or ignore into tag_pins (tag_id, key) values (?, ?)", (job["tag_id"], job["key"]))
    else:
        db.execute("delete from tag_pins where tag_id = ? and key = ?", (job["tag_id"], job["key"]))


def leave_smtp(db: sqlite3.Connection, email: str, at: str, *, by_link: bool) -> None:
    """Puts an address on the list of those who get no transactional mail, by the link or by a complaint."""
    db.execute(
        "insert or ignore into smtp_unsubscribed (key, email, by_link, by_user, spam, comment, at) "
        "values (?, ?, ?, 0, ?, '', ?)",
        (key_of(email), email, int(by_link), int(not by_link), at),
    )


def _climb(db: sqlite3.Connection, campaign_id: int, email: str, code: int, at: str) -> None:
    """A recipient's state never goes back: an open that comes late does not undo a click."""
    key = key_of(email)
    before = db.execute("select code from recipients where campaign_id = ? and key = ?", (campaign_id, key)).fetchone()
    if before is None:
        db.execute(
            "insert into recipients (campaign_id, key, email, sent_at, code) values (?, ?, ?, ?, ?)",
            (campaign_id, key, email, at, code),
        )
    elif rung(code) >= rung(int(before["code"])):
        db.execute("update recipients set code = ? where campaign_id = ? and key = ?", (code, campaign_id, key))


def _opt_out(db: sqlite3.Connection, key: str, *, everywhere: bool, book_id: int | None) -> None:
    if everywhere or book_id is None:
        db.execute("insert or ignore into opt_outs (key, book_id) values (?, 0)", (key,))
        db.execute("update contacts set status = ? where key = ?", (UNSUBSCRIBED_ALL, key))
        return
    db.execute("insert or ignore into opt_outs (key, book_id) values (?, ?)", (key, book_id))
    db.execute("update contacts set status = ? where key = ? and book_id = ?", (UNSUBSCRIBED, key, book_id))
