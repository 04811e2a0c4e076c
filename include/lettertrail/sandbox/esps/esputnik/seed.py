"""Fills the account from the simulated world: one group, its contacts and two old mailings."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from lettertrail.sandbox.esps import sample
from lettertrail.sandbox.esps.esputnik.store import (
    BLOCKED,
    CONFIRMED,
    GROUP,
    UNSUBSCRIBED,
    EsputnikStore,
)
from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.zoned import stored
from lettertrail.sandbox.state import WorldMark, is_filled

if TYPE_CHECKING:
    from lettertrail.sandbox.world import World

log = logging.getLogger(__name__)

MESSAGES = {1: 901, 2: 902}
BROADCASTS = {1: 7001, 2: 7002}
"""Ids by the number of the sample's letter."""

CITY_FIELD = 11
STATUS = {"subscribed": CONFIRMED, "unsubscribed": UNSUBSCRIBED, "cleaned": BLOCKED}
WORDS = {
    "delivered": "DELIVERED",
    "open": "READ",
    "click": "CLICKED",
    "unsubscribe": "UNSUBSCRIBED",
    "complaint": "SPAM",
    "hard": "UNDELIVERED",
    "soft": "UNDELIVERED",
}
MORE: dict[str, dict[str, object]] = {
    "click": {"clickEventLink": sample.URL},
    "hard": {"hardBounce": True, "statusDescription": "550 5.1.1 No such user"},
    "soft": {"hardBounce": False, "statusDescription": "452 4.2.2 Mailbox full"},
}


def seed_esputnik(world: World, store: EsputnikStore) -> bool:
    """Writes the sample into an empty account; one that was seeded from the same world is left alone.

    Support has switched ContactActivity on for it.

    Returns:
        Whether anything was written.

    Raises:
        ConfigurationError: when the account holds another world.
    """
    mark = WorldMark.of(world)
    if is_filled(store, mark, service="eSputnik"):
        return False
    people = sample.readers(world)
    with store.transaction():
        store.configure(activity="on")
        store.add_group("Newsletter", group_id=GROUP)
        store.add_field(CITY_FIELD, "City")
        for name in ("News", "Sales"):
            store.add_category(name)
        _contacts(store, people)
        for mailing in sample.mailings(world):
            number = mailing.number
            store.add_message(mailing.title, mailing.subject, message_id=MESSAGES[number], tags=["news"])
            store.add_broadcast(mailing.title, MESSAGES[number], broadcast_id=BROADCASTS[number], at=mailing.sent_at)
        for row in sample.happenings(world):
            store.happen(row.reader.email, WORDS[row.kind], BROADCASTS[row.mailing], row.at, **MORE.get(row.kind, {}))
        store.remember("world", str(mark))
    log.info("seeded esputnik: contacts=%d broadcasts=%d", len(people), len(BROADCASTS))
    return True


def _contacts(store: EsputnikStore, people: list[sample.Reader]) -> None:
    with store.transaction() as db:
        for reader in people:
            row = (
                reader.number, key_of(reader.email), reader.email_as_typed, reader.first_name, reader.last_name,
                f"crm-{reader.number}", dump(["News"]), stored(reader.joined_at),
            )  # fmt: skip
            db.execute(
                "insert into contacts (id, key, email, first_name, last_name, external_id, language, time_zone, "
                "subscriptions, created_at) values (?, ?, ?, ?, ?, ?, 'ru', 'Europe/Moscow', ?, ?)",
                row,
            )
    by_status: dict[str, list[str]] = {}
    for reader in people:
        by_status.setdefault(STATUS[reader.state], []).append(reader.email)
    for status, emails in by_status.items():
        store.enrol(emails, status=status)
