"""The account's state, and the ways to change it that are not the service's interface."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

from lettertrail.sandbox.esps.esputnik.importing import finish
from lettertrail.sandbox.esps.esputnik.rendering import render
from lettertrail.sandbox.esps.shell import Json, dump, key_of
from lettertrail.sandbox.esps.zoned import ZonedState, stored
from lettertrail.sandbox.hooks import HookRequest

GROUP = 310
"""The group that the seeds make."""

ACTIVITY, EMAIL_STATUS, SCOPE = "activity", "email_status", "scope"
SETTINGS = {ACTIVITY: ("off", "on"), EMAIL_STATUS: ("on", "off"), SCOPE: ("full", "events", "contacts")}
"""`activity`: whether support has switched ContactActivity on. `email_status`: whether contacts carry `emailStatus`
(U: the field is known from the export). `scope`: what the key opens; `contacts` means events and contacts."""

CONFIRMED, UNCONFIRMED, UNSUBSCRIBED, BLOCKED = "CONFIRMED", "UNCONFIRMED", "UNSUBSCRIBED", "BLOCKED"
"""The words of `emailStatus` (U)."""

DUPLICATE_SECONDS = 60

SCHEMA = """
create table if not exists contacts (
    id integer primary key autoincrement, key text, email text, sms text, first_name text, last_name text,
    address text not null default '{}', contact_key text, external_id text, language text, time_zone text,
    fields text not null default '{}', subscriptions text not null default '[]',
    is_confirmed integer not null default 1, is_deleted integer not null default 0, created_at text not null
);
create index if not exists contacts_by_key on contacts (key);
create index if not exists contacts_by_external on contacts (external_id);
create table if not exists fields (
    id integer primary key, name text not null, type text not null, possible_values text not null default '[]'
);
create table if not exists groups (id integer primary key, name text not null unique, type text not null);
create table if not exists group_contacts (
    group_id integer not null references groups on delete cascade,
    contact_id integer not null references contacts on delete cascade,
    primary key (group_id, contact_id)
) without rowid;
create index if not exists group_contacts_by_contact on group_contacts (contact_id);
create table if not exists categories (name text primary key);
create table if not exists unsubscribed (key text primary key, email text not null, at text not null);
create table if not exists bounced (key text primary key, at text not null);
create table if not exists messages (
    id integer primary key autoincrement, name text not null, sender text not null, subject text not null,
    html text not null, plain text not null, tags text not null default '[]'
);
create table if not exists broadcasts (
    id integer primary key autoincrement, title text not null, message_id integer not null, group_id integer,
    status text not null, created_at text not null
);
create table if not exists activity (
    "offset" integer primary key autoincrement, iid text not null, at text not null, status text not null,
    key text not null, email text not null, contact_id integer, broadcast_id integer, message_id integer,
    message_name text not null default '', tags text not null default '[]', more text not null default '{}'
);
create table if not exists imports (
    session text primary key, state text not null, request text not null, submitted_at text not null
);
create table if not exists sends (
    request text primary key, message_id integer, email text not null, status text not null, external_id text,
    at text not null
);
create table if not exists events (
    event integer primary key, type text not null, value text not null, at text not null
);
create table if not exists recent (hash text primary key, at text not null);
create table if not exists webhooks (url text primary key, headers text not null, statuses text not null);
"""


class EsputnikStore(ZonedState):
    """One account (U: that its times are in its own zone; Kyiv where seen)."""

    schema = SCHEMA
    usual_zone = "Europe/Kyiv"
    spelling = "%Y-%m-%dT%H:%M:%S"
    settings = SETTINGS

    # Behind the interface's back

    def add_group(self, name: str, *, kind: str = "Static", group_id: int | None = None) -> int:
        """A new group: Static, Dynamic or Combined."""
        with self.transaction() as db:
            cursor = db.execute("insert into groups (id, name, type) values (?, ?, ?)", (group_id, name, kind))
            return int(cursor.lastrowid or 0)

    def add_field(self, field_id: int, name: str, *, kind: str = "text", values: Iterable[str] = ()) -> None:
        """A custom field, which people define in the service's pages only."""
        with self.transaction() as db:
            row = (field_id, name, kind, dump(list(values)))
            db.execute("insert into fields (id, name, type, possible_values) values (?, ?, ?, ?)", row)

    def add_category(self, name: str) -> None:
        """A preference category."""
        with self.transaction() as db:
            db.execute("insert or ignore into categories (name) values (?)", (name,))

    def add_message(self, name: str, subject: str, *, message_id: int | None = None, tags: Iterable[str] = ()) -> int:
        """A letter that can be sent."""
        with self.transaction() as db:
            cursor = db.execute(
                "insert into messages (id, name, sender, subject, html, plain, tags) values (?, ?, ?, ?, ?, '', ?)",
                (message_id, name, '"Shop" <news@shop.example>', subject, f"<p>{subject}</p>", dump(list(tags))),
            )
            return int(cursor.lastrowid or 0)

    def add_broadcast(self, title: str, message_id: int, *, broadcast_id: int | None = None, at: datetime) -> int:
        """A mailing that is over."""
        with self.transaction() as db:
            cursor = db.execute(
                "insert into broadcasts (id, title, message_id, group_id, status, created_at) "
                "values (?, ?, ?, ?, 'IDLE', ?)",
                (broadcast_id, title, message_id, GROUP, stored(at)),
            )
            return int(cursor.lastrowid or 0)

    def add_webhook(self, url: str, *, headers: dict[str, str] | None = None, statuses: Iterable[str] = ()) -> None:
        """A webhook, which people set up in the service's pages only.

        Args:
            url: where to.
            headers: the Basic or custom headers chosen there.
            statuses: the activity statuses chosen there; none means all.
        """
        with self.transaction() as db:
            row = (url, dump(headers or {}), dump(list(statuses)))
            db.execute("insert or replace into webhooks (url, headers, statuses) values (?, ?, ?)", row)

    def enrol(self, emails: Iterable[str], *, status: str = CONFIRMED, list_id: int | str | None = GROUP) -> None:
        """Adds contacts with this `emailStatus`, to a group unless `list_id` is None."""
        with self.transaction() as db:
            for email in emails:
                known = db.execute("select id from contacts where key = ?", (key_of(email),)).fetchone()
                number = known["id"] if known else self._insert(db, email)
                if list_id is not None:
                    db.execute("insert or ignore into group_contacts values (?, ?)", (int(list_id), number))
                self._mark(db, email, status)

    def leave(self, email: str, *, campaign_id: int | None = None) -> None:
        """The person follows the unsubscribe link."""
        self.happen(email, UNSUBSCRIBED, campaign_id, self.moment)

    def happen(self, email: str, word: str, campaign_id: int | str | None, at: datetime, **more: Any) -> None:
        """Something happens to a letter of a person, told with the activity's status and further fields of its row.

        `campaign_id` is a broadcast. The contact's `emailStatus` and the queue of webhooks follow from it.
        """
        key = key_of(email)
        number = None if campaign_id is None else int(campaign_id)
        with self.transaction() as db:
            contact = db.execute("select id from contacts where key = ? and is_deleted = 0", (key,)).fetchone()
            letter = db.execute(
                "select m.id, m.name, m.tags from broadcasts b join messages m on m.id = b.message_id where b.id = ?",
                (number,),
            ).fetchone()
            if letter is None and "messageId" in more:
                found = db.execute("select id, name, tags from messages where id = ?", (more["messageId"],))
                letter = found.fetchone()
            db.execute(
                "insert into activity (iid, at, status, key, email, contact_id, broadcast_id, message_id, "
                "message_name, tags, more) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (_letter_of(key, number, more), stored(at), word, key, email, contact["id"] if contact else None,
                 number, *((letter["id"], letter["name"], letter["tags"]) if letter else (None, "", "[]")), dump(more)),
            )  # fmt: skip
            if word in {UNSUBSCRIBED, "SPAM"}:
                # U: a complaint puts the address on the list of those who left.
                self._mark(db, email, UNSUBSCRIBED, at=stored(at))
            elif word == "UNDELIVERED" and more.get("hardBounce"):
                self._mark(db, email, BLOCKED, at=stored(at))

    def status_of(self, email: str) -> str | None:
        """The contact's `emailStatus`; of a contact that was deleted, or never there, None."""
        row = self.row("select * from contacts where key = ? and is_deleted = 0 order by id", key_of(email))
        return None if row is None else self.email_status(row)

    def people(self) -> int:
        """How many contacts the account holds."""
        return self.number("select count(*) from contacts where is_deleted = 0")

    def hook_requests(self, since: datetime | None = None) -> list[HookRequest]:
        """What the webhooks receive about everything that happened from `since` on, in order."""
        rows = self.rows(
            'select * from activity where at >= ? order by "offset"', "" if since is None else stored(since)
        )
        return [
            request
            for hook in self.rows("select * from webhooks order by rowid")
            for request in render(
                hook["url"],
                [
                    self.activity_row(row)
                    for row in rows
                    if not json.loads(hook["statuses"]) or row["status"] in json.loads(hook["statuses"])
                ],
                headers=json.loads(hook["headers"]),
            )
        ]

    def finish_jobs(self) -> None:
        """All imports are done now."""
        finish(self)

    def handshakes(self) -> Iterator[HookRequest]:
        """The questions that the service asks when a webhook is saved."""
        for hook in self.rows("select * from webhooks order by rowid"):
            yield HookRequest("GET", hook["url"], json.loads(hook["headers"]))

    # For the routes

    def email_status(self, row: sqlite3.Row) -> str:
        """What the contact's row and the lists of the account make of it."""
        if self.row("select 1 from unsubscribed where key = ?", row["key"]):
            return UNSUBSCRIBED
        if self.row("select 1 from bounced where key = ?", row["key"]):
            return BLOCKED
        return CONFIRMED if row["is_confirmed"] else UNCONFIRMED

    def activity_row(self, row: sqlite3.Row) -> Json:
        """A row of activity, as asked for or as sent to a webhook."""
        more: Json = json.loads(row["more"])
        contact = self.row("select external_id from contacts where id = ?", row["contact_id"])
        shown: Json = dict.fromkeys(ACTIVITY_FIELDS)
        return (
            shown
            | {
                "activityDateTime": self.local(row["at"]),
                "activityStatus": row["status"],
                "broadcastId": row["broadcast_id"],
                "contactId": row["contact_id"],
                "email": row["email"],
                "externalCustomerId": contact["external_id"] if contact else None,
                "hardBounce": False,
                "iid": row["iid"],
                "mediaType": "email",
                "messageId": row["message_id"],
                "messageInstanceId": row["broadcast_id"],
                "messageName": row["message_name"],
                "messageTag": ",".join(json.loads(row["tags"])) or None,
                "offset": row["offset"],
            }
            | more
        )

    def is_repeated(self, digest: str) -> bool:
        """Whether the same request succeeded less than a minute ago."""
        limit = stored(self.moment - timedelta(seconds=DUPLICATE_SECONDS))
        found = self.row("select at from recent where hash = ?", digest)
        return found is not None and str(found["at"]) > limit

    def remember_request(self, digest: str) -> None:
        """Notes a request that succeeded."""
        with self.transaction() as db:
            db.execute("insert or replace into recent (hash, at) values (?, ?)", (digest, self.now()))

    def _insert(self, db: sqlite3.Connection, email: str) -> int:
        cursor = db.execute(
            "insert into contacts (key, email, created_at) values (?, ?, ?)", (key_of(email), email, self.now())
        )
        return int(cursor.lastrowid or 0)

    def _mark(self, db: sqlite3.Connection, email: str, status: str, *, at: str | None = None) -> None:
        key = key_of(email)
        if status == UNSUBSCRIBED:
            db.execute(
                "insert or ignore into unsubscribed (key, email, at) values (?, ?, ?)", (key, email, at or self.now())
            )
        elif status == BLOCKED:
            db.execute("insert or ignore into bounced (key, at) values (?, ?)", (key, at or self.now()))
        elif status == UNCONFIRMED:
            db.execute("update contacts set is_confirmed = 0 where key = ?", (key,))


def _letter_of(key: str, broadcast_id: int | None, more: Json) -> str:
    """The `iid`: one letter to one person, so that what happens to it later has the same (U)."""
    parts = (key, broadcast_id, more.get("messageId"), more.get("externalRequestId"), more.get("requestId"))
    return uuid.uuid5(uuid.NAMESPACE_URL, repr(parts)).hex


ACTIVITY_FIELDS = (
    "activityDateTime",
    "activityStatus",
    "broadcastId",
    "clickEventLink",
    "contactId",
    "email",
    "externalCustomerId",
    "externalRequestId",
    "hardBounce",
    "iid",
    "mediaType",
    "messageId",
    "messageInstanceId",
    "messageLanguageCode",
    "messageName",
    "messageTag",
    "offset",
    "sms",
    "sourceEventId",
    "sourceEventKey",
    "sourceEventTypeKey",
    "statusData",
    "statusDescription",
    "viewMessageLink",
    "workflowId",
    "workflowBlockId",
    "workflowInstanceId",
    "mobPushToken",
    "webPushToken",
)
