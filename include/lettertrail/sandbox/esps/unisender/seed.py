"""Fills the account from the simulated world: one list, contacts with the world's statuses, letters sent."""

from __future__ import annotations

import html
import logging
import sqlite3
from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lettertrail.sandbox.esps.frames import SHARE, events_of, is_given, listed, long_ago, records, text
from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.unisender.store import LIST_ID, RANKS, UnisenderStore
from lettertrail.sandbox.esps.unisender.wire import Json, utc_text
from lettertrail.sandbox.state import WorldMark, is_filled

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    import pandas as pd

    from lettertrail.sandbox.world import World

log = logging.getLogger(__name__)

STATUSES = {"subscribed": "active", "unsubscribed": "unsubscribed", "cleaned": "inactive"}
WORDS = {
    "delivered": "ok_delivered",
    "hard_bounce": "err_user_unknown",
    "soft_bounce": "err_mailbox_full",
    "failed": "err_delivery_failed",
    "open": "ok_read",
    "click": "ok_link_visited",
    "unsubscribe": "ok_unsubscribed",
    "complaint": "ok_fbl",
}
OLD_LETTER = 0


def campaign_id(letter: int) -> int:
    """The id under which a letter of the world is known here."""
    return 9_000_000 + letter


def message_id(letter: int) -> int:
    """The id of its message."""
    return 700_000 + letter


def is_seeded(store: UnisenderStore, mark: WorldMark) -> bool:
    """Whether the account was filled from this world.

    Raises:
        ConfigurationError: when it was filled from another one.
    """
    return is_filled(store, mark, service="UniSender")


def seed_unisender(world: World, store: UnisenderStore, *, letters: Collection[int] | None = None) -> bool:
    """Writes the world into an empty account; one that was seeded from the same world is left alone.

    Args:
        world: the people and letters.
        store: the account.
        letters: letters of the world that went out from here, with all that became of them; then everybody on
            Mailchimp's list is a contact here. None: a tenth of them, and one old letter that was only read.

    Returns:
        Whether anything was written.

    Raises:
        ConfigurationError: when the account holds another world.
    """
    mark = WorldMark.of(world)
    if is_seeded(store, mark):
        return False
    people = listed(world, whole=letters is not None)
    with store.transaction() as db:
        _frame(db)
        _contacts(db, people)
        if letters is None:
            _old_letter(db, people, world)
        else:
            _letters(db, world, letters)
        store.remember("world", str(mark))
    log.info("seeded unisender: contacts=%d", len(people))
    return True


def _frame(db: sqlite3.Connection) -> None:
    db.execute("insert into lists (id, title) values (?, 'Newsletter')", (LIST_ID,))
    db.executemany(
        "insert into fields (name, type, public_name, view_pos) values (?, 'string', ?, ?)",
        [("Name", "Имя", 1), ("LastName", "Фамилия", 2)],
    )


def _contacts(db: sqlite3.Connection, people: pd.DataFrame) -> None:
    """Two people who share an address are one contact: the first wins."""
    for person in records(people):
        status = STATUSES[str(person["mailchimp_status"])]
        joined = utc_text(person["created_at"])
        fields = {"Name": text(person["first_name"]), "LastName": text(person["last_name"])}
        cursor = db.execute(
            "insert or ignore into contacts (email, email_address, status, availability, added_at, fields) "
            "values (?, ?, ?, ?, ?, ?)",
            (
                key_of(person["email"]),
                text(person["email_as_typed"]).strip() or person["email"],
                status,
                "unreachable" if status == "inactive" else "available",
                joined,
                dump(fields),
            ),
        )
        if not cursor.rowcount:
            continue
        state = "unsubscribed" if status == "unsubscribed" else "subscribed"
        db.execute(
            "insert into memberships (contact, list_id, state, added_at) values (?, ?, ?, ?)",
            (cursor.lastrowid, LIST_ID, state, joined),
        )
        if state == "unsubscribed":
            left = person["mailchimp_changed_at"]
            db.execute(
                "insert or ignore into departures (email, at) values (?, ?)",
                (key_of(person["email"]), utc_text(left) if is_given(left) else joined),
            )


