"""The sender module of a site with our handler, against the REST sandbox on a real MariaDB and a real warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.audiences.fakes import NOON, Warehouse
from tests.running_service import RunningService

from lettertrail.bitrix.rest_site import BitrixSite
from lettertrail.errors import AuthenticationError, TemporaryApiError
from lettertrail.esps.port import AccountConnection, Record
from lettertrail.sandbox.bitrix_methods.batch import asks_for_change
from lettertrail.sandbox.bitrix_methods.entrance import WEBHOOK_SCOPES
from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_rest import create_app
from lettertrail.sandbox.bitrix_schema import tables
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.sandbox.server import served

SECRET = "wh00ksecret"
FOREVER = 1_000


class Site(RunningService):
    """A running site and its table of addresses."""

    secret = SECRET

    def __init__(self, base: str, dsn: str, journal: Path) -> None:
        super().__init__(base, journal)
        self.dsn = dsn

    def destination(self) -> BitrixSite:
        connection = AccountConnection("bitrix_site", f"{self.base}/rest/1/{SECRET}/")
        site = BitrixSite.connect(connection, clock=lambda: NOON, allowed_hosts=[self.base.removeprefix("http://")])
        site._api._sleep = lambda seconds: None
        site._api._throttle._bucket = None
        return site

    def blacklist(self) -> dict[str, str]:
        with connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("select CODE, BLACKLISTED from b_sender_contact where TYPE_ID = 1 order by ID")
            return dict(cursor.fetchall())


def running(dsn: str, tmp_path: Path, scopes: frozenset[str]) -> Any:
    app = create_app(dsn, secret=SECRET, timezone=ZoneInfo("Europe/Moscow"), limits=Limits(burst=10_000), scopes=scopes)
    journal = Journal(tmp_path / "requests.jsonl")
    return Journaled(
        Faults(app, key=SECRET), journal, service="bitrix", is_write=asks_for_change, mask=lambda path: path
    )


@pytest.fixture
def site_dsn(mariadb: MariaDb) -> str:
    """1 200 addresses, p1 to p1200; every second of the first 20 is on the blacklist."""
    with connect(mariadb.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("create or replace database handler_site character set utf8mb4 collate utf8mb4_unicode_ci")
        cursor.execute("use handler_site")
        cursor.execute(tables()["b_sender_contact"].ddl())
        cursor.executemany(
            "insert into b_sender_contact (CODE, TYPE_ID, BLACKLISTED, DATE_INSERT) values (%s, 1, %s, now())",
            [(f"p{n}@shop.example", "Y" if n <= 20 and n % 2 else "N") for n in range(1, 1201)],
        )
        connection.commit()
    return f"{mariadb.dsn.rstrip('/')}/handler_site"


@pytest.fixture
def site(site_dsn: str, tmp_path: Path) -> Iterator[Site]:
    with served(running(site_dsn, tmp_path, WEBHOOK_SCOPES | {"lettertrail"})) as base:
        yield Site(base, site_dsn, tmp_path / "requests.jsonl")


def records(*emails: str) -> list[Record]:
    return [Record(email, email) for email in emails]


def test_the_blacklist_is_read_whole(site: Site) -> None:
    """And nothing but the blacklist."""
    assert list(site.destination().suppressed()) == [f"p{n}@shop.example" for n in range(1, 20, 2)]


def test_suppresses_fifty_at_a_time(site: Site) -> None:
    """Known, unknown, on it already, and what is no address."""
    sent = records("p1@shop.example", *(f"p{n}@shop.example" for n in range(21, 121)), "new@shop.example", "x@y")
    destination = site.destination()
    found = {outcome.key: outcome.status for outcome in destination.suppress(sent)}
    assert found.pop("p1@shop.example") == "already_ok"
    assert found.pop("x@y") == "rejected"
    assert set(found.values()) == {"applied"}
    assert [call.records for call in destination.calls()] == [50, 50, 3]
    after = site.blacklist()
    assert {email for email, flag in after.items() if flag == "Y"} >= set(found)
    assert after["p200@shop.example"] == "N"


def test_without_the_handler_it_says_what_to_do(site_dsn: str, tmp_path: Path) -> None:
    """The webhook has no scope for it."""
    with served(running(site_dsn, tmp_path, WEBHOOK_SCOPES)) as base:
        destination = Site(base, site_dsn, tmp_path / "requests.jsonl").destination()
        (step,) = destination.check()
        with pytest.raises(AuthenticationError):
            list(destination.suppress(records("p1@shop.example")))
    assert not step.ok
    assert "scope lettertrail" in step.message


def test_the_check_passes(site: Site) -> None:
    """Without writing."""
    assert [step.ok for step in site.destination().check()] == [True]
    assert site.writes() == []


@pytest.fixture
def told(warehouse_dsn: str) -> Iterator[Warehouse]:
    """A warehouse that knows the site's addresses, some of whom must not be mailed."""
    warehouse = Warehouse(warehouse_dsn)
    warehouse.execute("create table marts.mart_site_addresses (email text)")
    warehouse.execute(
        "insert into marts.mart_site_addresses select 'p' || n || '@shop.example' from generate_series(20, 1200) as n"
    )
    warehouse.suppress(*(f"p{n}@shop.example" for n in range(30, 110)), "elsewhere@shop.example", "p1@shop.example")
    yield warehouse
    warehouse.close()


def test_the_site_hears_of_its_own_addresses(site: Site, told: Warehouse) -> None:
    """Not of one it does not have, nor of one it refuses already; then never again."""
    result = told.sync_suppressions(site.destination())
    assert (result.planned, result.applied) == (80, 80)
    now = {email for email, flag in site.blacklist().items() if flag == "Y"}
    assert now == {f"p{n}@shop.example" for n in (*range(1, 20, 2), *range(30, 110))}
    assert set(told.acknowledged("suppressions").values()) == {"suppressed", "found"}
    before = len(site.lines())
    assert told.sync_suppressions(site.destination()).planned == 0
    assert len(site.lines()) == before
    assert told.unbalanced() == []


@pytest.mark.parametrize("fault", ["drop_after_write", "drop_before"])
def test_a_lost_answer_is_asked_for_again(site: Site, told: Warehouse, fault: str) -> None:
    """By the next run at the latest; what got through is ours all the same."""
    site.fault(fault, path="suppress$", times=FOREVER)
    with pytest.raises(TemporaryApiError):
        told.sync_suppressions(site.destination())
    site.mend()
    told.sync_suppressions(site.destination())
    assert sum(value == "suppressed" for value in told.acknowledged("suppressions").values()) == 80
    assert told.unbalanced() == []
