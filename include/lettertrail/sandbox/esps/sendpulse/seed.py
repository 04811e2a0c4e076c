"""Fills the account from the simulated world: one book, its contacts and two old campaigns."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lettertrail.sandbox.esps import sample
from lettertrail.sandbox.esps.sendpulse.store import BOOK, SendPulseStore
from lettertrail.sandbox.esps.sendpulse.words import ACTIVE, CAMPAIGN_SENT, SENDING_ERROR, UNSUBSCRIBED_ALL
from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.zoned import stored
from lettertrail.sandbox.state import WorldMark, is_filled

if TYPE_CHECKING:
    from lettertrail.sandbox.world import World

log = logging.getLogger(__name__)

CAMPAIGNS = {1: 5001, 2: 5002}
"""Campaign ids by the number of the sample's letter."""

STATUS = {"subscribed": ACTIVE, "unsubscribed": UNSUBSCRIBED_ALL, "cleaned": SENDING_ERROR}
WORDS = {
    "delivered": "delivered",
    "open": "open",
    "click": "redirect",
    "unsubscribe": "unsubscribe",
    "complaint": "spam_by_user",
    "hard": "hard_bounces",
    "soft": "soft_bounces",
}


def seed_sendpulse(world: World, store: SendPulseStore) -> bool:
    """Writes the sample into an empty account; one that was seeded from the same world is left alone.

    Returns:
        Whether anything was written.

    Raises:
        ConfigurationError: when the account holds another world.
    """
    mark = WorldMark.of(world)
    if is_filled(store, mark, service="SendPulse"):
        return False
    people = sample.readers(world)
    with store.transaction():
        _book(store, people)
        _campaigns(world, store)
        for row in sample.happenings(world):
            store.happen(row.reader.email, WORDS[row.kind], CAMPAIGNS[row.mailing], row.at, **_more(row.kind))
        store.remember("world", str(mark))
    log.info("seeded sendpulse: contacts=%d campaigns=%d", len(people), len(CAMPAIGNS))
    return True


def _book(store: SendPulseStore, people: list[sample.Reader]) -> None:
    store.add_book("Newsletter", book_id=BOOK)
    with store.transaction() as db:
        db.executemany(
            "insert into variables (book_id, name, type) values (?, ?, 'string')",
            [(BOOK, "name"), (BOOK, "surname")],
        )
        db.executemany(
            "insert into contacts (book_id, key, email, status, variables, added_at, source) "
            "values (?, ?, ?, ?, ?, ?, 'subscription form')",
            [
                (
                    BOOK,
                    key_of(reader.email),
                    reader.email_as_typed,
                    STATUS[reader.state],
                    dump({"name": reader.first_name, "surname": reader.last_name}),
                    stored(reader.joined_at),
                )
                for reader in people
            ],
        )


def _campaigns(world: World, store: SendPulseStore) -> None:
    with store.transaction() as db:
        db.executemany(
            "insert into campaigns (id, name, book_id, status, sender_name, sender_email, subject, body, send_date, "
            "created_at) values (?, ?, ?, ?, 'Shop', 'news@shop.example', ?, ?, ?, ?)",
            [
                (
                    CAMPAIGNS[mailing.number],
                    mailing.title,
                    BOOK,
                    CAMPAIGN_SENT,
                    mailing.subject,
                    f'<a href="{sample.URL}">{mailing.subject}</a>',
                    stored(mailing.sent_at),
                    stored(mailing.sent_at),
                )
                for mailing in sample.mailings(world)
            ],
        )


def _more(kind: str) -> dict[str, object]:
    """The further fields of the webhook rows."""
    fields: dict[str, dict[str, object]] = {
        "open": {"open_device": "Desktop", "open_platform": "Windows", "browser_name": "Chrome", "browser_ver": "120"},
        "click": {"link_url": sample.URL, "link_id": 1},
        "unsubscribe": {"from_all": 1, "reason": "", "book_id": BOOK, "categories": ""},
        "complaint": {"source": "campaign", "automation_id": 0},
        "hard": _answer(550, "5.1.1", "No such user"),
        "soft": _answer(452, "4.2.2", "Mailbox full"),
    }
    return fields.get(kind, {})


def _answer(code: int, subcode: str, words: str) -> dict[str, object]:
    return {
        "smtp_server_response_code": code,
        "smtp_server_response_subcode": subcode,
        "smtp_server_response": words,
    }
