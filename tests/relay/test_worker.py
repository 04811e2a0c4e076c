"""From the outbox to the services: at most once, whatever happens to calls, keys and workers."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from tests.relay.conftest import START, WORKER, Desk, claim, hold_letter, key_of, lose_answer

from lettertrail.erasure.keys import ErasureKey
from lettertrail.errors import ConfigurationError, WarehouseError
from lettertrail.esps.port import Sent
from lettertrail.relay.outbox import WORKERS, Outbox
from lettertrail.relay.route import Policy
from lettertrail.relay.worker import Relay, work
from lettertrail.warehouse.connect import connect


def test_a_letter_goes_out_once(desk: Desk) -> None:
    """Through the first account, with our key, and the service's id is kept."""
    desk.queue(1)
    desk.queue(1)
    assert desk.work() == 1
    assert desk.states() == [("sent", "mailchimp", 1)]
    (message,) = desk.mandrill.store.rows("select * from messages")
    assert desk.arrived() == [("mailchimp", key_of(1))]
    assert (message["email"], message["sender"], message["subject"]) == (
        "person1@example.com",
        "orders@sandbox.example",
        "Заказ 1 принят",
    )
    assert desk.rows("select message_ref, settled_at from ops.outbox") == [(message["id"], START)]
    desk.queue(1)
    assert desk.work() == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_service_that_is_busy_is_asked_again_and_then_the_next(desk: Desk, status: int) -> None:
    """429 says that nothing was taken. After 503 nobody knows, so the service is asked before anybody sends again."""
    desk.mandrill.fault("refuse", status=status, times=100)
    desk.queue(1)
    for _ in range(60):
        desk.work()
        desk.clock.later(seconds=60)
    assert desk.arrived() == [("unisender", key_of(1))]
    assert desk.states() == [("sent", "unisender", 4)]
    failed = "passing" if status == 429 else "absent"
    assert desk.outcomes() == [("mailchimp", failed)] * 3 + [("unisender", "accepted")]


def test_a_service_that_cannot_be_reached_took_nothing(desk: Desk) -> None:
    """No connection, no doubt: the letter goes elsewhere after a few seconds."""
    desk.mandrill = replace(desk.mandrill, base="http://127.0.0.1:9")
    desk.queue(1)
    for _ in range(4):
        desk.work()
        desk.clock.later(seconds=20)
    assert desk.states() == [("sent", "unisender", 4)]
    assert desk.outcomes() == [("mailchimp", "passing")] * 3 + [("unisender", "accepted")]


def test_a_key_that_is_refused_lets_the_account_rest(desk: Desk) -> None:
    """The next letter does not even try it."""
    desk.mandrill.fault("refuse", status=401, times=1)
    desk.queue(1)
    desk.work()
    desk.clock.later(seconds=5)
    desk.queue(2)
    desk.work()
    assert desk.states() == [("sent", "unisender", 2), ("sent", "unisender", 1)]


@pytest.mark.parametrize("kind", ["drop_after_write", "truncate"])
def test_a_letter_whose_answer_was_lost_is_found(desk: Desk, kind: str) -> None:
    """Mandrill can be asked by our key."""
    desk.mandrill.fault(kind)
    desk.queue(1)
    desk.work()
    assert desk.states() == [("sent", "mailchimp", 1)]
    assert desk.rows("select reason from ops.outbox") == [("found after a lost answer",)]
    assert desk.arrived() == [("mailchimp", key_of(1))]


def test_a_letter_that_never_came_is_sent_when_that_is_certain(desk: Desk) -> None:
    """The search may lag behind: not found is no proof for a quarter of an hour."""
    desk.mandrill.fault("drop_before")
    desk.queue(1)
    for _ in range(29):
        desk.work()
        assert desk.states() == [("unknown", "mailchimp", 1)]
        desk.clock.later(seconds=30)
    desk.clock.later(minutes=1)
    desk.work()
    assert desk.states() == [("sent", "mailchimp", 2)]
    assert desk.outcomes() == [("mailchimp", "absent"), ("mailchimp", "accepted")]
    assert desk.arrived() == [("mailchimp", key_of(1))]


