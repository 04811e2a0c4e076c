"""Groups of deliveries on disk: all that was answered for is there, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from tests.faults.servers import free_port
from tests.inbox.conftest import NOW, Inside

from lettertrail.errors import WarehouseError
from lettertrail.inbox import store as store_module
from lettertrail.inbox.store import Incoming, PostgresStore
from lettertrail.warehouse.roles import apply_roles

PASSWORD = "an inbox's"


@pytest.fixture
def inbox_dsn(inside: Inside) -> str:
    """The warehouse as the role that may do nothing but hand in."""
    apply_roles(inside.dsn, {"lettertrail_inbox": PASSWORD})
    parts = urlsplit(inside.dsn)
    return f"postgresql://lettertrail_inbox:{quote(PASSWORD)}@{parts.hostname}:{parts.port}{parts.path}"


def delivery(content: bytes, *, account: str = "sendpulse", kind: str = "marketing") -> Incoming:
    """One with that body."""
    return Incoming(account, kind, content, "path", {"x": "ü\\u0000"}, content, NOW)


def use(dsn: str, work: Callable[[PostgresStore], Awaitable[None]], *, answer_within: float = 5.0) -> None:
    """Does something with a store and closes it."""

    async def inner() -> None:
        store = PostgresStore(dsn, answer_within=answer_within)
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(inner())


def put_all(dsn: str, *deliveries: Incoming) -> None:
    """Puts them in at the same time."""

    async def work(store: PostgresStore) -> None:
        await asyncio.gather(*map(store.put, deliveries))

    use(dsn, work)


def test_what_was_put_is_there(inside: Inside, inbox_dsn: str) -> None:
    """Any bytes, as they came."""
    bodies = [bytes(range(256)), b"", b"x" * 1_000_000, *(f"{n}".encode() for n in range(1_500))]
    put_all(inbox_dsn, *map(delivery, bodies))
    held = inside.rows("select body, account, kind, verdict, headers, received_at, outcome from raw_inbox.deliveries")
    assert sorted(row[0] for row in held) == sorted(bodies)
    assert {(*row[1:4], row[4]["x"], *row[5:]) for row in held} == {
        ("sendpulse", "marketing", "path", "ü\\u0000", NOW, None)
    }


def test_the_same_again_is_counted(inside: Inside, inbox_dsn: str) -> None:
    """In the same group, in another one, and to another address, which is not the same."""
    put_all(inbox_dsn, *[delivery(b"a")] * 3, delivery(b"b"))
    put_all(inbox_dsn, delivery(b"a"), delivery(b"a", kind="transactional"), delivery(b"a", account="sendpulse__b2b"))
    held = inside.rows("select body, account, kind, repeats from raw_inbox.deliveries order by 1, 2, 3")
    assert held == [
        (b"a", "sendpulse", "marketing", 3), (b"a", "sendpulse", "transactional", 0),
        (b"a", "sendpulse__b2b", "marketing", 0), (b"b", "sendpulse", "marketing", 0),
    ]  # fmt: skip


def test_many_deliveries_share_a_commit(inside: Inside, inbox_dsn: str) -> None:
    """A commit each would wait for the disk two thousand times."""
    before = inside.rows("select xact_commit from pg_stat_database where datname = current_database()")[0][0]
    put_all(inbox_dsn, *(delivery(f"{number}".encode()) for number in range(2_000)))
    inside.rows("select pg_stat_force_next_flush()")
    after = inside.rows("select xact_commit from pg_stat_database where datname = current_database()")[0][0]
    assert inside.rows("select count(*), count(distinct xmin::text) from raw_inbox.deliveries") == [(2_000, 4)]
    assert after - before < 50


@pytest.fixture
def listener(inside: Inside) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Hears what the inbox tells."""
    with psycopg.connect(inside.dsn, autocommit=True) as connection:
        connection.execute("listen lettertrail_inbox")
        yield connection


def test_new_deliveries_are_told(inbox_dsn: str, listener: psycopg.Connection[tuple[object, ...]]) -> None:
    """What starts the processing listens for it; a repeat is no news."""
    put_all(inbox_dsn, delivery(b"a"), delivery(b"b"), delivery(b"a", account="unisender"))
    assert sorted(told.payload for told in listener.notifies(timeout=5, stop_after=2)) == ["sendpulse", "unisender"]
    put_all(inbox_dsn, delivery(b"a"))
    assert list(listener.notifies(timeout=0.1)) == []


