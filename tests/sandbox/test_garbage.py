"""The twins with a method per path take garbage as the services do: a refusal of their own, never a crash."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.sandbox.small import small_world

from lettertrail.sandbox.esps import mandrill, unisender, unisender_go

CALLS = 400
VALUES: list[Any] = [
    *(None, 0, 1, -1, 1.5, True, "", "x", "²", "9" * 24, "2026-01-01", "*", "https://in.example/"),
    *("person1@example.com", "person4@example.com", "20547901", "9000071", "1,2", "new", "email"),
    *([], ["x"], [1], [None], [{}], [{"email": "a@example.com"}], [{"email": 5}], {}, {"a": 1}, {"email": "a@b.cc"}),
]
WORDS = [value for value in VALUES if isinstance(value, str)]

UNISENDER_METHODS = """
getLists getContact importContacts subscribe unsubscribe exclude createField createList deleteTag async/exportContacts
async/getTaskResult getCampaigns getCampaignDeliveryStats getVisitedLinks sendEmail checkEmail setHook
createEmailMessage createCampaign getContactCount nonsense
"""
UNISENDER_NAMES = """
email list_id list_ids title id name type campaign_id changed_since field_ids field_ids[] limit from field_names[]
field_names[0] data[0][0] data[0] data fields[email] fields double_optin params contact_type contact hook_url events
events[email_status] message_id start_time email_id group
"""
GO_METHODS = """
email/send email/subscribe suppression/set suppression/get suppression/list suppression/delete event-dump/create
event-dump/get event-dump/list webhook/set webhook/get nonsense
"""
GO_NAMES = "email cause created source start_time cursor limit filter dump_fields delimiter format url events"
GO_INNER = "recipients subject from_email body tags global_metadata headers options idempotence_key"
GO_LETTER = {"recipients": [{"email": "a@example.com"}], "subject": "s", "from_email": "a@b.cc", "body": {"html": "x"}}
MANDRILL_METHODS = """
messages/send messages/send-template messages/search messages/info rejects/add rejects/list rejects/delete
allowlists/add exports/activity exports/info webhooks/add webhooks/info x/y
"""
MANDRILL_NAMES = "async send_at template_name query date_from tags senders limit id email subaccount states url"
MANDRILL_INNER = "to from_email subject tags metadata recipient_metadata subaccount headers"
MANDRILL_LETTER = {"to": [{"email": "a@example.com"}], "from_email": "a@b.cc"}

Requests = Iterator[tuple[str, dict[str, Any]]]


def unisender_calls(dice: random.Random) -> Requests:
    """Forms with random names and values."""
    for _ in range(CALLS):
        form = {dice.choice(UNISENDER_NAMES.split()): dice.choice(WORDS) for _ in range(8)}
        yield f"/ru/api/{dice.choice(UNISENDER_METHODS.split())}", {"data": {"api_key": "k", **form}}


def go_calls(dice: random.Random) -> Requests:
    """JSON with random names and values around a letter that was in order."""
    for _ in range(CALLS):
        body = {dice.choice(GO_NAMES.split()): dice.choice(VALUES) for _ in range(4)}
        body["message"] = GO_LETTER | {dice.choice(GO_INNER.split()): dice.choice(VALUES) for _ in range(2)}
        path = f"/ru/transactional/api/v1/{dice.choice(GO_METHODS.split())}.json"
        yield path, {"json": body, "headers": {"X-API-KEY": "k"}}


def mandrill_calls(dice: random.Random) -> Requests:
    """The same for Mandrill."""
    for _ in range(CALLS):
        body = {dice.choice(MANDRILL_NAMES.split()): dice.choice(VALUES) for _ in range(4)}
        letter = MANDRILL_LETTER | {dice.choice(MANDRILL_INNER.split()): dice.choice(VALUES) for _ in range(2)}
        yield f"/api/1.0/{dice.choice(MANDRILL_METHODS.split())}.json", {"json": body | {"key": "k", "message": letter}}


@pytest.mark.parametrize(
    ("package", "store", "seed", "calls"),
    [
        (unisender, unisender.UnisenderStore, unisender.seed_unisender, unisender_calls),
        (unisender_go, unisender_go.UnisenderGoStore, unisender_go.seed_unisender_go, go_calls),
        (mandrill, mandrill.MandrillStore, mandrill.seed_mandrill, mandrill_calls),
    ],
    ids=["unisender", "unisender_go", "mandrill"],
)
def test_garbage_is_refused_in_the_words_of_the_service(
    package: Any, store: Callable[[str], Any], seed: Callable[..., bool], calls: Callable[[random.Random], Requests]
) -> None:
    """An exception inside a handler would come up here; so would an answer that is no JSON."""
    state = store(":memory:")
    seed(small_world(), state, letters=(71, 72))
    ages = iter(range(0, 10**9, 100))
    client = TestClient(package.create_app(state, api_key="k", monotonic=lambda: float(next(ages))))
    answers = [client.post(path, **request) for path, request in calls(random.Random(7))]
    assert {answer.status_code for answer in answers} <= {200, 400, 404, 422}
    assert all(json.loads(answer.content) is not None for answer in answers)
    assert 0 < sum(b'"error"' in answer.content for answer in answers) < CALLS
    state.close()
