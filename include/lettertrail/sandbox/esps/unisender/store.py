"""The account's state in one SQLite file, and what happens behind the interface's back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime

from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.unisender.wire import Json, utc_text
from lettertrail.sandbox.state import SqliteState

SCHEMA = """
create table if not exists lists (
    id integer primary key, title text not null, before_subscribe_url text not null default '',
    after_subscribe_url text not null default ''
);
create table if not exists fields (
    id integer primary key, name text not null unique, type text not null, public_name text not null,
    is_visible integer not null default 1, view_pos integer not null
);
create table if not exists contacts (
    contact integer primary key, email text not null unique,   -- lower case
    email_address text not null,                               -- as it was typed
    phone text not null default '', status text not null, availability text not null default 'available',
    added_at text not null, fields text not null default '{}', rating real not null default 0,
    last_send text, last_delivery text, last_read text, last_click text
);
create table if not exists memberships (
    contact integer not null references contacts on delete cascade, list_id integer not null references lists
    on delete cascade, state text not null, added_at text not null,   -- state: subscribed, unsubscribed or excluded
    primary key (contact, list_id)
) without rowid;
create index if not exists memberships_by_list on memberships (list_id, state);
create table if not exists tags (id integer primary key, name text not null unique);
create table if not exists contact_tags (
    contact integer not null references contacts on delete cascade, tag integer not null references tags
    on delete cascade, primary key (contact, tag)
) without rowid;
create index if not exists contact_tags_by_tag on contact_tags (tag);
-- Who left once. Outlives the contact: nothing in the interface brings these people back.
create table if not exists departures (email text primary key, at text not null);
create table if not exists invitations (invitation integer primary key, email text not null, at text not null);
create table if not exists messages (
    id integer primary key, list_id integer not null, subject text not null, sender_name text not null,
    sender_email text not null, body text not null, created text not null
);
create table if not exists campaigns (
    id integer primary key, list_id integer not null, message_id integer not null, status text not null,
    subject text not null, sender_name text not null, sender_email text not null,   -- as they were when it was made
    creation_time text not null, start_time text not null
);
create table if not exists deliveries (
    campaign_id integer not null references campaigns, email text not null, send_result text not null,
    last_update text not null, primary key (campaign_id, email)
) without rowid;
create index if not exists deliveries_changed on deliveries (campaign_id, last_update);
create table if not exists happenings (
    happening integer primary key, campaign_id integer not null references campaigns, email text not null,
    word text not null, at text not null, url text, ip text
);
create index if not exists happenings_by_campaign on happenings (campaign_id, word);
create table if not exists tasks (
    task_uuid text primary key, task_type text not null, status text not null, params text not null,
    notify_url text not null, content text
);
create table if not exists mails (
    id integer primary key, email text not null, sender_email text not null, subject text not null, headers text
    not null, ref_key text not null, status text not null, sent_at text not null
);
create index if not exists mails_by_email on mails (email, sent_at);
create table if not exists hooks (
    url text primary key, events text not null, event_format text not null, max_parallel integer not null,
    single_event integer not null, status text not null
);
create table if not exists hook_events (
    number integer primary key, event_name text not null, event_time text not null, event_data text not null
);
"""

LIST_ID = 20547901
STATUSES = ("new", "invited", "active", "inactive", "unsubscribed", "blocked", "activation_requested")
FIXED = frozenset({"unsubscribed", "blocked"})
"""What nothing in the interface changes."""
RANKS = {
    "not_sent": 0,
    "err_will_retry": 1,
    "err_resend": 1,
    "ok_sent": 2,
    "ok_delivered": 3,
    "ok_spam_folder": 3,
    "ok_read": 4,
    "ok_link_visited": 5,
    "ok_unsubscribed": 6,
    "ok_fbl": 7,
}
"""A recipient's state never goes back: an opening after a click leaves it at the click."""
UNREACHABLE = frozenset({"err_user_unknown", "err_user_inactive", "err_domain_inactive", "err_dest_invalid"})
MOMENTS = {
    "ok_sent": "last_send",
    "ok_delivered": "last_delivery",
    "ok_read": "last_read",
    "ok_link_visited": "last_click",
}