@pytest.mark.parametrize(("kind", "reason"), [("drop_after_write", "taken a moment ago"), ("drop_before", None)])
def test_a_service_that_guards_against_repeats_is_asked_again(desk: Desk, kind: str, reason: str | None) -> None:
    """UniSender Go refuses the same key for a minute, so the same call tells what became of the first."""
    desk.names = ("unisender",)
    desk.go.fault(kind)
    desk.queue(1)
    desk.work()
    assert desk.states() == [("sent", "unisender", 2)]
    assert desk.rows("select reason from ops.outbox") == [(reason,)]
    assert desk.arrived() == [("unisender", key_of(1))]


@pytest.mark.parametrize(("status", "times"), [(400, 1), (429, 2)])
def test_a_refused_repeat_says_nothing_of_the_first_call(desk: Desk, status: int, times: int) -> None:
    """A refusal without a word may be the guard's own, and who is busy has not looked: nobody else is asked."""
    desk.names = ("unisender", "mailchimp")
    desk.go.fault("drop_after_write")
    desk.go.fault("refuse", status=status, times=times)
    desk.queue(1)
    desk.work()
    assert desk.states() == [("unknown", "unisender", 2)]
    desk.clock.later(seconds=10)
    desk.work()
    assert desk.states() == [("sent", "unisender", 3)]
    assert desk.arrived() == [("unisender", key_of(1))]


def test_after_the_guard_nobody_repeats(desk: Desk) -> None:
    """The letter is held, and an event that comes in tells of it."""
    lose_answer(desk)
    desk.clock.later(seconds=46)
    desk.work()
    assert desk.states() == [("unknown", "unisender", 1)]
    with psycopg.connect(desk.dsn) as connection:
        connection.execute(
            "insert into raw_esp.events (esp, account, external_id, email, event_type, message_ref, payload, _row_hash,"
            " _loaded_at, _load_id) values ('unisender', 'unisender', 'e', 'person1@example.com', 'delivered', 'job-1',"
            " jsonb_build_object('metadata', jsonb_build_object('lettertrail_key', %s::text)), 0, now(), 0)",
            [key_of(1)],
        )
    desk.clock.later(minutes=15)
    desk.work()
    assert desk.rows("select state, message_ref from ops.outbox") == [("sent", "job-1")]


def test_what_nobody_can_tell_of_is_held_for_good(desk: Desk) -> None:
    """After three days of watching; an operator decides."""
    hold_letter(desk)
    assert desk.rows("select state, next_attempt_at from ops.outbox") == [("unknown", None)]
    desk.clock.later(days=30)
    assert desk.work() == 0
    assert desk.arrived() == []


def test_a_letter_that_cannot_be_looked_up_is_held_too(desk: Desk) -> None:
    """The service refuses the question, or the connection holds no key any more: no letter goes out blindly."""
    desk.mandrill.fault("drop_before")
    desk.mandrill.fault("refuse", path="/messages/search", status=401, times=1_000)
    desk.queue(1)
    desk.work()
    assert desk.states() == [("unknown", "mailchimp", 1)]
    assert desk.rows("select next_attempt_at from ops.outbox") == [(START + timedelta(seconds=30),)]
    desk.key = ""
    desk.clock.later(minutes=20)
    desk.work()
    desk.clock.later(days=3)
    desk.work()
    assert desk.rows("select state, next_attempt_at, attempts from ops.outbox") == [("unknown", None, 1)]
    assert desk.arrived() == []


def test_a_letter_with_a_worker_that_is_gone_is_looked_up(desk: Desk) -> None:
    """While its lock is held nobody touches it."""
    desk.queue(1)
    going = claim(desk)
    assert going is not None
    with connect(desk.relay_dsn, purpose="another worker", autocommit=True) as database:
        another = Outbox(database, worker=8, policy=Policy())
        assert another.recover(now=desk.clock()) == 0
        desk.database.execute("select pg_advisory_unlock_all()")
        assert another.recover(now=desk.clock()) == 1
    assert desk.states() == [("unknown", "mailchimp", 1)]
    # It was not gone after all: its answer counts.
    desk.outbox.record(going, Sent("", "accepted", "m-1"), now=desk.clock())
    assert desk.rows("select state, message_ref from ops.outbox") == [("sent", "m-1")]


