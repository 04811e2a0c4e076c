"""From a delivery in the warehouse to an event that starts a run."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psycopg
import pytest

from lettertrail.clock import system_clock
from lettertrail.preferences.applied import note_choices

if TYPE_CHECKING:
    from lettertrail.airflow.inbox import InboxTrigger

STORE = """
    select raw_inbox.receive(
        array['mailchimp'], array['marketing'], array[%s::bytea], array['path'], array['{}'], array['x'::bytea],
        array[now()]
    )
"""


def receive(dsn: str, number: int) -> None:
    """Stores a delivery as the inbox does."""
    with psycopg.connect(dsn) as connection:
        connection.execute(STORE, [hashlib.sha256(str(number).encode()).digest()])


def choose(dsn: str, email: str) -> None:
    """Somebody leaves by one click, as the page stores it."""
    with psycopg.connect(dsn) as connection:
        connection.execute("insert into ops.links (email, made_at) values (%s, now())", [email])
        connection.execute(
            "select raw_inbox.choose(link_id, 'one_click', '{}', '{company_news}', null, null, null, now())"
            " from ops.links where email = %s",
            [email],
        )


@pytest.fixture
def trigger(warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch) -> InboxTrigger:
    """The trigger, with a warehouse behind its connection and quick hands."""
    from airflow.sdk import BaseHook, Connection  # noqa: PLC0415

    from lettertrail.airflow.inbox import InboxTrigger  # noqa: PLC0415

    where = urlsplit(warehouse_dsn)

    async def connection(conn_id: str) -> Connection:
        return Connection(
            conn_id=conn_id, conn_type="postgres", host=where.hostname, port=where.port, login=where.username,
            password=where.password, schema=where.path.lstrip("/"),
        )  # fmt: skip

    monkeypatch.setattr(BaseHook, "aget_connection", connection)
    return InboxTrigger(poll_seconds=30.0, settle_seconds=0.05)


async def next_event(events: AsyncIterator, seconds: float) -> int | None:
    """The newest delivery of the next event; None when none came in time."""
    asking = asyncio.ensure_future(anext(events))
    done, _ = await asyncio.wait({asking}, timeout=seconds)
    if not done:
        asking.cancel()
        return None
    return asking.result().payload["newest_delivery"]


def test_what_waits_already_is_told_at_once(trigger, warehouse_dsn: str) -> None:
    """Deliveries that came while the triggerer was away."""
    receive(warehouse_dsn, 1)
    assert asyncio.run(next_event(trigger.run(), 5)) == 1


def test_a_delivery_is_told_within_seconds(trigger, warehouse_dsn: str) -> None:
    """By notification: the poll alone would take half a minute here."""

    async def told() -> int | None:
        waiting = asyncio.ensure_future(next_event(trigger.run(), 20))
        # A busy machine may take its time to listen.
        for number in range(5):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(receive, warehouse_dsn, number)
            if (await asyncio.wait({waiting}, timeout=3))[0]:
                break
        return await waiting

    assert asyncio.run(told()) in range(1, 6)


def test_the_same_delivery_is_told_once(trigger, warehouse_dsn: str) -> None:
    """A delivery that cannot be worked in now must not start a run after another."""
    trigger.poll_seconds = 0.1
    receive(warehouse_dsn, 1)

    async def told() -> list[int | None]:
        events = trigger.run()
        first = await next_event(events, 5)
        second = await next_event(events, 0.6)
        return [first, second]

    assert asyncio.run(told()) == [1, None]


def test_a_poll_finds_what_no_notification_told(trigger, warehouse_dsn: str) -> None:
    """A notification is lost with its connection."""
    trigger.poll_seconds = 0.2

    async def told() -> int | None:
        waiting = asyncio.ensure_future(next_event(trigger.run(), 10))
        await asyncio.sleep(0.5)
        with psycopg.connect(warehouse_dsn) as connection:
            connection.execute(
                "insert into raw_inbox.deliveries (account, kind, content_hash, verdict, headers, body, received_at)"
                " values ('mailchimp', 'marketing', sha256('y'), 'path', '{}', 'y', now())"
            )
        return await waiting

    assert asyncio.run(told()) == 1


def test_a_warehouse_that_is_away_is_waited_for(
    trigger, warehouse_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A restart of the database must not end the watching for good."""
    from airflow.sdk import BaseHook  # noqa: PLC0415

    from lettertrail.errors import ConfigurationError  # noqa: PLC0415

    trigger.poll_seconds = 0.05
    receive(warehouse_dsn, 1)
    there, failures = BaseHook.aget_connection, [1, 2]

    async def connection(conn_id: str) -> object:
        if failures:
            failures.pop()
            raise ConfigurationError("no such connection yet")
        return await there(conn_id)

    monkeypatch.setattr(BaseHook, "aget_connection", connection)
    assert asyncio.run(next_event(trigger.run(), 5)) == 1
    assert "trying again" in caplog.text


def test_a_choice_on_the_preference_page_is_told(trigger, warehouse_dsn: str) -> None:
    """Once; and not at all when it has been noted already."""
    trigger.poll_seconds = 0.1

    async def told() -> list[dict[str, int]]:
        events = trigger.run()
        found = []
        for number in range(2):
            await asyncio.to_thread(choose, warehouse_dsn, f"person{number}@example.com")
            found.append((await asyncio.wait_for(anext(events), 10)).payload)
        assert await next_event(events, 0.6) is None
        return found

    assert [event["newest_choice"] for event in asyncio.run(told())] == [1, 2]
    note_choices(warehouse_dsn, run_id="tests", clock=system_clock)
    assert asyncio.run(next_event(trigger.run(), 0.6)) is None


def test_it_is_made_again_from_what_it_says_of_itself(trigger) -> None:
    """Airflow stores the trigger and makes it anew in the triggerer."""
    from airflow.sdk import Asset, AssetWatcher  # noqa: PLC0415

    path, values = trigger.serialize()
    assert path == "lettertrail.airflow.inbox.InboxTrigger"
    assert vars(type(trigger)(**values))["poll_seconds"] == trigger.poll_seconds
    assert Asset(name="inbox", uri="x://y", watchers=[AssetWatcher(name="w", trigger=trigger)])
