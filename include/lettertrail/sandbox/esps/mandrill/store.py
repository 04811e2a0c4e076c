"""The account's state in one SQLite file, and what happens behind the interface's back."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lettertrail.sandbox.esps.mandrill.wire import Json, utc_text
from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.state import SqliteState

SCHEMA = """
create table if not exists messages (
    number integer primary key, id text not null unique, ts integer not null, email text not null,
    sender text not null, subject text not null, tags text not null, metadata text not null, template text,
    subaccount text, headers text not null, state text not null, reject_reason text, send_at integer
);
create index if not exists messages_by_time on messages (ts);
create index if not exists messages_by_email on messages (email);
create table if not exists events (
    number integer primary key, message_id text references messages (id), event text not null,
    ts integer not null, url text, ip text not null default '', user_agent text not null default '',
    diag text not null default '', sync text   -- of a change of the lists: action and reject, and no message
);
create index if not exists events_by_message on events (message_id);
create table if not exists rejects (
    number integer primary key, email text not null, reason text not null, detail text not null,
    created_at integer not null, last_event_at integer not null, expires_at integer, subaccount text not null,
    unique (email, subaccount)
);
create table if not exists allowed (email text primary key, detail text not null, created_at integer not null);
create table if not exists subaccounts (id text primary key, name text not null);
create table if not exists exports (
    id text primary key, type text not null, state text not null, params text not null, created_at integer not null,
    finished_at integer, content blob
);
create table if not exists webhooks (
    id integer primary key, url text not null unique, description text not null, events text not null,
    auth_key text not null, created_at integer not null
);
"""

EVENTS = ("send", "delivered", "deferral", "hard_bounce", "soft_bounce", "open", "click", "spam", "unsub", "reject")
REASONS = {"hard_bounce": "hard-bounce", "spam": "spam", "unsub": "unsub"}
"""What an event makes of the recipient: why later letters are rejected."""
STATES = {"send": "sent", "delivered": "sent", "hard_bounce": "bounced", "soft_bounce": "bounced", "reject": "rejected"}
"""What an event makes of the message; others leave it as it is."""


class MandrillStore(SqliteState):
    """One account."""

    schema = SCHEMA

    def seconds(self) -> int:
        """The current time in Unix seconds."""
        return int(self.moment.timestamp())

    def message(self, message_id: str) -> sqlite3.Row | None:
        """By id."""
        return self.row("select * from messages where id = ?", message_id)

    def reject(self, email: str, subaccount: str = "") -> sqlite3.Row | None:
        """Why letters to this address are rejected now; None when they are not."""
        if self.row("select 1 from allowed where email = ?", key_of(email)):
            return None
        return self.row(
            "select * from rejects where email = ? and subaccount in ('', ?) and coalesce(expires_at, ?) > ? "
            "order by subaccount limit 1",
            key_of(email),
            subaccount,
            self.seconds() + 1,
            self.seconds(),
        )

    def add_reject(self, email: str, reason: str, *, detail: str = "", subaccount: str = "", at: int) -> None:
        """Rejects later letters for good; the reason of an entry that is there stays."""
        with self.transaction() as db:
            db.execute(
                "insert into rejects (email, reason, detail, created_at, last_event_at, subaccount) "
                "values (?, ?, ?, ?, ?, ?) on conflict (email, subaccount) do update set "
                "last_event_at = excluded.last_event_at, expires_at = null",
                (key_of(email), reason, detail, at, at, subaccount),
            )
            self.note_sync("blacklist", "add", {"email": key_of(email), "reason": reason, "detail": detail})

    def note_sync(self, kind: str, action: str, reject: Json) -> None:
        """Keeps a change of a list that webhooks are told of; `kind` is `blacklist` or `whitelist`."""
        with self.transaction() as db:
            db.execute(
                "insert into events (event, ts, sync) values (?, ?, ?)",
                (kind, self.seconds(), dump({"action": action, "reject": reject})),
            )

    def add_message(self, email: str, *, state: str = "sent", ts: int | None = None, **more: Any) -> str:
        """A new message without events; gives its id.

        `more`: sender, subject, tags, metadata, template, subaccount, headers, reject_reason, send_at.
        """
        number = uuid.uuid4().hex
        with self.transaction() as db:
            db.execute(
                "insert into messages (id, ts, email, sender, subject, tags, metadata, template, subaccount, headers, "
                "state, reject_reason, send_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    self.seconds() if ts is None else ts,
                    email,
                    more.get("sender", "news@sandbox.example"),
                    more.get("subject", "Hello"),
                    dump(more.get("tags", [])),
                    dump(more.get("metadata", {})),
                    more.get("template"),
                    more.get("subaccount"),
                    dump(more.get("headers", {})),
                    state,
                    more.get("reject_reason"),
                    more.get("send_at"),
                ),
            )
        return number

    def add_event(self, message_id: str, event: str, ts: int, more: Mapping[str, str | None]) -> None:
        """Something that became of a message; `more`: url, ip, user_agent, diag."""
        with self.transaction() as db:
            db.execute(
                "insert into events (message_id, event, ts, url, ip, user_agent, diag) values (?, ?, ?, ?, ?, ?, ?)",
                (
                    message_id,
                    event,
                    ts,
                    more.get("url"),
                    more.get("ip") or "",
                    more.get("user_agent") or "",
                    more.get("diag") or "",
                ),
            )
            if event in STATES:
                db.execute("update messages set state = ? where id = ?", (STATES[event], message_id))

    # Behind the interface's back

    def enrol(self, emails: Sequence[str], *, status: str = "unsub", list_id: str | None = None) -> None:
        """Rejects addresses; `status` is the reason, `list_id` a subaccount."""
        with self.transaction():
            for email in emails:
                self.add_reject(email, status, subaccount=list_id or "", at=self.seconds())

    def leave(self, email: str) -> None:
        """The person unsubscribes by the link in the last letter."""
        with self.transaction():
            last = self.row("select id from messages where lower(email) = ? order by number desc", key_of(email))
            self.happen(email, "unsub", message_id=None if last is None else last["id"])

    def happen(
        self,
        email: str,
        word: str,
        campaign_id: str | None = None,
        at: datetime | str | None = None,
        *,
        message_id: str | None = None,
        **more: str,
    ) -> str:
        """Something becomes of a letter.

        Args:
            email: the recipient.
            word: an event such as `open`; a word the service does not know is kept as it is.
            campaign_id: a tag of the new message, when there is no `message_id`.
            at: when, in UTC; now when it is not given.
            message_id: the message; a new one when it is not given.
            more: url, ip, user_agent, diag.

        Returns:
            The message's id.
        """
        ts = self._unix(at)
        with self.transaction():
            if message_id is None:
                message_id = self.add_message(email, ts=ts, tags=[] if campaign_id is None else [str(campaign_id)])
            self.add_event(message_id, word, ts, more)
            if word in REASONS:
                self.add_reject(email, REASONS[word], detail=more.get("diag", ""), at=ts)
        return message_id

    def _unix(self, at: datetime | str | None) -> int:
        if at is None:
            return self.seconds()
        if isinstance(at, str):
            return int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp())
        return int(at.timestamp())

    def finish_jobs(self) -> None:
        """Brings every export so far that the next question for it finds it complete."""
        with self.transaction() as db:
            db.execute("update exports set state = 'working' where state = 'waiting'")

    def status_of(self, email: str) -> str | None:
        """Why letters to this address are rejected; None when they are not."""
        found = self.reject(email)
        return None if found is None else str(found["reason"])

    def people(self) -> int:
        """How many addresses are rejected."""
        return self.number("select count(distinct email) from rejects")

    def mailed(self) -> list[str]:
        """The recipient of every message that was not refused."""
        return [
            row["email"] for row in self.rows("select email from messages where state <> 'rejected' order by number")
        ]


def shown(store: MandrillStore, row: sqlite3.Row) -> Json:
    """A message as search, info and webhooks show it."""
    events = store.rows("select * from events where message_id = ? order by ts, number", row["id"])
    opens = [event for event in events if event["event"] == "open"]
    clicks = [event for event in events if event["event"] == "click"]
    diags = [event["diag"] for event in events if event["event"].endswith("bounce") and event["diag"]]
    return {
        "ts": row["ts"],
        "_id": row["id"],
        "tags": json.loads(row["tags"]),
        "sender": row["sender"],
        "template": row["template"],
        "subject": row["subject"],
        "email": row["email"],
        "opens": len(opens),
        "clicks": len(clicks),
        "opens_detail": [_detail(event) for event in opens],
        "clicks_detail": [{"url": event["url"], **_detail(event)} for event in clicks],
        "state": row["state"],
        "metadata": json.loads(row["metadata"]),
        "smtp_events": [_smtp(event) for event in events if event["event"] in SMTP],
        "diag": diags[-1] if diags else None,
        "bounce_description": "bad_mailbox" if row["state"] == "bounced" else None,
        "subaccount": row["subaccount"],
        "resends": [],
        "reject": _rejection(row),
    }


SMTP = {
    "send": "sent",
    "delivered": "delivered",
    "hard_bounce": "bounced",
    "soft_bounce": "bounced",
    "reject": "rejected",
}


def _detail(event: sqlite3.Row) -> Json:
    return {"ts": event["ts"], "ip": event["ip"], "location": "Moscow, RU", "ua": event["user_agent"]}


def _smtp(event: sqlite3.Row) -> Json:
    return {
        "ts": event["ts"],
        "type": SMTP[event["event"]],
        "diag": event["diag"],
        "source_ip": "198.51.100.1",
        "destination_ip": "198.51.100.2",
        "size": 0,
    }


def _rejection(row: sqlite3.Row) -> Json | None:
    if row["reject_reason"] is None:
        return None
    return {"reason": row["reject_reason"], "last_event_at": utc_text(row["ts"])}