def test_a_late_answer_does_not_undo_what_was_decided(desk: Desk) -> None:
    """The letter went on with another attempt; the answer is kept with its own."""
    desk.queue(1)
    going = claim(desk)
    assert going is not None
    desk.rows("update ops.outbox set state = 'queued', worker = null, next_attempt_at = %s returning 1", desk.clock())
    second = claim(desk)
    assert second is not None
    desk.outbox.record(going, Sent("", "accepted", "m-1"), now=desk.clock())
    assert desk.states() == [("sending", "mailchimp", 2)]
    assert desk.outcomes() == [("mailchimp", "accepted"), ("mailchimp", None)]


# Who gets nothing


@pytest.mark.parametrize(
    ("state", "expected"), [("complaint", "suppressed"), ("erased", "suppressed"), ("unsubscribed", "sent"),
                            ("hard_bounce", "sent"), ("no_consent", "sent")]
)  # fmt: skip
def test_only_complaints_and_erasure_keep_what_was_ordered_back(desk: Desk, state: str, expected: str) -> None:
    """Whoever left the newsletter still gets a receipt."""
    with psycopg.connect(desk.dsn) as connection:
        connection.execute("create table marts.dim_suppression (email text, state text)")
        connection.execute("insert into marts.dim_suppression values ('person1@example.com', %s)", [state])
    desk.queue(1, to="Person1@Example.com")
    desk.work()
    assert [row[0] for row in desk.states()] == [expected]
    if expected == "suppressed":
        assert desk.rows("select reason, attempts from ops.outbox") == [(state, 0)]
        assert desk.arrived() == []


def test_who_was_erased_gets_nothing_though_no_table_knows_the_address(desk: Desk) -> None:
    """The relay has the key, so it can ask for the pseudonym; at once, before any model was built."""
    key = ErasureKey(b"0123456789abcdef0123456789abcdef")
    with psycopg.connect(desk.dsn) as connection:
        connection.execute(
            "insert into ops.erasures (erasure_id, run_id, person_hash, reference, cards, services, places,"
            " approved_by, approved_at, started_at, finished_at)"
            " values (1, 'r', 'h', 'T-1', '{}', '{}', '{}', '7', now(), now(), now())"
        )
        connection.execute(
            "insert into ops.erased_identifiers values ('email', %s, %s, 1, now())",
            [key.digest("email", "person1@example.com"), key.email("person1@example.com")],
        )
    desk.outbox = Outbox(desk.database, worker=WORKER, policy=Policy(pseudonym=key.email))
    desk.queue(1, to="Person1@Example.com")
    desk.queue(2)
    desk.work()
    assert [row[0] for row in desk.states()] == ["suppressed", "sent"]
    assert desk.rows("select reason from ops.outbox where state = 'suppressed'") == [("erased",)]


def test_a_complaint_counts_before_the_models_have_seen_it(desk: Desk) -> None:
    """A webhook that came a minute ago is enough."""
    with psycopg.connect(desk.dsn) as connection:
        connection.execute(
            "insert into raw_esp.events (esp, account, external_id, email, event_type, payload, _row_hash, _loaded_at,"
            " _load_id) values ('sendpulse', 'sendpulse', 'e', 'person1@example.com', 'complained', '{}', 0, now(), 0)"
        )
    desk.queue(1, 2)
    desk.work()
    assert [row[0] for row in desk.states()] == ["suppressed", "sent"]


@pytest.mark.parametrize(
    ("reason", "state", "account"),
    [
        ("spam", "suppressed", "mailchimp"),
        ("hard-bounce", "dead", "mailchimp"),
        ("unsub", "sent", "unisender"),
        ("custom", "sent", "unisender"),
    ],
)
def test_what_a_service_knows_of_the_person(desk: Desk, reason: str, state: str, account: str) -> None:
    """A complaint ends it, a mailbox that is not there too; one service's list of unsubscribed people does not."""
    desk.mandrill.store.enrol(["person1@example.com"], status=reason)
    desk.queue(1)
    desk.work()
    assert [row[:2] for row in desk.states()] == [(state, account)]


