"""The Bitrix REST sandbox: an application with its tokens, and the offline events it fetches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from tests.sandbox.services import MOSCOW, Portal, error
from tests.sandbox.small import KEY, SECRET

from lettertrail.sandbox import server
from lettertrail.sandbox.bitrix_methods import events
from lettertrail.sandbox.bitrix_methods.entrance import WEBHOOK_SCOPES
from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_methods.tokens import Application
from lettertrail.sandbox.bitrix_rest import BitrixRest, create_app
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.mariadb import connect
from lettertrail.sandbox.server import served

CLIENT = Application("local.1", "s3cret-of-the-application", frozenset({"crm"}), refresh_token="first-refresh")


class App:
    """An application of the portal with a fresh access token."""

    def __init__(self, base: str, app: BitrixRest, clock: SimpleNamespace) -> None:
        self.base = base
        self.clock = clock
        assert app.tokens is not None
        self.access, self.refresh = app.tokens.install()

    def post(self, method: str, **params: Any) -> requests.Response:
        return requests.post(f"{self.base}/rest/{method}", json=params | {"auth": self.access}, timeout=10)

    def result(self, method: str, **params: Any) -> Any:
        answer = self.post(method, **params)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def token(self, **changes: str) -> requests.Response:
        form = {
            "grant_type": "refresh_token",
            "client_id": CLIENT.client_id,
            "client_secret": CLIENT.client_secret,
            "refresh_token": self.refresh,
        }
        return requests.get(f"{self.base}/oauth/token/", params=form | changes, timeout=10)

    def fetch(self, **params: Any) -> tuple[str, list[tuple[str, str]]]:
        """Process and (event, id) pairs of a call that keeps the rows."""
        got = self.result("event.offline.get", clear=0, **params)
        return got["process_id"], [(row["EVENT_NAME"], row["EVENT_DATA"]["FIELDS"]["ID"]) for row in got["events"]]


@pytest.fixture
def app(portal: Portal, tmp_path: Path) -> Iterator[App]:
    """The almost empty site again, with an application and nothing in its queue."""
    rest = create_app(
        portal.dsn,
        secret=SECRET,
        timezone=MOSCOW,
        limits=Limits(burst=1e9),
        application=CLIENT,
        state=tmp_path / "oauth.json",
        clock=lambda: portal.clock.now,
    )
    journaled = Journaled(
        rest, Journal(tmp_path / "journal"), service="bitrix", is_write=lambda *_: True, mask=lambda path: path
    )
    with connect(portal.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("delete from b_rest_event")
        cursor.execute("delete from b_rest_event_offline")
        connection.commit()
    with served(journaled) as base:
        yield App(base, rest, portal.clock)
    rest.close()


# --- tokens


def test_a_refresh_token_works_once(app: App) -> None:
    """Each use gives a new pair; the old refresh token is worth nothing, the old access token lives on."""
    body = app.token().json()
    assert {"access_token", "refresh_token", "expires_in", "member_id", "client_endpoint", "scope"} <= set(body)
    assert (body["expires_in"], body["scope"], body["client_endpoint"]) == (3600, "crm", f"{app.base}/rest/")
    assert error(app.token()) == (400, "invalid_grant")
    assert app.result("profile")["ID"] == "1"
    assert app.token(refresh_token=body["refresh_token"]).json()["member_id"] == body["member_id"]
    assert app.token(refresh_token="first-refresh").status_code == 200
    assert error(app.token(refresh_token="first-refresh")) == (400, "invalid_grant")


def test_an_access_token_lives_an_hour(app: App) -> None:
    """Then the portal says so; as a parameter, in the query and as a bearer."""
    url = f"{app.base}/rest/app.info.json"
    assert requests.get(url, params={"auth": app.access}, timeout=10).json()["result"]["CODE"] == CLIENT.client_id
    bearer = {"Authorization": f"Bearer {app.access}"}
    assert requests.post(url, headers=bearer, timeout=10).json()["result"]["SCOPE"] == ["crm"]
    app.clock.now += timedelta(seconds=3601)
    assert error(app.post("profile")) == (401, "expired_token")
    assert error(requests.post(url, headers={"Authorization": "Bearer guess"}, timeout=10)) == (401, "NO_AUTH_FOUND")
    assert error(requests.post(url, timeout=10)) == (401, "NO_AUTH_FOUND")
    app.clock.now += timedelta(days=181)
    assert error(app.token()) == (400, "invalid_grant")


def test_wrong_credentials_get_no_token(app: App) -> None:
    """A guessed secret, a foreign client, an unknown grant, a late code."""
    assert error(app.token(client_secret="guess")) == (400, "invalid_client")
    assert error(app.token(client_id="local.2")) == (400, "invalid_client")
    assert error(app.token(grant_type="password")) == (400, "invalid_request")
    for wait, status in ((29, 200), (31, 400)):
        asked = {"client_id": CLIENT.client_id, "state": "x"}
        code = requests.get(f"{app.base}/oauth/authorize/", params=asked, timeout=10).json()["code"]
        app.clock.now += timedelta(seconds=wait)
        assert app.token(grant_type="authorization_code", code=code).status_code == status


def test_tokens_survive_a_restart_and_never_reach_the_disk(app: App, portal: Portal, tmp_path: Path) -> None:
    """A new process knows them by their digests; the journal masks them."""
    again = create_app(
        portal.dsn,
        secret=SECRET,
        timezone=MOSCOW,
        application=CLIENT,
        state=tmp_path / "oauth.json",
        clock=lambda: portal.clock.now,
    )
    with served(again) as base:
        assert requests.post(f"{base}/rest/profile", json={"auth": app.access}, timeout=10).status_code == 200
    again.close()
    app.post("profile")
    requests.post(f"{app.base}/rest/profile", data={"a": 1, "auth": app.access}, timeout=10)
    refresh = app.token().json()["refresh_token"]
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert "***" in written
    for secret in (app.access, app.refresh, refresh, CLIENT.client_secret):
        assert secret not in written


def test_scopes_and_kinds_of_access_are_kept_apart(app: App, portal: Portal) -> None:
    """What the application was not given it may not call; a webhook has no events; unknown is unknown."""
    assert error(app.post("sale.order.list")) == (403, "insufficient_scope")
    assert error(app.post("user.get")) == (403, "insufficient_scope")
    assert error(app.post("crm.nothing")) == (404, "ERROR_METHOD_NOT_FOUND")
    assert error(portal.post("event.offline.get")) == (403, "WRONG_AUTH_TYPE")
    assert "sale.order.list" not in app.result("methods")
    assert "sale.order.list" in app.result("methods", full=1)
    assert app.result("method.get", name="sale.order.list") == {"isExisting": True, "isAvailable": False}
    assert app.result("server.time") == "2026-11-01T12:00:00+03:00"
    inner = app.result("batch", cmd={"a": "sale.order.list", "b": "profile"})
    assert (list(inner["result"]), inner["result_error"]["a"]["error"]) == (["b"], "insufficient_scope")


def test_the_process_takes_an_application_whole_or_not_at_all(tmp_path: Path) -> None:
    """From options or the environment; half an application is an error, and none is the default."""
    given = ["--state", str(tmp_path), "--world", str(tmp_path), "--mailchimp-port", "1", "--bitrix-port", "2"]
    environ = {"SANDBOX_MAILCHIMP_KEY": KEY, "SANDBOX_BITRIX_SECRET": SECRET, "SANDBOX_BITRIX_DSN": "mysql://u@h/d"}
    assert server.read_options(given, environ).application is None
    whole = environ | {"SANDBOX_BITRIX_CLIENT_ID": "local.1", "SANDBOX_BITRIX_CLIENT_SECRET": "s"}
    application = server.read_options([*given, "--bitrix-refresh-token", "r"], whole).application
    assert application == Application("local.1", "s", WEBHOOK_SCOPES, "r")
    for half in ({"SANDBOX_BITRIX_CLIENT_ID": "local.1"}, {"SANDBOX_BITRIX_REFRESH_TOKEN": "r"}):
        with pytest.raises(SystemExit):
            server.read_options(given, environ | half)


# --- offline events


def bind(app: App, *names: str, **params: Any) -> None:
    for name in names:
        assert app.result("event.bind", event=name, event_type="offline", **params) is True


def test_a_change_waits_until_it_is_cleared(app: App) -> None:
    """One row per object and event with the last time; kept for its process until that clears it."""
    bind(app, "ONCRMCONTACTUPDATE", "ONCRMCONTACTADD", "ONCRMCONTACTDELETE")
    app.result("crm.contact.update", id=3, fields={"NAME": "a"})
    app.clock.now += timedelta(minutes=5)
    app.result("crm.contact.update", id=3, fields={"NAME": "b"})
    app.result("crm.contact.delete", id=4)
    new = app.result("crm.contact.add", fields={"NAME": "c"})
    process, found = app.fetch()
    assert sorted(found) == [
        ("ONCRMCONTACTADD", str(new)),
        ("ONCRMCONTACTDELETE", "4"),
        ("ONCRMCONTACTUPDATE", "3"),
    ]
    assert app.fetch()[1] == []
    again, found_again = app.fetch(process_id=process)
    assert (again, sorted(found_again)) == (process, sorted(found))
    queue = app.post("event.offline.list", filter={"EVENT_NAME": "ONCRMCONTACTUPDATE"}).json()
    assert queue["total"] == 1
    assert queue["result"][0]["TIMESTAMP_X"] == "2026-11-01T12:05:00+03:00"
    assert (queue["result"][0]["PROCESS_ID"], queue["result"][0]["ERROR"]) == (process, "0")
    app.result("crm.contact.update", id=3, fields={"NAME": "while it is being handled"})
    assert app.result("event.offline.clear", process_id=process) is True
    assert app.fetch()[1] == [("ONCRMCONTACTUPDATE", "3")]


def test_rows_are_cleared_by_id_and_by_message(app: App) -> None:
    """`id` wins over `message_id`; an empty list clears nothing."""
    bind(app, "ONCRMCONTACTUPDATE")
    for card in (1, 2, 3):
        app.result("crm.contact.update", id=card, fields={"NAME": "x"})
    got = app.result("event.offline.get", clear=0, order={"ID": "ASC"})
    first, second, third = got["events"]
    app.result("event.offline.clear", process_id=got["process_id"], id=[])
    app.result("event.offline.clear", process_id=got["process_id"], id=[first["ID"]], message_id=[third["MESSAGE_ID"]])
    app.result("event.offline.clear", process_id=got["process_id"], message_id=[second["MESSAGE_ID"]])
    app.result("event.offline.clear", process_id="another")
    assert [row["ID"] for row in app.result("event.offline.list")] == [third["ID"]]
    assert error(app.post("event.offline.clear")) == (400, "ERROR_ARGUMENT")


def test_failed_rows_are_put_aside(app: App) -> None:
    """They come only to those who ask for them, and make place for a new change."""
    bind(app, "ONCRMDEALUPDATE")
    app.result("crm.deal.update", id=1, fields={"TITLE": "x"})
    got = app.result("event.offline.get", clear=0)
    app.result("event.offline.error", process_id=got["process_id"], message_id=[got["events"][0]["MESSAGE_ID"]])
    assert app.fetch()[1] == []
    app.result("crm.deal.update", id=1, fields={"TITLE": "y"})
    assert app.fetch()[1] == [("ONCRMDEALUPDATE", "1")]
    assert len(app.result("event.offline.get", error=1)["events"]) == 1
    assert app.result("event.offline.get", error=1)["events"] == []


def test_fifty_come_at_once(app: App, portal: Portal) -> None:
    """By default; `limit` changes it; two processes get different rows; without `clear` = 0 they are gone."""
    bind(app, "ONCRMCONTACTUPDATE")
    with connect(portal.dsn) as connection, connection.cursor() as cursor:
        for card in range(1, 121):
            events.note(cursor, "ONCRMCONTACTUPDATE", card, at=datetime(2026, 11, 1, 12) + timedelta(seconds=card))
        connection.commit()
    _, first = app.fetch()
    _, second = app.fetch(limit=7)
    assert [int(card) for _, card in first + second] == list(range(1, 58))
    gone = app.result("event.offline.get", limit=100)
    assert gone["process_id"] is None
    assert [int(row["EVENT_DATA"]["FIELDS"]["ID"]) for row in gone["events"]] == list(range(58, 121))
    assert gone["events"][0]["EVENT_ADDITIONAL"] is False
    assert app.result("event.offline.get")["events"] == []
    assert app.post("event.offline.list").json()["total"] == 57
    assert error(app.post("event.offline.get", limit=0)) == (400, "ERROR_ARGUMENT")


def test_only_what_was_asked_for_is_kept(app: App, portal: Portal) -> None:
    """Nothing without a binding, nothing after unbinding; a binding is made once; items and activities count too."""
    app.result("crm.contact.update", id=1, fields={"NAME": "x"})
    bind(app, "ONCRMDEALUPDATE", "ONCRMACTIVITYADD", "ONCRMLEADADD")
    assert error(app.post("event.bind", event="ONCRMDEALUPDATE", event_type="offline")) == (400, "ERROR_CORE")
    assert error(app.post("event.bind", event="ONNOTHING", event_type="offline")) == (400, "ERROR_EVENT_NOT_FOUND")
    app.result("event.bind", event="onCrmDealAdd", handler="https://x.example/")
    assert [(row["event"], row["offline"]) for row in app.result("event.get")] == [
        ("ONCRMDEALUPDATE", 1),
        ("ONCRMACTIVITYADD", 1),
        ("ONCRMLEADADD", 1),
        ("ONCRMDEALADD", 0),
    ]
    app.result("crm.item.update", entityTypeId=2, id=1, fields={"title": "new"})
    app.result("crm.item.update", entityTypeId=2, id=1, fields={"title": "new"})
    fields = {"OWNER_TYPE_ID": 2, "OWNER_ID": 1, "TYPE_ID": 2, "SUBJECT": "s"}
    activity = app.result("crm.activity.add", fields=fields)
    assert error(app.post("crm.deal.update", id=999, fields={"TITLE": "x"})) == (400, "")
    assert app.fetch()[1] == [("ONCRMDEALUPDATE", "1"), ("ONCRMACTIVITYADD", str(activity))]
    assert app.result("event.unbind", event="ONCRMDEALUPDATE", event_type="offline") == {"count": 1}
    app.result("crm.deal.update", id=1, fields={"TITLE": "z"})
    assert app.fetch()[1] == []


def test_a_deal_changes_its_funnel(app: App) -> None:
    """It starts at the first stage there; the history says 5, and there is an event of its own."""
    bind(app, "ONCRMDEALMOVETOCATEGORY")
    app.result("crm.deal.update", id=1, fields={"CATEGORY_ID": 1})
    app.result("crm.deal.update", id=1, fields={"CATEGORY_ID": 1})
    assert app.fetch()[1] == [("ONCRMDEALMOVETOCATEGORY", "1")]
    (move,) = app.result("crm.stagehistory.list", entityTypeId=2)["items"]
    assert (move["TYPE_ID"], move["STAGE_ID"], move["CATEGORY_ID"]) == (5, "C1:NEW", 1)


def test_a_connector_does_not_hear_itself(app: App) -> None:
    """A change made with the same `auth_connector` makes no event for it."""
    bind(app, "ONCRMCONTACTUPDATE", auth_connector="mine")
    app.result("crm.contact.update", id=1, fields={"NAME": "x"}, auth_connector="mine")
    app.result("crm.contact.update", id=2, fields={"NAME": "x"})
    assert app.fetch()[1] == []
    assert app.fetch(auth_connector="mine")[1] == [("ONCRMCONTACTUPDATE", "2")]
