"""The project's state in one SQLite file, and what happens behind the interface's back."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.unisender_go.wire import Json, utc_text
from lettertrail.sandbox.state import SqliteState

SCHEMA = """
create table if not exists suppressions (
    number integer primary key, email text not null unique, cause text not null, source text not null,
    created text not null
);
create table if not exists jobs (
    job_id text primary key, from_email text not null, subject text not null, tags text not null, headers text not null,
    unsubscribe_url text not null, created text not null
);
create table if not exists letters (
    job_id text not null references jobs, email text not null, metadata text not null, primary key (job_id, email)
) without rowid;
create table if not exists idempotence (name text primary key, at text not null);
create table if not exists events (
    number integer primary key, event_time text not null, job_id text not null, email text not null,
    status text not null, delivery_status text not null, url text not null default '', ip text not null default '',
    user_agent text not null default '', destination_response text not null default ''
);
create index if not exists events_by_time on events (event_time);
create table if not exists confirmations (confirmation integer primary key, email text not null, at text not null);
create table if not exists dumps (
    dump_id text primary key, dump_status text not null, params text not null, created text not null
);
create table if not exists dump_files (
    dump_id text not null references dumps on delete cascade, part integer not null, content blob not null,
    primary key (dump_id, part)
);
create table if not exists webhooks (url text primary key, settings text not null);
"""

PROJECT_ID = "6123462132634"
KEPT = timedelta(days=32)
CAUSES = ("temporary_unavailable", "permanent_unavailable", "unsubscribed", "complained", "blocked")
"""From the weakest to the strongest; a stronger one is never replaced by a weaker one."""
SUPPRESSING = {
    "unsubscribed": ("unsubscribed", "subscriber"),
    "spam": ("complained", "subscriber"),
    "hard_bounced": ("permanent_unavailable", "system"),
}
"""What an event makes of the recipient: cause and source."""
DELIVERY = {
    "accepted": "ok_accepted",
    "sent": "ok_sent",
    "delivered": "ok_delivered",
    "opened": "ok_read",
    "clicked": "ok_link_visited",
    "unsubscribed": "ok_unsubscribed",
    "subscribed": "ok_subscribed",
    "soft_bounced": "err_mailbox_full",
    "hard_bounced": "err_user_unknown",
    "spam": "ok_fbl",
}


class UnisenderGoStore(SqliteState):
    """One project."""

    schema = SCHEMA
    rows_per_file = 100_000
    """Events in one file of a dump."""

    def now(self) -> str:
        """The current time as it is written in answers."""
        return utc_text(self.moment)

    def suppression(self, email: str) -> sqlite3.Row | None:
        """Why this address is not mailed; None when it is."""
        return self.row("select * from suppressions where email = ?", key_of(email))

    def suppress(self, email: str, cause: str, source: str, *, created: str | None = None) -> None:
        """Keeps an address from being mailed; a stronger cause stays."""
        before = self.suppression(email)
        if before is not None and CAUSES.index(before["cause"]) >= CAUSES.index(cause):
            return
        with self.transaction() as db:
            db.execute(
                "insert into suppressions (email, cause, source, created) values (?, ?, ?, ?) "
                "on conflict (email) do update set cause = excluded.cause, source = excluded.source, "
                "created = excluded.created",
                (key_of(email), cause, source, created or self.now()),
            )

    def add_job(self, from_email: str, subject: str, **more: Any) -> str:
        """A new job; gives its id. `more`: tags, headers, unsubscribe_url."""
        number = uuid.uuid4().hex
        job_id = f"{number[:6]}-{number[6:12]}-{number[12:14]}"
        with self.transaction() as db:
            db.execute(
                "insert into jobs (job_id, from_email, subject, tags, headers, unsubscribe_url, created) "
                "values (?, ?, ?, ?, ?, ?, ?)",
                (
                    job_id,
                    from_email,
                    subject,
                    dump(more.get("tags", [])),
                    dump(more.get("headers", {})),
                    more.get("unsubscribe_url", ""),
                    self.now(),
                ),
            )
        return job_id

    def add_letter(self, job_id: str, email: str, metadata: Json) -> None:
        """A recipient of a job, accepted and sent."""
        with self.transaction() as db:
            db.execute(
                "insert into letters (job_id, email, metadata) values (?, ?, ?)",
                (job_id, key_of(email), dump(metadata)),
            )
            for status in ("accepted", "sent"):
                self._add_event(db, job_id, email, status, self.now())

    def _add_event(self, db: sqlite3.Connection, job_id: str, email: str, status: str, at: str, **more: str) -> None:
        names = ("delivery_status", "url", "ip", "user_agent", "destination_response")
        values = {"delivery_status": DELIVERY.get(status, ""), **more}
        db.execute(
            "insert into events (event_time, job_id, email, status, delivery_status, url, ip, user_agent, "
            "destination_response) values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (at, job_id, key_of(email), status, *(values.get(name) or "" for name in names)),
        )

    # Behind the interface's back

    def enrol(self, emails: Sequence[str], *, status: str = "unsubscribed", list_id: object = None) -> None:
        """Suppresses addresses; `status` is the cause. There are no lists: `list_id` is for nothing."""
        with self.transaction():
            for email in emails:
                self.suppress(email, status, "user")

    def leave(self, email: str) -> None:
        """The person unsubscribes by the link in the last letter."""
        with self.transaction() as db:
            self.suppress(email, "unsubscribed", "subscriber")
            last = self.row("select max(rowid) as number, job_id from events where email = ?", key_of(email))
            if last is not None and last["job_id"]:
                self._add_event(db, last["job_id"], email, "unsubscribed", self.now())

    def happen(
        self,
        email: str,
        word: str,
        campaign_id: str | None = None,
        at: datetime | str | None = None,
        *,
        job_id: str | None = None,
        **more: str,
    ) -> str:
        """Something becomes of a letter.

        Args:
            email: the recipient.
            word: a status such as `opened`; a word the service does not know is kept as it is.
            campaign_id: of a new letter's metadata, when there is no `job_id`.
            at: when, in UTC; now when it is not given.
            job_id: the letter's job; a new one when it is not given.
            more: delivery_status, url, ip, user_agent, destination_response.

        Returns:
            The job's id.
        """
        when = self.now() if at is None else at if isinstance(at, str) else utc_text(at)
        with self.transaction() as db:
            if job_id is None:
                job_id = self.add_job("news@sandbox.example", "Hello")
                metadata = {} if campaign_id is None else {"campaign_id": str(campaign_id)}
                db.execute(
                    "insert into letters (job_id, email, metadata) values (?, ?, ?)",
                    (job_id, key_of(email), dump(metadata)),
                )
            self._add_event(db, job_id, email, word, when, **more)
            if word in SUPPRESSING:
                cause, source = SUPPRESSING[word]
                self.suppress(email, cause, source, created=when)
        return job_id

    def finish_jobs(self) -> None:
        """Brings every dump so far that the next question for it finds it ready."""
        with self.transaction() as db:
            db.execute("update dumps set dump_status = 'in_process' where dump_status = 'queued'")

    def status_of(self, email: str) -> str | None:
        """Why this address is not mailed; None when it is."""
        found = self.suppression(email)
        return None if found is None else str(found["cause"])

    def people(self) -> int:
        """How many addresses are suppressed."""
        return self.number("select count(*) from suppressions")

    def mailed(self) -> list[str]:
        """Every recipient of every letter that was accepted."""
        return [row["email"] for row in self.rows("select email from letters order by job_id, email")]


def is_deletable(row: sqlite3.Row) -> bool:
    """Only what the account set itself, or the service for a failing mailbox, may be taken back."""
    return str(row["source"]) != "subscriber" and str(row["cause"]) != "blocked"
