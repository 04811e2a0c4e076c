"""The marketing flag of contacts, against the REST sandbox on top of a real MariaDB."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import requests
from tests.running_service import RunningService
from tests.scripted_server import Reply, ScriptedServer

from lettertrail.bitrix.rest import FLAG, BitrixRest
from lettertrail.clock import system_clock
from lettertrail.errors import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    ContractError,
    RateLimited,
    RequestRejected,
    TemporaryApiError,
)
from lettertrail.esps.port import AccountConnection, Outcome, Record
from lettertrail.sandbox.bitrix_methods.batch import asks_for_change
from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_rest import create_app
from lettertrail.sandbox.bitrix_schema import tables
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.sandbox.server import served

SECRET = "wh00ksecret"
CONTACTS = 2_700
FOREVER = 1_000


class Portal(RunningService):
    """A running webhook with its faults and journal, and the tables behind it."""

    secret = SECRET

    def __init__(self, base: str, dsn: str, journal: Path) -> None:
        super().__init__(base, journal)
        self.dsn = dsn

    def adapter(self, secret: str = SECRET) -> BitrixRest:
        """The adapter as production connects it, except that it does not wait."""
        rest = connected(self.base, f"{self.base}/rest/1/{secret}/")
        rest.api._throttle._bucket = None
        return rest

    def flags(self) -> dict[int, int]:
        """What the site's own table holds, for contacts with a value."""
        with connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(f"select VALUE_ID, {FLAG} from b_uts_crm_contact where {FLAG} is not null")
            return dict(cursor.fetchall())

    def set_flags(self, contacts: Sequence[int], value: int) -> None:
        """What a manager would do by hand."""
        with connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                f"insert into b_uts_crm_contact (VALUE_ID, {FLAG}) values (%s, %s) "
                f"on duplicate key update {FLAG} = values({FLAG})",
                [(contact, value) for contact in contacts],
            )
            connection.commit()


def connected(base: str, address: str, **credentials: str) -> BitrixRest:
    connection = AccountConnection("bitrix24", address, **credentials)
    rest = BitrixRest.connect(connection, clock=system_clock, allowed_hosts=[base.removeprefix("http://")])
    rest.api._sleep = lambda seconds: None
    return rest


