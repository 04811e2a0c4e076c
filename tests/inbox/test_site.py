"""What the handler on a Bitrix site tells: let in, refused, stored with its letters, and understood."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from bench.inbox.letters import TOKEN
from bench.relay.site import ACCOUNT, SECRET, accounts, event, mail, signed, told
from tests.inbox.conftest import NOW, UNIX, Inside, MemoryStore, asking, post, webhooks
from tests.inbox.test_store import inbox_dsn, use

from lettertrail.clock import fixed_clock
from lettertrail.errors import ConfigurationError
from lettertrail.inbox.app import Inbox, create_app
from lettertrail.inbox.process import process_deliveries
from lettertrail.inbox.store import PostgresStore
from lettertrail.relay.intake import OutboxLetter
from lettertrail.warehouse.ledger import check_balance

__all__ = ["inbox_dsn"]


@pytest.fixture
def app(store: MemoryStore) -> Inbox:
    """One that takes letters of the site."""
    return create_app(store, webhooks(accounts()), clock=fixed_clock(NOW))


def only_letter(store: MemoryStore) -> OutboxLetter:
    """The one of the one delivery."""
    (delivery,) = store.kept
    (letter,) = delivery.letters
    return letter


def test_a_letter_is_taken_and_the_delivery_keeps_no_word_of_it(app: Inbox, store: MemoryStore) -> None:
    """What it says goes to the outbox alone; which letter it was stays with the delivery."""
    assert post(app, told([mail(7), event(1, "order", order_id=7, status="N")], unix=UNIX)).status == 200
    letter = only_letter(store)
    assert (letter.key, letter.source, letter.event_name) == (f"{ACCOUNT}:s1-mail-7:1", ACCOUNT, "SALE_NEW_ORDER")
    assert (letter.template_id, letter.site_id, letter.language) == ("17", "s1", "ru")
    assert (letter.recipient, letter.sender, letter.sender_name) == (
        "person7@example.com",
        "orders@sandbox.example",
        "Магазин",
    )
    assert (letter.subject, letter.body_type, letter.queued_at) == ("Заказ 7 принят", "html", NOW)
    kept = store.kept[0].body.decode()
    assert "person7" not in kept
    assert "shop.example" not in kept
    events = json.loads(kept)["events"]
    assert [one["type"] for one in events] == ["mail", "order"]
    assert events[1]["data"] == {"order_id": 7, "status": "N"}


def test_other_events_are_stored_as_they_came(app: Inbox, store: MemoryStore) -> None:
    """Byte for byte, and out of gzip what came in gzip."""
    hook = told([event(1, "unsubscribe", email="anna@example.com")], unix=UNIX)
    assert post(app, hook).status == 200
    packed = replace(hook, body=gzip.compress(hook.body), headers={**hook.headers, "Content-Encoding": "gzip"})
    assert post(app, packed).status == 200
    assert [delivery.body for delivery in store.kept] == [hook.body, hook.body]
    assert "content-encoding" not in store.kept[1].headers


def test_each_recipient_is_a_letter(app: Inbox, store: MemoryStore) -> None:
    """Named, repeated, by commas and semicolons as Bitrix has them; a line break makes no header."""
    several = mail(7, to='"Anna, B." <anna@example.com>; boss@example.com,anna@example.com', subject="a\r\nBcc: x@y.zz")
    assert post(app, told([several], unix=UNIX)).status == 200
    letters = store.kept[0].letters
    assert [(letter.key[-1], letter.recipient) for letter in letters] == [
        ("1", "anna@example.com"),
        ("2", "boss@example.com"),
    ]
    assert letters[0].subject == "a Bcc: x@y.zz"


def test_who_sends_what_names_nobody(app: Inbox, store: MemoryStore) -> None:
    """The account's sender; without one the site has to send by itself."""
    hook = told([mail(7, **{"from": ""})], unix=UNIX)
    assert post(app, hook).status == 200
    assert (only_letter(store).sender, only_letter(store).sender_name) == ("shop@sandbox.example", "Shop")
    nobody = create_app(store, webhooks(accounts(sender=None)), clock=fixed_clock(NOW))
    assert post(nobody, hook).status == 422


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": ""},
        {"to": "nobody"},
        {"to": "anna@example.com, nobody"},
        {"to": ", ".join(f"p{n}@example.com" for n in range(51))},
        {"from": "shop"},
        {"reply_to": "shop"},
        {"body": "  "},
        {"body": None},
        {"body": "a\0b"},
        {"subject": "\ud83d"},
        {"subject": 7},
        {"body_type": "rtf"},
        {"event_name": ""},
        {"event_name": ["x"]},
        {"site_id": "s" * 256},
    ],
)
def test_a_letter_that_cannot_be_sent_is_left_to_the_site(
    app: Inbox, store: MemoryStore, wrong: Mapping[str, object]
) -> None:
    """422 and nothing stored: whoever hears 200 sends nothing any more."""
    body = json.dumps({"events": [event(1, "order", order_id=7, status="N"), mail(7, **wrong)]}).encode()
    assert post(app, signed(body, unix=UNIX)).status == 422
    assert store.kept == []