def test_a_letter_that_all_refuse_is_dead_with_the_reason(desk: Desk) -> None:
    """The reason holds no address."""
    desk.mandrill.store.enrol(["person1@example.com"], status="custom")
    desk.go.store.suppress("person1@example.com", "blocked", "user")
    desk.queue(1)
    desk.work()
    assert desk.rows("select state, reason from ops.outbox") == [
        ("dead", "refused by every account; the last: blocked")
    ]
    assert desk.arrived() == []


# What is kept


def test_letters_are_forgotten_and_what_became_of_them_stays(desk: Desk) -> None:
    """Sent ones after a week, dead and held ones after a month, those that wait never."""
    desk.queue(1, 2)
    desk.mandrill.store.enrol(["person2@example.com"], status="hard-bounce")
    desk.work()
    desk.queue(3)
    kept = "select state from ops.outbox where body is not null and recipient is not null order by outbox_id"
    desk.clock.later(days=7, seconds=-1)
    assert desk.outbox.forget(now=desk.clock()) == 0
    desk.clock.later(seconds=2)
    assert desk.outbox.forget(now=desk.clock()) == 1
    assert desk.rows(kept) == [("dead",), ("queued",)]
    desk.clock.later(days=23)
    assert desk.outbox.forget(now=desk.clock()) == 1
    assert desk.rows(kept) == [("queued",)]
    desk.queue(1)
    assert [state for state, *_ in desk.states()] == ["sent", "dead", "queued"]


# The process


def test_the_worker_sends_what_comes_and_stops_when_told(desk: Desk) -> None:
    """It is woken up by the inbox."""
    stop = threading.Event()
    desk.queue(1)
    relay = Relay(desk.relay_dsn, desk.accounts(), desk.clock, threads=2)
    thread = threading.Thread(target=work, args=(relay, stop), kwargs={"connector": desk.connected})
    thread.start()
    try:
        wait_for(desk, "select count(*) = 1 from ops.outbox where state = 'sent'")
        desk.queue(2, 3)
        wait_for(desk, "select count(*) = 3 from ops.outbox where state = 'sent'")
    finally:
        stop.set()
        thread.join(timeout=20)
    assert not thread.is_alive()
    assert len(desk.arrived()) == 3


def wait_for(desk: Desk, question: str) -> None:
    """Until the answer is yes."""
    for _ in range(400):
        if desk.rows(question) == [(True,)]:
            return
        threading.Event().wait(0.05)
    raise AssertionError(question)


def test_a_worker_whose_database_breaks_off_ends(desk: Desk) -> None:
    """Whoever started it starts it again."""
    found: list[BaseException] = []

    def run() -> None:
        try:
            work(Relay(desk.relay_dsn, desk.accounts(), desk.clock, threads=1), stop, connector=desk.connected)
        except WarehouseError as error:
            found.append(error)

    stop = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    wait_for(desk, f"select count(*) = 2 from pg_locks where locktype = 'advisory' and classid = {WORKERS}")
    desk.rows(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'lettertrail: relay'"
    )
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert [type(error) for error in found] == [WarehouseError]


def test_a_connection_that_cannot_be_used_is_told_at_the_start(desk: Desk) -> None:
    """Before a letter is taken."""
    relay = Relay(desk.relay_dsn, desk.accounts(), desk.clock)
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_ALLOWED_HOSTS"):
        work(relay, threading.Event())


def test_the_role_sees_letters_and_no_lists_of_people(desk: Desk) -> None:
    """It may not add letters or delete them either."""
    for statement in (
        "select email from raw_esp.events",
        "insert into ops.outbox (key) values ('x')",
        "delete from ops.outbox",
        "select * from raw_inbox.deliveries",
        "select * from ops.sync_records",
    ):
        with psycopg.connect(desk.relay_dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