@pytest.fixture(scope="module")
def site_dsn(mariadb: MariaDb) -> str:
    """An empty site with contacts and without the field."""
    with connect(mariadb.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("create database flag_site character set utf8mb4 collate utf8mb4_unicode_ci")
        cursor.execute("use flag_site")
        for table in tables().values():
            if table.name.startswith(("b_crm_", "b_uts_crm_", "b_user_field")):
                cursor.execute(table.ddl())
        cursor.executemany(
            "insert into b_crm_contact (ID, NAME, DATE_CREATE, DATE_MODIFY) values (%s, 'N', now(), now())",
            [(number,) for number in range(1, CONTACTS + 1)],
        )
        connection.commit()
    return f"{mariadb.dsn.rstrip('/')}/flag_site"


@pytest.fixture
def portal(site_dsn: str, tmp_path: Path) -> Iterator[Portal]:
    """The webhook of a site on which nobody has made the field yet."""
    with connect(site_dsn) as connection, connection.cursor() as cursor:
        cursor.execute(f"alter table b_uts_crm_contact drop column if exists {FLAG}")
        cursor.execute("delete from b_uts_crm_contact")
        cursor.execute("delete from b_user_field")
        connection.commit()
    limits = Limits(burst=10_000)
    app = create_app(site_dsn, secret=SECRET, timezone=ZoneInfo("Europe/Moscow"), limits=limits)
    journal = tmp_path / "requests.jsonl"
    whole = Journaled(
        Faults(app, key=SECRET), Journal(journal), service="bitrix", is_write=asks_for_change, mask=lambda path: path
    )
    with served(whole) as base:
        yield Portal(base, site_dsn, journal)
    app.close()


def records(contacts: Sequence[object]) -> list[Record]:
    """A record per contact id."""
    return [Record(str(contact), f"person{contact}@example.com") for contact in contacts]


def by_key(outcomes: Iterator[Outcome], sent: Sequence[Record]) -> dict[str, str]:
    """Key → status; fails unless every record has exactly one outcome."""
    found = list(outcomes)
    assert sorted(outcome.key for outcome in found) == sorted(record.key for record in sent)
    return {outcome.key: outcome.status for outcome in found}


# The field


def test_makes_the_field_once(portal: Portal) -> None:
    """Boolean, under the agreed name, allowed by default; a second time finds it."""
    assert portal.adapter().ensure_field() is True
    assert portal.adapter().ensure_field() is False
    (added,) = portal.writes()
    fields = added["body"]["fields"]
    assert (fields["USER_TYPE_ID"], fields["SETTINGS"]) == ("boolean", {"DEFAULT_VALUE": 1})
    assert portal.flags() == {}


@pytest.mark.parametrize("kind", ["drop_after_write", "truncate"])
def test_a_lost_answer_does_not_make_the_field_twice(portal: Portal, kind: str) -> None:
    """It looks before it despairs."""
    portal.fault(kind, path="userfield.add")
    assert portal.adapter().ensure_field() is True
    assert len(portal.writes()) == 1


def test_a_field_of_another_type_is_left_alone(portal: Portal) -> None:
    """Somebody else's text field must not be filled with zeros."""
    fields = {"FIELD_NAME": FLAG, "USER_TYPE_ID": "string"}
    url = f"{portal.base}/rest/1/{SECRET}/crm.contact.userfield.add"
    assert requests.post(url, json={"fields": fields}, timeout=5).ok
    with pytest.raises(ContractError, match=FLAG):
        portal.adapter().ensure_field()
    with pytest.raises(ContractError):
        list(portal.adapter().suppress(records([1])))


# Reading


def test_nobody_is_suppressed_before_the_field_exists(portal: Portal) -> None:
    """The portal ignores a filter on an unknown field and lists everyone; none of them counts."""
    assert list(portal.adapter().suppressed()) == []
    assert portal.writes() == []


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 100, 2_650])
def test_reads_all_suppressed_contacts(portal: Portal, count: int) -> None:
    """By key, not by offset: exactly the zeros, ascending, whatever the page border."""
    portal.adapter().ensure_field()
    zeros = list(range(3, 3 + count))
    portal.set_flags(zeros, 0)
    portal.set_flags([1, 2], 1)
    before = len(portal.lines())
    assert list(portal.adapter().suppressed()) == [str(contact) for contact in zeros]
    assert len(portal.lines()) - before <= 1 + (count >= 50) + (count >= 2_550)


# Writing


def test_suppresses_in_batches_of_fifty(portal: Portal) -> None:
    """120 contacts are three writes, and the site's own table says 0."""
    rest = portal.adapter()
    sent = records(range(1, 121))
    assert set(by_key(rest.suppress(sent), sent).values()) == {"applied"}
    assert portal.flags() == dict.fromkeys(range(1, 121), 0)
    batches = [line for line in portal.writes() if line["path"].endswith("/batch")]
    assert [len(line["body"]["cmd"]) for line in batches] == [50, 50, 20]
    assert [(call.path, call.records) for call in rest.calls()] == [
        ("/crm.contact.userfield.add", 1),
        ("/batch", 50),
        ("/batch", 50),
        ("/batch", 20),
    ]


def test_a_replay_writes_nothing(portal: Portal) -> None:
    """The second run reads and finds everything in order."""
    sent = records(range(1, 61))
    list(portal.adapter().suppress(sent))
    written = len(portal.writes())
    rest = portal.adapter()
    assert set(by_key(rest.suppress(sent), sent).values()) == {"already_ok"}
    assert len(portal.writes()) == written
    assert rest.calls() == []


def test_every_record_is_accounted_for(portal: Portal) -> None:
    """Known, gone, no id at all, twice."""
    sent = records([5, 999_999, "abc", "", "007", "-1"])
    assert by_key(portal.adapter().suppress(sent), sent) == {
        "5": "applied",
        "999999": "already_ok",
        "abc": "rejected",
        "": "rejected",
        "007": "rejected",
        "-1": "rejected",
    }
    assert portal.flags() == {5: 0}


def test_nothing_to_do_is_no_call(portal: Portal) -> None:
    """An empty plan does not even make the field."""
    assert list(portal.adapter().suppress([])) == list(portal.adapter().release([])) == []
    assert portal.lines() == []


