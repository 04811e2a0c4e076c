"""Fills the project from the simulated world: who is suppressed, and a letter to somebody long ago."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from lettertrail.sandbox.esps.frames import events_of, listed, long_ago, records
from lettertrail.sandbox.esps.shell import dump, key_of
from lettertrail.sandbox.esps.unisender_go.store import UnisenderGoStore
from lettertrail.sandbox.esps.unisender_go.wire import utc_text
from lettertrail.sandbox.state import WorldMark, is_filled

if TYPE_CHECKING:
    # Loading pandas takes longer than all the rest, and a restart has nothing to seed.
    import pandas as pd

    from lettertrail.sandbox.world import World

log = logging.getLogger(__name__)

CAUSES = {"unsubscribed": ("unsubscribed", "subscriber"), "cleaned": ("permanent_unavailable", "system")}
WORDS = {
    "delivered": "delivered",
    "hard_bounce": "hard_bounced",
    "soft_bounce": "soft_bounced",
    "failed": "soft_bounced",
    "open": "opened",
    "click": "clicked",
    "unsubscribe": "unsubscribed",
    "complaint": "spam",
}


def is_seeded(store: UnisenderGoStore, mark: WorldMark) -> bool:
    """Whether the project was filled from this world.

    Raises:
        ConfigurationError: when it was filled from another one.
    """
    return is_filled(store, mark, service="UniSender Go")


def seed_unisender_go(world: World, store: UnisenderGoStore, *, letters: Collection[int] | None = None) -> bool:
    """Writes the world into an empty project; one that was seeded from the same world is left alone.

    Args:
        world: the people and letters.
        store: the project.
        letters: letters of the world that went out from here, each as a job with `metadata.campaign_id`, with all that
            became of them; then everybody who left Mailchimp's list left here. None: a tenth of them, and one old
            letter that was only delivered.

    Returns:
        Whether anything was written.

    Raises:
        ConfigurationError: when the project holds another world.
    """
    mark = WorldMark.of(world)
    if is_seeded(store, mark):
        return False
    people = listed(world, whole=letters is not None)
    with store.transaction():
        for person in records(people):
            if found := CAUSES.get(str(person["mailchimp_status"])):
                store.suppress(person["email"], *found, created=utc_text(person["mailchimp_changed_at"]))
        if letters is None:
            _old_letter(store, people, world)
        else:
            _letters(store, world, letters)
        store.remember("world", str(mark))
    log.info("seeded unisender_go: suppressions=%d", store.people())
    return True


def _old_letter(store: UnisenderGoStore, people: pd.DataFrame, world: World) -> None:
    sent = long_ago(world)
    for person in records(people[people["created_at"] < sent].head(1)):
        store.happen(person["email"], "delivered", "receipt", sent)


def _letters(store: UnisenderGoStore, world: World, letters: Collection[int]) -> None:
    jobs = {
        letter["letter"]: store.add_job("news@sandbox.example", letter["subject"])
        for letter in records(world.letters[world.letters["letter"].isin(letters)])
    }
    sends = world.sends[world.sends["letter"].isin(letters)]
    with store.transaction() as db:
        for send in records(sends):
            job_id = jobs[send["letter"]]
            db.execute(
                "insert into letters (job_id, email, metadata) values (?, ?, ?)",
                (job_id, key_of(send["email"]), dump({"campaign_id": str(send["letter"])})),
            )
            store.happen(send["email"], "sent", at=utc_text(send["sent_at"]), job_id=job_id)
            bounced = send["outcome"] != "delivered"
            at = send["bounced_at"] if bounced else send["sent_at"]
            store.happen(send["email"], WORDS[send["outcome"]], at=utc_text(at), job_id=job_id)
    for event in records(events_of(world, sends)):
        clicked = {"url": str(event["url"]), "ip": "95.31.0.1"} if event["kind"] == "click" else {}
        store.happen(
            event["email"],
            WORDS[event["kind"]],
            at=utc_text(event["occurred_at"]),
            job_id=jobs[event["letter"]],
            **clicked,
        )
