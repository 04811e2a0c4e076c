"""Deliveries become events, each delivery with exactly one outcome, however it is interrupted."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlencode

import psycopg
import pytest
from tests.inbox.conftest import NOW, Inside
from tests.inbox.test_store import PASSWORD, use

from lettertrail import esps
from lettertrail.clock import fixed_clock
from lettertrail.errors import ContractError, WarehouseError
from lettertrail.esps.port import Delivery, Event, Hook
from lettertrail.inbox import process
from lettertrail.inbox.__main__ import main
from lettertrail.inbox.process import InboxResult, forget_deliveries, process_deliveries, reopen_parked
from lettertrail.inbox.store import Incoming, PostgresStore
from lettertrail.warehouse.ledger import check_balance
from lettertrail.warehouse.roles import apply_roles

EVENT = Event(
    external_id="e1", campaign_id="c1", contact_id=None, email="anna@example.com", event_type="unsubscribed",
    bounce_kind=None, occurred_at=datetime(2026, 11, 1, tzinfo=UTC), url=None, is_proxy=None, reason=None,
    payload={"event": "unsubscribe"}, source="webhook",
)  # fmt: skip


class Pigeon:
    """An adapter that reads `[{"id": …, …}]`: each item is `EVENT` with those fields changed."""

    name = "pigeon"
    hooks: ClassVar = {"marketing": Hook("none", "json")}

    @classmethod
    def read_hook(cls, kind: str, delivery: Delivery) -> Iterator[Event]:
        """As the class says; a text among the items is what a real adapter trips over."""
        if kind != "marketing":
            raise ContractError(f"no webhook {kind!r}")
        for item in json.loads(delivery.body):
            moment = item.get("at")
            changes = {name: value for name, value in item.items() if name != "at"}
            read = datetime.fromisoformat if isinstance(moment, str) else partial(datetime.fromtimestamp, tz=UTC)
            at = {} if moment is None else {"occurred_at": read(moment)}
            yield dataclasses.replace(EVENT, **changes, **at)


@pytest.fixture(autouse=True)
def _pigeon(monkeypatch: pytest.MonkeyPatch) -> None:
    load = esps.load
    monkeypatch.setattr(esps, "load", lambda name: Pigeon if name == "pigeon" else load(name))


def arrive(inside: Inside, *bodies: bytes | str | object, account: str = "pigeon", kind: str = "marketing") -> None:
    """Each becomes a delivery, in this order."""

    async def put(store: PostgresStore) -> None:
        for body in bodies:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            await store.put(Incoming(account, kind, content, "path", {}, content, NOW))

    use(inside.dsn, put)


def read(inside: Inside, run_id: str = "run") -> list[InboxResult]:
    """Processes what waits and checks all sums."""
    results = process_deliveries(inside.dsn, run_id=run_id, clock=fixed_clock(NOW))
    check_balance(inside.dsn, run_id=run_id)
    ((unsettled,),) = inside.rows("select count(*) from raw_inbox.deliveries where outcome is null")
    assert unsettled == 0
    return results


def outcomes(inside: Inside) -> list[tuple[Any, ...]]:
    """Of all deliveries, oldest first."""
    return inside.rows("select outcome, reason from raw_inbox.deliveries order by delivery_id")


def events(inside: Inside) -> list[tuple[Any, ...]]:
    """Key, word and source of all events."""
    return inside.rows("select external_id, event_type, source from raw_esp.events order by external_id")


def test_events_arrive_once(inside: Inside) -> None:
    """New, known in the same words, known in other words, and nothing in it."""
    first, second = {"external_id": "e1"}, {"external_id": "e2", "event_type": "complained"}
    arrive(inside, [first], [first, second], [second, first], [{**first, "reason": "said otherwise"}], [], [first] * 2)
    (result,) = read(inside)
    assert outcomes(inside) == [
        ("applied", None), ("applied", None), ("duplicate", None), ("superseded", None), ("applied", "holds no event"),
        ("duplicate", None),
    ]  # fmt: skip
    assert result == InboxResult("pigeon", 6, 3, 2, 1, 0, events=2, urgent=2)
    assert events(inside) == [("e1", "unsubscribed", "webhook"), ("e2", "complained", "webhook")]
    assert inside.rows("select reason from raw_esp.events where external_id = 'e1'") == [(None,)]


def test_the_ledger_knows_events_and_deliveries(inside: Inside) -> None:
    """Rows name their load, and both sums are in it."""
    arrive(inside, [{}, {"external_id": "e2"}], [{}], b"[")
    read(inside)
    (load,) = inside.rows("select load_id, target, strategy, read, inserted, unchanged from ops.loads")
    assert load[1:] == ("raw_esp.events:pigeon", "webhook", 3, 2, 1)
    assert inside.rows("select distinct _load_id from raw_esp.events") == [(load[0],)]
    assert inside.rows("select distinct load_id from raw_inbox.deliveries") == [(load[0],)]
    assert inside.rows("select * from ops.inbox_loads") == [(load[0], "pigeon", 3, 1, 1, 0, 1)]


def test_what_was_polled_stays(inside: Inside) -> None:
    """A webhook is a hint; the service's own report of the same event is worth more."""
    arrive(inside, [{}])
    read(inside)
    with psycopg.connect(inside.dsn) as connection:
        connection.execute("update raw_esp.events set source = 'poll', reason = 'asked for', _row_hash = 1")
    arrive(inside, [{"payload": {"again": 1}}])
    assert read(inside)[0].superseded == 1
    assert inside.rows("select source, reason from raw_esp.events") == [("poll", "asked for")]