def test_releases_only_zeros(portal: Portal) -> None:
    """A contact that was never judged, or is allowed already, is left as it is."""
    portal.adapter().ensure_field()
    portal.set_flags([1, 2], 0)
    portal.set_flags([3], 1)
    sent = records([1, 3, 4, 999_999])
    assert by_key(portal.adapter().release(sent), sent) == {
        "1": "applied",
        "3": "already_ok",
        "4": "already_ok",
        "999999": "already_ok",
    }
    assert portal.flags() == {1: 1, 2: 0, 3: 1}


# Trouble


@pytest.mark.parametrize("times", [1, 6])
def test_a_lost_answer_is_read_back(portal: Portal, times: int) -> None:
    """The flags are there, so the records are applied, though every attempt lost its answer."""
    portal.adapter().ensure_field()
    portal.fault("drop_after_write", path="batch", skip=1, times=times)
    sent = records(range(1, 11))
    assert set(by_key(portal.adapter().suppress(sent), sent).values()) == {"applied"}
    assert portal.flags() == dict.fromkeys(range(1, 11), 0)


def test_a_lost_write_stays_pending(portal: Portal) -> None:
    """Neither the first batch nor the rest is claimed."""
    portal.adapter().ensure_field()
    portal.fault("drop_before", path="batch", skip=1, times=FOREVER)
    sent = records(range(1, 71))
    assert set(by_key(portal.adapter().suppress(sent), sent).values()) == {"retry_pending"}
    assert portal.flags() == {}


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "QUERY_LIMIT_EXCEEDED"), (429, "OPERATION_TIME_LIMIT"), (503, "OVERLOAD_LIMIT"), (503, ""), (429, "")],
)
def test_waits_when_the_bucket_is_full(portal: Portal, status: int, code: str) -> None:
    """With a body or without."""
    body = json.dumps({"error": code, "error_description": "Too many requests"}) if code else ""
    portal.fault("refuse", status=status, body=body, times=2)
    sent = records([1])
    assert by_key(portal.adapter().suppress(sent), sent) == {"1": "applied"}
    portal.fault("refuse", status=status, body=body, times=FOREVER)
    with pytest.raises(RateLimited):
        list(portal.adapter().suppressed())


def test_two_clients_share_the_portals_bucket(portal: Portal) -> None:
    """The portal counts per address, so the process does too."""
    assert portal.adapter().api._throttle is portal.adapter().api._throttle


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "expired_token", AuthenticationError),
        (403, "insufficient_scope", AuthenticationError),
        (400, "ACCESS_DENIED", AuthenticationError),
        (400, "", RequestRejected),
        (200, "ERROR_CORE", RequestRejected),
        (500, "INTERNAL_SERVER_ERROR", TemporaryApiError),
        (500, "PORTAL_DELETED", RequestRejected),
        (503, "QUERY_LIMIT_EXCEEDED", RateLimited),
    ],
)
def test_errors_are_told_by_their_code(status: int, code: str, error: type[ApiError]) -> None:
    """An error is an error also behind a 200; the translated text is not looked at."""
    body = {"error": code, "error_description": "Контакт person5@example.com не найден"}
    with ScriptedServer([Reply(body, status=status)]) as server:
        rest = connected(server.url, f"{server.url}/rest/1/{SECRET}")
        with pytest.raises(error) as caught:
            list(rest.suppressed())
    assert type(caught.value) is error
    assert "person5" not in str(caught.value)


def test_a_failed_command_is_one_records_outcome() -> None:
    """HTTP 200 with result_error: the refused one is rejected, the throttled one pending, the rest applied."""
    exists = Reply({"result": [{"FIELD_NAME": FLAG, "USER_TYPE_ID": "boolean"}]})
    rows = [{"ID": str(contact), FLAG: None} for contact in (1, 2, 3, 4)]
    listed = Reply({"result": {"result": {"p0": rows}, "result_error": []}})
    errors = {
        "c2": {"error": "", "error_description": "Доступ запрещён"},
        "c3": {"error": "OPERATION_TIME_LIMIT", "error_description": ""},
    }
    written = Reply({"result": {"result": {"c1": True}, "result_error": errors}})
    read_back = Reply({"result": {"result": {"p0": [{"ID": "4", FLAG: "0"}]}, "result_error": []}})
    with ScriptedServer([exists, listed, written, read_back]) as server:
        sent = records([1, 2, 3, 4])
        found = by_key(connected(server.url, f"{server.url}/rest/1/{SECRET}").suppress(sent), sent)
    assert found == {"1": "applied", "2": "rejected", "3": "retry_pending", "4": "applied"}


