"""The Bitrix REST sandbox: run time per method, requests that take too long, and faults on demand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from tests.sandbox.services import MOSCOW, Portal, error
from tests.sandbox.small import SECRET

from lettertrail.sandbox.bitrix_methods.limits import Gate, Limits
from lettertrail.sandbox.bitrix_rest import BitrixRest, create_app
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.mariadb import connect
from lettertrail.sandbox.server import served


@contextmanager
def limited(dsn: str, limits: Limits, ticks: SimpleNamespace) -> Iterator[tuple[str, BitrixRest]]:
    """The webhook's address under other limits, with a fault injector before it."""
    app = create_app(dsn, secret=SECRET, timezone=MOSCOW, monotonic=lambda: ticks.now, limits=limits)
    with served(Faults(app, key=SECRET)) as base:
        yield f"{base}/rest/1/{SECRET}", app
    app.close()


def post(url: str, method: str, **params: Any) -> requests.Response:
    return requests.post(f"{url}/{method}", json=params, timeout=10)


def test_run_time_is_freed_minute_by_minute(rest_site_dsn: str) -> None:
    """Ten buckets of a minute; each is forgotten ten minutes after its first call; others are not blocked."""
    ticks = SimpleNamespace(now=20.0)
    with limited(rest_site_dsn, Limits(burst=1e9, operating_seconds=100, seconds_per_call=40), ticks) as (url, app):
        first = post(url, "profile").json()["time"]
        assert first["operating"] == 40
        assert first["operating_reset_at"] == pytest.approx(first["finish"] + 600, abs=2)
        ticks.now += 60
        assert [post(url, "profile").status_code for _ in range(3)] == [200, 200, 429]
        assert error(post(url, "profile")) == (429, "OPERATION_TIME_LIMIT")
        assert post(url, "scope").json()["time"]["operating"] == 40
        assert requests.post(f"{url.replace('/rest/1/', '/rest/2/')}/profile", timeout=10).status_code == 200
        ticks.now = 619.0
        assert post(url, "profile").status_code == 429
        ticks.now = 620.0
        assert post(url, "profile").json()["time"]["operating"] == 120
        assert app.gate.violations == {"OPERATION_TIME_LIMIT": 3}
        assert requests.get(f"{url.partition('/rest')[0]}/_sandbox/limits", timeout=10).json()["violations"] == {
            "OPERATION_TIME_LIMIT": 3
        }


def test_each_command_of_a_batch_takes_run_time(rest_site_dsn: str) -> None:
    """One hit in the bucket, three runs of the method; the batch itself has none; what is too much fails inside."""
    ticks = SimpleNamespace(now=0.0)
    with limited(rest_site_dsn, Limits(burst=2, operating_seconds=100, seconds_per_call=40), ticks) as (url, app):
        body = post(url, "batch", cmd={str(n): "profile" for n in range(5)}).json()
        assert body["time"]["operating"] == 0
        assert [time["operating"] for time in body["result"]["result_time"]] == [40, 80, 120]
        refused = body["result"]["result_error"]
        assert {key: value["error"] for key, value in refused.items()} == {
            "3": "OPERATION_TIME_LIMIT",
            "4": "OPERATION_TIME_LIMIT",
        }
        assert app.gate.calls == {"batch": 1, "profile": 3}
        assert post(url, "scope").status_code == 200
        assert error(post(url, "scope")) == (503, "QUERY_LIMIT_EXCEEDED")
        assert app.gate.violations == {"OPERATION_TIME_LIMIT": 2, "QUERY_LIMIT_EXCEEDED": 1}


def test_the_bucket_is_per_source() -> None:
    """One address' haste does not hold up another."""
    gate = Gate(Limits(burst=1), lambda: 0.0)
    gate.enter("192.0.2.1")
    gate.enter("192.0.2.2")
    assert gate.violations == {}


def test_a_request_that_takes_too_long_is_cut_off_but_done(portal: Portal) -> None:
    """The client gets a page that is no JSON; the write happens all the same."""
    with limited(portal.dsn, Limits(burst=1e9, request_seconds=0.3), SimpleNamespace(now=0.0)) as (url, _):
        with connect(portal.dsn) as holder, holder.cursor() as cursor:
            cursor.execute("select * from b_crm_contact where ID = 1 for update")
            answer = post(url, "crm.contact.update", id=1, fields={"NAME": "late"})
            assert (answer.status_code, answer.headers["content-type"]) == (504, "text/html; charset=utf-8")
            holder.rollback()
        deadline = time.monotonic() + 5
        while portal.rows("select NAME from b_crm_contact where ID = 1") != [("late",)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_faults_come_on_demand(portal: Portal) -> None:
    """429 without a body, half an answer, a dropped one: each once, then all is well."""
    with limited(portal.dsn, Limits(burst=1e9), SimpleNamespace(now=0.0)) as (url, _):
        orders = f"{url.partition('/rest')[0]}/_sandbox/faults"
        for order in (
            {"kind": "refuse", "status": 429, "path": r"crm\.contact\.list"},
            {"kind": "truncate", "path": r"crm\.contact\.list"},
            {"kind": "drop_after_write", "path": r"crm\.contact\.update"},
        ):
            assert requests.post(orders, json=order, auth=("", SECRET), timeout=5).ok
        refused = post(url, "crm.contact.list")
        assert (refused.status_code, refused.content) == (429, b"")
        with pytest.raises(requests.JSONDecodeError):
            post(url, "crm.contact.list").json()
        with pytest.raises(requests.ConnectionError):
            post(url, "crm.contact.update", id=1, fields={"NAME": "unheard"})
        assert post(url, "crm.contact.get", id=1).json()["result"]["NAME"] == "unheard"
        assert len(post(url, "crm.contact.list").json()["result"]) == 50


def test_scopes_bound_a_webhook(rest_site_dsn: str) -> None:
    """A webhook made for the CRM alone sees no orders, and `methods` does not name them."""
    app = create_app(rest_site_dsn, secret=SECRET, timezone=MOSCOW, scopes=frozenset({"crm"}))
    with served(app) as base:
        url = f"{base}/rest/1/{SECRET}"
        assert error(post(url, "sale.order.list")) == (403, "insufficient_scope")
        assert error(post(url, "userconsent.agreement.list")) == (403, "insufficient_scope")
        assert post(url, "scope").json()["result"] == ["crm"]
        assert "sale.order.list" not in post(url, "methods").json()["result"]
        assert post(url, "app.info").json()["result"]["SCOPE"] == ["crm"]
    app.close()
