"""Nonsense in bodies, queries and paths is refused by both twins; none of it makes a handler fall over."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.sandbox.services import START
from tests.sandbox.small import small_world

from lettertrail.sandbox.esps import esputnik, sendpulse
from lettertrail.sandbox.esps.esputnik.app import routes as esputnik_routes
from lettertrail.sandbox.esps.sendpulse.app import routes as sendpulse_routes
from lettertrail.sandbox.esps.shell import Call, Refused, Router, dump

VALUES: list[Any] = [
    None, "x", "a@b.cc", "http://x.example", 7, -1, 1.5, True, [], {}, [None], [[1]], [{}], {"a": [1]}, ["a@b.cc"],
    [{"email": "a@b.cc"}], [{"id": [1]}], [{"name": {}, "value": [], "type": 1}], 10**30,
]  # fmt: skip
NAMES = (
    "emails", "email", "tags", "variables", "url", "actions", "contacts", "contact", "groups", "fields", "channels",
    "dedupeOn", "fieldId", "contactFields", "customFieldsIDs", "groupNames", "subscriptions", "contactIds",
    "externalCustomerIds", "recipients", "from", "subject", "htmlText", "messageId", "title", "eventTypeKey",
    "sender_name", "sender_email", "body", "list_id", "send_date", "name", "bookName", "comment", "phone", "firstName",
    "address", "externalCustomerId", "id", "to", "html", "color", "sender", "confirmation", "locator", "contactId",
)  # fmt: skip
ASKED = ("limit", "offset", "maxrows", "startindex", "dateFrom", "dateTo", "ids", "email", "status", "from", "name")
KNOWN = {"book_id": "490686", "contact_id": "1", "campaign_id": "5001", "group_id": "310", "message_id": "901"}
TRIES = 40


def sendpulse_account() -> tuple[Any, Router[Any]]:
    """The small world with a draft, so that changes of campaigns are tried too."""
    store = sendpulse.SendPulseStore(":memory:", clock=lambda: START)
    sendpulse.seed_sendpulse(small_world(), store)
    with store.transaction() as db:
        db.execute("update campaigns set status = 25")
    return store, sendpulse_routes()


def esputnik_account() -> tuple[Any, Router[Any]]:
    """The small world."""
    store = esputnik.EsputnikStore(":memory:", clock=lambda: START)
    esputnik.seed_esputnik(small_world(), store)
    return store, esputnik_routes()


def nonsense(chance: random.Random, depth: int = 2) -> Any:
    """A body that is wrong, or an object whose values are."""
    if chance.random() < 0.2:
        return chance.choice(VALUES)
    body = {name: chance.choice(VALUES) for name in chance.sample(NAMES, chance.randint(1, 14))}
    if depth:
        for name in ("contacts", "recipients", "contact", "email"):
            inner = nonsense(chance, depth - 1)
            body[name] = [inner, inner] if name.endswith("s") else inner
    return body


@pytest.mark.parametrize("account", [sendpulse_account, esputnik_account])
def test_nonsense_is_refused_and_breaks_nothing(account: Callable[[], tuple[Any, Router[Any]]]) -> None:
    """Every route, forty times, from a fixed seed: an answer or a refusal, and imports of nonsense finish."""
    chance = random.Random(7)
    store, router = account()
    refused = 0
    for method, pattern, _ in router:
        for _ in range(TRIES):
            path = re.sub(
                r"\(\?P<(\w+)>\[\^/\]\+\)",
                lambda found: chance.choice([KNOWN.get(found[1], "1"), "zz", "%20"]),
                pattern.pattern[1:-3],
            )
            query = {name: str(chance.choice(VALUES)) for name in chance.sample(ASKED, 4)}
            try:
                answer = router.dispatch(store, Call(method, path, query, tuple(query.items()), nonsense(chance)))
                assert answer.body is None or dump(answer.body)
            except Refused:
                refused += 1
        store.finish_jobs()
    assert refused > 500
    store.close()
