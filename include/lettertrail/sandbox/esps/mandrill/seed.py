"""Fills the account from the simulated world: who is rejected, and a letter to somebody long ago."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from lettertrail.sandbox.esps.frames import events_of, listed, long_ago, records, text
from lettertrail.sandbox.esps.mandrill.store import MandrillStore
from lettertrail.sandbox.state import WorldMark, is_filled

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    import pandas as pd

    from lettertrail.sandbox.world import World

log = logging.getLogger(__name__)

REASONS = {"unsubscribed": "unsub", "cleaned": "hard-bounce"}
WORDS = {
    "delivered": "delivered",
    "hard_bounce": "hard_bounce",
    "soft_bounce": "soft_bounce",
    "failed": "soft_bounce",
    "open": "open",
    "click": "click",
    "unsubscribe": "unsub",
    "complaint": "spam",
}


def is_seeded(store: MandrillStore, mark: WorldMark) -> bool:
    """Whether the account was filled from this world.

    Raises:
        ConfigurationError: when it was filled from another one.
    """
    return is_filled(store, mark, service="Mandrill")


def seed_mandrill(world: World, store: MandrillStore, *, letters: Collection[int] | None = None) -> bool:
    """Writes the world into an empty account; one that was seeded from the same world is left alone.

    Args:
        world: the people and letters.
        store: the account.
        letters: letters of the world that went out from here, tagged with their number, with all that became of them;
            then everybody who left Mailchimp's list left here. None: a tenth of them, and one old letter that was
            only delivered.

    Returns:
        Whether anything was written.

    Raises:
        ConfigurationError: when the account holds another world.
    """
    mark = WorldMark.of(world)
    if is_seeded(store, mark):
        return False
    people = listed(world, whole=letters is not None)
    with store.transaction():
        for person in records(people):
            if reason := REASONS.get(str(person["mailchimp_status"])):
                store.add_reject(person["email"], reason, at=int(person["mailchimp_changed_at"].timestamp()))
        if letters is None:
            _old_letter(store, people, world)
        else:
            _letters(store, world, letters)
        store.remember("world", str(mark))
    log.info("seeded mandrill: rejects=%d", store.people())
    return True


def _old_letter(store: MandrillStore, people: pd.DataFrame, world: World) -> None:
    sent = long_ago(world)
    for person in records(people[people["created_at"] < sent].head(1)):
        store.happen(person["email"], "delivered", "receipt", sent)


def _letters(store: MandrillStore, world: World, letters: Collection[int]) -> None:
    subjects = dict(zip(world.letters["letter"], world.letters["subject"], strict=True))
    messages = {}
    sends = world.sends[world.sends["letter"].isin(letters)]
    for send in records(sends):
        number = store.add_message(
            send["email"],
            ts=int(send["sent_at"].timestamp()),
            subject=subjects[send["letter"]],
            tags=[str(send["letter"])],
        )
        messages[send["send"]] = number
        store.happen(send["email"], "send", at=send["sent_at"], message_id=number)
        at = send["sent_at"] if send["outcome"] == "delivered" else send["bounced_at"]
        store.happen(send["email"], WORDS[send["outcome"]], at=at, message_id=number)
    for event in records(events_of(world, sends)):
        more = {"ip": "95.31.0.1"} if event["kind"] in {"open", "click"} else {}
        if event["kind"] == "click":
            more["url"] = text(event["url"])
        number = messages[event["send"]]
        store.happen(event["email"], WORDS[event["kind"]], at=event["occurred_at"], message_id=number, **more)