def test_letters_are_taken_only_where_that_is_switched_on(store: MemoryStore) -> None:
    """Off is the default; everything else is taken all the same."""
    off = create_app(store, webhooks(accounts(relay=False)), clock=fixed_clock(NOW))
    assert post(off, told([mail(7)], unix=UNIX)).status == 422
    assert post(off, told([event(1, "basket", fuser_id=1, basket_item_id=2)], unix=UNIX)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"events": []}',
        b'{"events": [1]}',
        b'{"events": [{"id": "", "type": "order", "at": "2026-11-21T10:00:00Z", "data": {}}]}',
        b'{"events": [{"id": "a\\u0000", "type": "order", "at": "2026-11-21T10:00:00Z", "data": {}}]}',
        b'{"events": [{"id": "a", "type": "order", "at": "2026-11-21T10:00:00", "data": {}}]}',
        b'{"events": [{"id": "a", "type": "order", "at": "yesterday", "data": {}}]}',
        b'{"events": [{"id": "a", "type": "order", "at": "0001-01-01T00:00:00+05:00", "data": {}}]}',
        b'{"events": [{"id": "a", "type": "order", "at": "2026-11-21T10:00:00Z", "data": []}]}',
        json.dumps({"events": [event(n, "order") for n in range(101)]}).encode(),
        b'{"events": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"\xff",
    ],
)
def test_a_body_that_cannot_be_read_is_refused(app: Inbox, store: MemoryStore, body: bytes) -> None:
    """There may be a letter in it."""
    assert post(app, signed(body, unix=UNIX)).status == 400
    assert store.kept == []


@pytest.mark.parametrize(
    "changed",
    [
        {"X-LetterTrail-Signature": ""},
        {"X-LetterTrail-Signature": "0" * 64},
        {"X-LetterTrail-Time": str(UNIX + 1)},
        {"X-LetterTrail-Time": ""},
        {"X-LetterTrail-Time": f"{UNIX},v1=0"},
    ],
)
def test_what_is_not_signed_is_not_taken(app: Inbox, store: MemoryStore, changed: Mapping[str, str]) -> None:
    """Missing, wrong, or of another time."""
    hook = told([mail(7)], unix=UNIX)
    assert post(app, replace(hook, headers={**hook.headers, **changed})).status == 401
    assert store.kept == []


@pytest.mark.parametrize("away", [-301, 301])
def test_a_signature_holds_for_five_minutes(app: Inbox, away: int) -> None:
    """Either way; within them it is good."""
    assert post(app, told([mail(7)], unix=UNIX + away)).status == 401
    assert post(app, told([mail(7)], unix=UNIX + away // 301 * 299)).status == 200


def test_a_forged_body_or_secret_is_not_taken(app: Inbox) -> None:
    """One byte is enough."""
    hook = told([mail(7)], unix=UNIX)
    assert post(app, replace(hook, body=hook.body + b" ")).status == 401
    assert post(app, told([mail(7)], unix=UNIX, secret="another")).status == 401
    assert post(app, replace(hook, token=TOKEN + "x")).status == 404


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"secrets": {}}, "secrets.site"),
        ({"relay": "yes"}, "relay"),
        ({"sender": "shop"}, "sender"),
        ({"secrets": {"events": ["x"]}}, "events"),
    ],
)
def test_a_wrong_setting_is_named(entry: Mapping[str, object], said: str) -> None:
    """And its value is not shown."""
    with pytest.raises(ConfigurationError, match=said):
        webhooks(accounts(**entry))
    with pytest.raises(ConfigurationError, match="relay"):
        webhooks({"sendpulse": {"token": TOKEN, "relay": True}})