def test_nothing_waits_nothing_happens(inside: Inside) -> None:
    """A run without deliveries leaves no load."""
    assert read(inside) == []
    arrive(inside, [{}])
    assert len(read(inside)) == 1
    assert read(inside) == []
    assert inside.rows("select count(*) from ops.loads") == [(1,)]


GARBAGE: list[tuple[object, str]] = [
    (b'"\xff"', "UnicodeDecodeError"),
    (b"", "JSONDecodeError"),
    (b"5", "TypeError"),
    (b'["text"]', "AttributeError"),
    (b"[" * 2000, "RecursionError"),
    ([{"no_such_field": 1}], "TypeError"),
    ([{"event_type": "flew away"}], "unknown event type"),
    ([{"bounce_kind": "bouncy"}], "unknown bounce kind"),
    ([{"source": "rumour"}], "unknown source"),
    ([{"external_id": ""}], "no id"),
    ([{"at": "2026-11-01T10:00:00"}], "aware time"),
    ([{"at": "yesterday"}], "ValueError"),
    ([{"at": 99999999999999999}], "OSError"),
    (b'[{"payload": {"a": 1e999}}]', "ValueError"),
    (b'[{"payload": {"a": "\\ud800"}}]', "UnicodeEncodeError"),
    (b'[{"url": "\\udfff"}]', "UnicodeEncodeError"),
    ([{"email": random.Random(4).randbytes(9_000).hex()}], "the warehouse refuses it"),
]


def test_what_cannot_be_read_is_parked(inside: Inside) -> None:
    """With a reason that quotes nothing; its neighbours are read, and half of it is not."""
    bodies: list[object] = []
    for number, (body, _) in enumerate(GARBAGE):
        bodies += [body, [{"external_id": f"good {number}"}]]
    arrive(inside, *bodies, [{"external_id": "half"}, {"event_type": "flew away"}])
    (result,) = read(inside)
    assert (result.parked, result.applied, result.events) == (len(GARBAGE) + 1, len(GARBAGE), len(GARBAGE))
    reasons = [reason for outcome, reason in outcomes(inside) if outcome == "parked"]
    for (_, expected), reason in zip(GARBAGE, reasons, strict=False):
        assert expected in reason
        assert "anna" not in reason
    assert "half" not in {row[0] for row in events(inside)}


def test_zero_bytes_are_left_out(inside: Inside) -> None:
    """PostgreSQL takes none; the rest of the event counts."""
    arrive(inside, [{"reason": "a\0b", "payload": {"x\0": "\0"}}])
    assert read(inside)[0].applied == 1
    assert inside.rows("select reason, payload from raw_esp.events") == [("ab", {"x": ""})]


def test_an_account_nobody_knows_is_parked(inside: Inside) -> None:
    """Renamed meanwhile; and a kind its adapter does not have."""
    arrive(inside, [{}], account="raven")
    arrive(inside, [{}], kind="transactional")
    assert [result.parked for result in read(inside)] == [1, 1]
    (_, kind_reason), (_, account_reason) = sorted(outcomes(inside), key=lambda row: row[1])
    assert "no webhook" in kind_reason
    assert "no ESP adapter 'raven'" in account_reason