def test_a_batch_that_cannot_be_read_stops(portal: Portal) -> None:
    """Flags that are not known are not guessed."""
    failed = Reply({"result": {"result": [], "result_error": {"p0": {"error": "QUERY_LIMIT_EXCEEDED"}}}})
    with ScriptedServer([failed]) as server, pytest.raises(RateLimited):
        list(connected(server.url, f"{server.url}/rest/1/{SECRET}").suppressed())
    empty = Reply({"result": {"result": [], "result_error": []}})
    with ScriptedServer([empty]) as server, pytest.raises(RequestRejected):
        list(connected(server.url, f"{server.url}/rest/1/{SECRET}").suppressed())


# Connecting


def test_check_passes_step_by_step(portal: Portal) -> None:
    """Before the field exists and after, without writing."""
    assert [(step.name, step.ok) for step in portal.adapter().check()] == [("contacts", True), ("field", True)]
    assert portal.writes() == []


def test_check_stops_at_a_refused_webhook(portal: Portal) -> None:
    """The message says what to renew, not what the secret was."""
    (step,) = portal.adapter(secret="0ldsecret").check()
    assert (step.name, step.ok) == ("contacts", False)
    assert "renew" in step.message
    assert "0ldsecret" not in step.message


@pytest.mark.parametrize(
    ("address", "credentials"),
    [
        ("{base}/rest/1/{secret}/", {}),
        ("{base}", {"login": "1", "password": "{secret}"}),
        ("{base}/rest/", {"login": "1", "password": "{secret}"}),
    ],
)
def test_takes_the_webhook_whole_or_in_parts(portal: Portal, address: str, credentials: dict[str, str]) -> None:
    """The secret may stay in the password field, where Airflow hides it."""
    filled = {name: text.format(secret=SECRET) for name, text in credentials.items()}
    rest = connected(portal.base, address.format(base=portal.base, secret=SECRET), **filled)
    assert all(step.ok for step in rest.check())


@pytest.mark.parametrize("address", [None, "", "https://portal.bitrix24.ru"])
def test_an_incomplete_webhook_is_a_configuration_error(address: str | None) -> None:
    """It names the connection."""
    with pytest.raises(ConfigurationError, match="bitrix24"):
        BitrixRest.connect(AccountConnection("bitrix24", address, login="1"), clock=system_clock, allowed_hosts=[])


def test_only_known_portals_are_called() -> None:
    """The cloud is known; a portal of one's own is allowed by the operator."""
    cloud = AccountConnection("bitrix24", "shop.bitrix24.ru", login="1", password=SECRET)
    BitrixRest.connect(cloud, clock=system_clock, allowed_hosts=[])
    own = AccountConnection("bitrix24", "https://crm.shop.example", login="1", password=SECRET)
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_ALLOWED_HOSTS") as caught:
        BitrixRest.connect(own, clock=system_clock, allowed_hosts=[])
    assert SECRET not in str(caught.value)


def test_tells_neither_secret_nor_address(portal: Portal, caplog: pytest.LogCaptureFixture) -> None:
    """At the chattiest level of every library, in calls, outcomes and errors."""
    caplog.set_level(logging.DEBUG)
    rest = portal.adapter()
    told = repr(rest.api) + repr(list(rest.suppress(records([1, 2])))) + repr(list(rest.check()))
    portal.fault("drop_before", times=FOREVER)
    with pytest.raises(ApiError) as caught:
        list(rest.suppressed())
    told += repr(caught.value) + repr(rest.calls())
    # The sandbox runs in this process and logs its own requests.
    told += "\n".join(line.getMessage() for line in caplog.records if not line.name.startswith("uvicorn"))
    assert "bitrix POST /batch" in told
    assert SECRET not in told
    assert "example.com" not in told