def test_no_commit_no_answer(inbox_dsn: str, inside: Inside) -> None:
    """While something holds the table, senders are sent away in time; afterwards they are taken again."""

    async def work(store: PostgresStore) -> None:
        await store.put(delivery(b"before"))
        with psycopg.connect(inside.dsn) as holder:
            holder.execute("lock table raw_inbox.deliveries in exclusive mode")
            with pytest.raises(WarehouseError):
                await store.put(delivery(b"meanwhile"))
        await store.put(delivery(b"after"))

    use(inbox_dsn, work, answer_within=0.2)
    assert {row[0] for row in inside.rows("select body from raw_inbox.deliveries")} >= {b"before", b"after"}


def test_a_lost_connection_is_made_again(inbox_dsn: str, inside: Inside) -> None:
    """Without the sender noticing, when it is quick."""

    async def work(store: PostgresStore) -> None:
        for number in range(5):
            await store.put(delivery(f"{number}".encode()))
            inside.rows(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where application_name = 'lettertrail: inbox' and datname = current_database()"
            )
        assert store.is_well()

    use(inbox_dsn, work)
    assert inside.rows("select count(*) from raw_inbox.deliveries") == [(5,)]


def test_no_database_at_all() -> None:
    """Everybody is sent away in time, nobody waits in memory for ever, and the health is bad."""

    async def work(store: PostgresStore) -> None:
        results = await asyncio.gather(*(store.put(delivery(b"a")) for _ in range(50)), return_exceptions=True)
        assert {type(result) for result in results} == {WarehouseError}
        assert not store.is_well()

    use(f"postgresql://nobody@127.0.0.1:{free_port()}/none", work, answer_within=0.2)


def test_a_database_that_says_nothing(monkeypatch: pytest.MonkeyPatch, inside: Inside, inbox_dsn: str) -> None:
    """Connected and silent: given up on, and the next attempt, which is answered, stores what waits."""
    monkeypatch.setattr(store_module, "_GIVE_UP_AFTER", 0.3)
    told: list[int] = []

    async def inner() -> None:
        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.append(len(await reader.read(10)))
            await reader.read()
            writer.close()

        async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            store = PostgresStore(psycopg.conninfo.make_conninfo(inbox_dsn, port=port), answer_within=10)
            waiting = asyncio.create_task(store.put(delivery(b"a")))
            while len(told) < 2:
                await asyncio.sleep(0.01)
            store._dsn = inbox_dsn
            await waiting
            await store.close()

    asyncio.run(inner())
    assert inside.rows("select count(*) from raw_inbox.deliveries") == [(1,)]


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fits is refused at once while the database is away."""
    monkeypatch.setattr(store_module, "MAX_WAITING_BYTES", 1_000)

    async def work(store: PostgresStore) -> None:
        waiting = [asyncio.create_task(store.put(delivery(b"x" * 400))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(WarehouseError, match="takes nothing in"):
            await store.put(delivery(b"x" * 400))
        await asyncio.gather(*waiting, return_exceptions=True)

    use(f"postgresql://nobody@127.0.0.1:{free_port()}/none", work, answer_within=0.2)


@pytest.mark.parametrize(
    "statement",
    [
        "select body from raw_inbox.deliveries",
        "insert into raw_inbox.deliveries (account) values ('a')",
        "update raw_inbox.deliveries set body = ''",
        "delete from raw_inbox.deliveries",
        "select 1 from raw_esp.events",
        "select 1 from ops.loads",
        "create table raw_inbox.t ()",
        "create temporary table t ()",
    ],
)
def test_the_receiver_may_only_hand_in(inbox_dsn: str, statement: str) -> None:
    """It faces the internet: who takes it over must not read what came in, nor take it back."""
    with psycopg.connect(inbox_dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_others_may_not_hand_in(inside: Inside, inbox_dsn: str) -> None:
    """Nor does dbt read tokens."""
    apply_roles(inside.dsn, {"lettertrail_dbt": PASSWORD, "lettertrail_reader": PASSWORD})
    for role, statement in (
        ("lettertrail_reader", "select raw_inbox.receive('{}', '{}', '{}', '{}', '{}', '{}', '{}')"),
        ("lettertrail_dbt", "select raw_inbox.receive('{}', '{}', '{}', '{}', '{}', '{}', '{}')"),
        ("lettertrail_dbt", "select body from raw_inbox.deliveries"),
    ):
        dsn = inbox_dsn.replace("lettertrail_inbox", role)
        with psycopg.connect(dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