def test_parked_deliveries_can_be_read_again(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the adapter was mended; nothing that was read is read again."""
    arrive(inside, b"now a delivery", [{"external_id": "e1"}])
    arrive(inside, b"of another", account="pigeon__b2b")
    read(inside)
    mended = classmethod(lambda cls, kind, delivery: iter([dataclasses.replace(EVENT, external_id="mended")]))
    monkeypatch.setattr(Pigeon, "read_hook", mended)
    assert reopen_parked(inside.dsn, account="pigeon") == 1
    assert read(inside, "again") == [InboxResult("pigeon", 1, 1, 0, 0, 0, events=1, urgent=1)]
    assert outcomes(inside)[:2] == [("applied", None), ("applied", None)]
    assert reopen_parked(inside.dsn) == 1


@pytest.mark.parametrize("stage", ["_store_esp", "record", "_settle", "_count"])
def test_broken_off_anywhere_nothing_is_half_done(inside: Inside, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """The connection goes before each step of a group: as if nobody had begun, and the next run does it all."""
    arrive(inside, [{}], [{"external_id": "e2"}])
    whole = getattr(process, stage)

    def break_off(first: Any, *more: Any, **named: Any) -> Any:
        connection = getattr(first, "connection", first)
        connection.close()
        return whole(first, *more, **named)

    with monkeypatch.context() as patched:
        patched.setattr(process, stage, break_off)
        with pytest.raises(WarehouseError):
            process_deliveries(inside.dsn, run_id="broken", clock=fixed_clock(NOW))
    assert outcomes(inside) == [(None, None)] * 2
    assert inside.rows("select count(*) from raw_esp.events") == [(0,)]
    assert inside.rows("select count(*) from ops.loads") == [(0,)]
    assert read(inside)[0].applied == 2


def test_two_runs_share_the_work(inside: Inside) -> None:
    """What another run holds is left to it, and not waited for."""
    arrive(inside, [{"external_id": "e1"}], [{"external_id": "e2"}])
    with psycopg.connect(inside.dsn) as other:
        other.execute("select from raw_inbox.deliveries order by delivery_id limit 1 for update")
        results = process_deliveries(inside.dsn, run_id="beside", clock=fixed_clock(NOW))
        assert [result.received for result in results] == [1]
    assert read(inside)[0].received == 1


def test_large_groups_are_taken_in_pieces(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """By number and by size, each a load of its own, none forgotten."""
    monkeypatch.setattr(process, "_GROUP", 4)
    monkeypatch.setattr(process, "_GROUP_BYTES", 400)
    arrive(inside, *([{"external_id": f"e{number}", "reason": "x" * 150}] for number in range(11)))
    assert read(inside)[0].applied == 11
    assert inside.rows("select read from ops.loads order by load_id") == [(3,), (3,), (3,), (2,)]


def test_bitrix_events(inside: Inside) -> None:
    """Kept once each, as hints of their own; without a name they are parked."""
    fields = {"event": "ONCRMDEALUPDATE", "data[FIELDS][ID]": "42", "ts": "1700000000", "auth[member_id]": "p"}
    bodies = [urlencode({**fields, "auth[access_token]": token}).encode() for token in ("a", "b")]
    arrive(inside, *bodies, b"event=", account="bitrix24", kind="events")
    assert read(inside) == [InboxResult("bitrix24", 3, 1, 1, 0, 1, events=1, urgent=1)]
    held = inside.rows("select event, object_id, member_id, account from raw_inbox.bitrix_events")
    assert held == [("ONCRMDEALUPDATE", "42", "p", "bitrix24")]
    assert inside.rows("select distinct target from ops.loads") == [("raw_inbox.bitrix_events:bitrix24",)]


def test_old_deliveries_can_be_forgotten(inside: Inside) -> None:
    """What was read and is old; what waits or is parked stays, and so do the events."""
    arrive(inside, [{}], b"parked")
    arrive(inside, urlencode({"event": "ONCRMDEALADD"}).encode(), account="bitrix24", kind="events")
    read(inside)
    arrive(inside, [{"external_id": "waits"}])
    assert forget_deliveries(inside.dsn, before=NOW) == 0
    assert forget_deliveries(inside.dsn, before=NOW + timedelta(seconds=1)) == 2
    assert outcomes(inside) == [("parked", "the adapter cannot read it (JSONDecodeError)"), (None, None)]
    assert len(events(inside)) == 1
    assert inside.rows("select event, delivery_id from raw_inbox.bitrix_events") == [("ONCRMDEALADD", None)]


def test_the_command_line(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the runbook says: parked ones are read again, old ones forgotten."""
    monkeypatch.setenv("LETTERTRAIL_LOADER_DSN", inside.dsn)
    arrive(inside, b"parked", [{}])
    read(inside)
    assert main(["--reprocess-parked", "pigeon"]) == 0
    assert main(["--reprocess-parked"]) == 0
    assert inside.rows("select count(*), sum(parked) from ops.inbox_loads") == [(3, 3)]
    assert main(["--forget", "0"]) == 0
    assert outcomes(inside) == [("parked", "the adapter cannot read it (JSONDecodeError)")]


def test_the_loader_may_process(inside: Inside) -> None:
    """With no more rights than that role has."""
    apply_roles(inside.dsn, {"lettertrail_loader": PASSWORD})
    arrive(inside, [{}])
    arrive(inside, urlencode({"event": "ONCRMDEALADD"}).encode(), account="bitrix24", kind="events")
    dsn = psycopg.conninfo.make_conninfo(inside.dsn, user="lettertrail_loader", password=PASSWORD)
    results = process_deliveries(dsn, run_id="run", clock=fixed_clock(NOW))
    assert [result.applied for result in results] == [1, 1]
    assert reopen_parked(dsn) == 0