def _campaign(db: sqlite3.Connection, letter: int, subject: str, sent: Any, urls: Iterable[str]) -> None:
    created = utc_text(sent - timedelta(hours=20))
    db.execute(
        "insert into messages (id, list_id, subject, sender_name, sender_email, body, created) "
        "values (?, ?, ?, 'Sandbox Ltd', 'news@sandbox.example', ?, ?)",
        (message_id(letter), LIST_ID, subject, _body(subject, urls), created),
    )
    db.execute(
        "insert into campaigns (id, list_id, message_id, status, subject, sender_name, sender_email, creation_time, "
        "start_time) select ?, list_id, id, 'completed', subject, sender_name, sender_email, created, ? "
        "from messages where id = ?",
        (campaign_id(letter), utc_text(sent), message_id(letter)),
    )


def _body(subject: str, urls: Iterable[str]) -> str:
    links = "".join(f'<p><a href="{html.escape(url)}">{html.escape(url)}</a></p>' for url in urls)
    return f'<h1>{html.escape(subject)}</h1>{links}<p><a href="{{{{UnsubscribeUrl}}}}">Unsubscribe</a></p>'


def _old_letter(db: sqlite3.Connection, people: pd.DataFrame, world: World) -> None:
    """Sent before every letter of the world and read by a third: nothing that could earn credit."""
    sent = long_ago(world)
    _campaign(db, OLD_LETTER, "We are moving", sent, ["https://shop.example/moving"])
    for person in records(people[people["created_at"] < sent]):
        _happened(db, OLD_LETTER, person["email"], "ok_delivered", sent)
        if person["person"] // SHARE % 3 == 0:
            _happened(db, OLD_LETTER, person["email"], "ok_read", sent + timedelta(hours=3))


def _letters(db: sqlite3.Connection, world: World, letters: Collection[int]) -> None:
    for letter in records(world.letters[world.letters["letter"].isin(letters)]):
        _campaign(db, letter["letter"], letter["subject"], letter["sent_at"], letter["urls"])
    sends = world.sends[world.sends["letter"].isin(letters)]
    for send in records(sends):
        at = send["bounced_at"] if is_given(send["bounced_at"]) else send["sent_at"]
        _happened(db, send["letter"], send["email"], WORDS[send["outcome"]], at)
    for event in records(events_of(world, sends)):
        word = WORDS[event["kind"]]
        clicked: Json = {"url": text(event["url"]), "ip": "95.31.0.1"} if event["kind"] == "click" else {}
        _happened(db, event["letter"], event["email"], word, event["occurred_at"], **clicked)
        if event["kind"] == "complaint":
            _complained(db, event["email"], utc_text(event["occurred_at"]))


def _complained(db: sqlite3.Connection, email: str, at: str) -> None:
    """A complaint unsubscribes as well."""
    db.execute("update contacts set status = 'unsubscribed' where email = ?", (key_of(email),))
    db.execute(
        "update memberships set state = 'unsubscribed' where contact = (select contact from contacts where email = ?)",
        (key_of(email),),
    )
    db.execute("insert or ignore into departures (email, at) values (?, ?)", (key_of(email), at))


def _happened(
    db: sqlite3.Connection,
    letter: int,
    email: str,
    word: str,
    at: Any,
    *,
    url: str | None = None,
    ip: str | None = None,
) -> None:
    number, when = campaign_id(letter), utc_text(at)
    db.execute(
        "insert into happenings (campaign_id, email, word, at, url, ip) values (?, ?, ?, ?, ?, ?)",
        (number, key_of(email), word, when, url, ip),
    )
    before = db.execute(
        "select send_result from deliveries where campaign_id = ? and email = ?", (number, key_of(email))
    ).fetchone()
    if before is None or RANKS.get(word, len(RANKS)) >= RANKS.get(before["send_result"], 0):
        db.execute(
            "insert or replace into deliveries (campaign_id, email, send_result, last_update) values (?, ?, ?, ?)",
            (number, key_of(email), word, when),
        )