# In the warehouse


def send(dsn: str, *bodies: list[dict[str, Any]]) -> list[int]:
    """Posts them to an inbox with a warehouse behind it, one after the other; the statuses."""
    statuses: list[int] = []

    async def work(store: PostgresStore) -> None:
        app = create_app(store, webhooks(accounts()), clock=fixed_clock(NOW))
        for events in bodies:
            hook = told(events, unix=UNIX)
            statuses.append((await asking(app, "POST", hook.path, hook.body, hook.headers)).status)

    use(dsn, work, answer_within=2.0)
    return statuses


def test_delivery_and_letters_are_one_transaction(inside: Inside, inbox_dsn: str) -> None:
    """Told twice, in whatever company, a letter is queued once; one that cannot be queued leaves no delivery."""
    assert send(inbox_dsn, [mail(1), mail(2)], [mail(1), mail(2)], [mail(2), mail(3)]) == [200, 200, 200]
    rows = inside.rows("select key, state, recipient, next_attempt_at from ops.outbox order by key")
    assert rows == [(f"{ACCOUNT}:s1-mail-{n}:1", "queued", f"person{n}@example.com", NOW) for n in (1, 2, 3)]
    assert inside.rows("select repeats from raw_inbox.deliveries order by 1") == [(0,), (1,)]
    with psycopg.connect(inside.dsn) as connection:
        connection.execute("alter table ops.outbox add constraint full_up check (key not like '%mail-4:1')")
    assert send(inbox_dsn, [mail(4)]) == [503]
    assert inside.rows("select count(*) from raw_inbox.deliveries") == [(2,)]


def test_the_receiver_hands_letters_in_and_reads_none(inside: Inside, inbox_dsn: str) -> None:
    """It faces the internet."""
    send(inbox_dsn, [mail(1)])
    for statement in ("select key from ops.outbox", "delete from ops.outbox", "select ops.mail_refusal('a@b.cc')"):
        with psycopg.connect(inbox_dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_events_of_the_site_are_understood_once(inside: Inside, inbox_dsn: str) -> None:
    """Each under its own id, however often it is told; of letters only which they were."""
    unsubscribe = event(1, "unsubscribe", email="anna@example.com", recipient_id=5, letter_id=3)
    send(inbox_dsn, [unsubscribe, event(2, "subscribe", email="boris@example.com"), mail(3)], [unsubscribe])
    (result,) = process_deliveries(inside.dsn, run_id="site", clock=fixed_clock(NOW))
    assert (result.received, result.applied, result.duplicate, result.parked) == (2, 1, 1, 0)
    # The letter is nothing that models should be built for.
    assert (result.events, result.urgent) == (3, 2)
    check_balance(inside.dsn, run_id="site")
    rows = inside.rows("select event_id, event_type, data from raw_inbox.site_events order by event_id")
    assert rows == [
        ("s1-1", "unsubscribe", {"email": "anna@example.com", "recipient_id": 5, "letter_id": 3}),
        ("s1-2", "subscribe", {"email": "boris@example.com"}),
        ("s1-mail-3", "mail", {"event_name": "SALE_NEW_ORDER", "message_id": 17, "site_id": "s1", "language": "ru",
                               "body_type": "html"}),
    ]  # fmt: skip


def test_an_event_that_the_warehouse_refuses_is_parked(inside: Inside, inbox_dsn: str) -> None:
    """It stops nobody else."""
    send(inbox_dsn, [event(1, "order", order_id="\0")], [event(2, "order", order_id=7)])
    (result,) = process_deliveries(inside.dsn, run_id="site", clock=fixed_clock(NOW))
    assert (result.applied, result.parked) == (1, 1)


def test_the_secret_is_the_sites(app: Inbox) -> None:
    """A secret that is longer or shorter is another."""
    assert post(app, told([mail(1)], unix=UNIX, secret=SECRET[:-1])).status == 401