class UnisenderStore(SqliteState):
    """One account."""

    schema = SCHEMA

    def now(self) -> str:
        """The current time as it is written in answers."""
        return utc_text(self.moment)

    def contact(self, email: str) -> sqlite3.Row | None:
        """By address, whatever the letters' case."""
        return self.row("select * from contacts where email = ?", key_of(email))

    def has_left(self, email: str) -> bool:
        """Whether this person unsubscribed once."""
        return self.row("select 1 from departures where email = ?", key_of(email)) is not None

    def depart(self, email: str, *, lists: Iterable[int] | None = None) -> None:
        """Unsubscribes from these lists, or from all; the last one left makes the contact `unsubscribed`."""
        contact = self.contact(email)
        with self.transaction() as db:
            if contact is not None:
                db.executemany(
                    "update memberships set state = 'unsubscribed' where contact = ? and list_id = ?",
                    [(contact["contact"], number) for number in (self._lists_of(contact) if lists is None else lists)],
                )
            if lists is not None and contact is not None and self._is_subscribed(contact):
                return
            db.execute("insert or ignore into departures (email, at) values (?, ?)", (key_of(email), self.now()))
            db.execute(
                "update contacts set status = 'unsubscribed' where email = ? and status <> 'blocked'", (key_of(email),)
            )

    def _lists_of(self, contact: sqlite3.Row) -> list[int]:
        rows = self.rows("select list_id from memberships where contact = ?", contact["contact"])
        return [row["list_id"] for row in rows]

    def _is_subscribed(self, contact: sqlite3.Row) -> bool:
        return bool(
            self.number(
                "select count(*) from memberships where contact = ? and state = 'subscribed'", contact["contact"]
            )
        )

    def note_hook(self, event_name: str, at: str, data: Json) -> None:
        """Keeps something that webhooks are told of."""
        with self.transaction() as db:
            db.execute(
                "insert into hook_events (event_name, event_time, event_data) values (?, ?, ?)",
                (event_name, at, dump(data)),
            )

    # Behind the interface's back

    def enrol(self, emails: Sequence[str], *, status: str = "active", list_id: int = LIST_ID) -> None:
        """Adds contacts with a status of the service to a list, which is made when it is missing."""
        now = self.now()
        with self.transaction() as db:
            db.execute("insert or ignore into lists (id, title) values (?, ?)", (list_id, f"List {list_id}"))
            db.executemany(
                "insert into contacts (email, email_address, status, added_at) values (?, ?, ?, ?)",
                [(key_of(email), email, status, now) for email in emails],
            )
            state = "unsubscribed" if status == "unsubscribed" else "subscribed"
            db.executemany(
                "insert into memberships (contact, list_id, state, added_at) "
                "select contact, ?, ?, ? from contacts where email = ?",
                [(list_id, state, now, key_of(email)) for email in emails],
            )
            if status == "unsubscribed":
                db.executemany(
                    "insert or ignore into departures (email, at) values (?, ?)", [(key_of(e), now) for e in emails]
                )

    def leave(self, email: str) -> None:
        """The person unsubscribes from everything by the link in a letter."""
        with self.transaction():
            self.depart(email)
            self.note_hook("unsubscribe", self.now(), {"email": key_of(email), "list_ids": []})

    def happen(
        self,
        email: str,
        word: str,
        campaign_id: int | str,
        at: datetime | str | None = None,
        *,
        url: str | None = None,
        ip: str | None = None,
    ) -> None:
        """Something becomes of a letter.

        Args:
            email: the recipient.
            word: a `send_result` such as `ok_read`; a word the service does not know is kept as it is.
            campaign_id: an existing campaign.
            at: when, in UTC; now when it is not given.
            url: the link, of `ok_link_visited`.
            ip: where from, of `ok_link_visited`.
        """
        when = self.now() if at is None else at if isinstance(at, str) else utc_text(at)
        number = int(campaign_id)
        with self.transaction() as db:
            db.execute(
                "insert into happenings (campaign_id, email, word, at, url, ip) values (?, ?, ?, ?, ?, ?)",
                (number, key_of(email), word, when, url, ip),
            )
            self._advance(db, number, key_of(email), word, when)
            self._affect(db, key_of(email), word, when)
            data: Json = {
                "email": key_of(email),
                "status": word,
                "status_group": word.partition("_")[0],
                "campaign_id": number,
                "time": when,
            }
            self.note_hook("email_status", when, data | ({"link": url} if url else {}))

    def _advance(self, db: sqlite3.Connection, campaign_id: int, email: str, word: str, when: str) -> None:
        before = self.row("select send_result from deliveries where campaign_id = ? and email = ?", campaign_id, email)
        if before is not None and RANKS.get(word, len(RANKS)) < RANKS.get(before["send_result"], 0):
            return
        db.execute(
            "insert or replace into deliveries (campaign_id, email, send_result, last_update) values (?, ?, ?, ?)",
            (campaign_id, email, word, when),
        )

    def _affect(self, db: sqlite3.Connection, email: str, word: str, when: str) -> None:
        """What the event means for the contact."""
        if word in {"ok_unsubscribed", "ok_fbl"}:
            self.depart(email)
        elif word in UNREACHABLE:
            db.execute(
                "update contacts set availability = 'unreachable', "
                "status = case when status in ('unsubscribed', 'blocked') then status else 'inactive' end "
                "where email = ?",
                (email,),
            )
        elif word in MOMENTS:
            column = MOMENTS[word]
            db.execute(
                f"update contacts set {column} = max(coalesce({column}, ''), ?) where email = ?",  # noqa: S608
                (when, email),
            )

    def finish_jobs(self) -> None:
        """Brings every export so far that the next question for it finds it completed."""
        with self.transaction() as db:
            db.execute("update tasks set status = 'processing' where status = 'new'")

    def status_of(self, email: str) -> str | None:
        """The contact's status; None when there is no such contact."""
        contact = self.contact(email)
        return None if contact is None else str(contact["status"])

    def people(self) -> int:
        """How many contacts there are."""
        return self.number("select count(*) from contacts")

    def invitations(self) -> list[str]:
        """Who was sent a letter that asks to confirm, oldest first."""
        return [row["email"] for row in self.rows("select email from invitations order by invitation")]
