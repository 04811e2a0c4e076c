"""The Bitrix REST sandbox: custom fields, items, batches, limits and the smaller methods."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import requests
from tests.sandbox.services import CONTACTS, FLAG, MOSCOW, Portal, add_flag, error
from tests.sandbox.small import SECRET

from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_rest import create_app
from lettertrail.sandbox.server import served

# --- custom fields


def test_a_user_field_becomes_a_column(portal: Portal) -> None:
    """Added with the prefix, listed, changed, not added twice."""
    number = add_flag(portal)
    assert portal.rows(
        "select DATA_TYPE from information_schema.columns where table_schema = 'rest_site' "
        f"and table_name = 'b_uts_crm_contact' and column_name = '{FLAG}'"
    ) == [("int",)]
    listed = portal.call("crm.contact.userfield.list", filter={"FIELD_NAME": FLAG})
    assert (listed["total"], listed["result"][0]["ID"]) == (1, str(number))
    assert listed["result"][0]["USER_TYPE_ID"] == "boolean"
    assert error(
        portal.post("crm.contact.userfield.add", {"fields": {"FIELD_NAME": FLAG, "USER_TYPE_ID": "boolean"}})
    ) == (400, "")
    assert portal.result("crm.contact.userfield.update", id=number, fields={"MANDATORY": "Y"}) is True
    assert portal.result("crm.contact.userfield.get", id=number)["MANDATORY"] == "Y"
    assert portal.result("crm.contact.userfield.delete", id=number) is True
    assert FLAG not in portal.result("crm.contact.get", id=1)


@pytest.mark.parametrize(
    "fields",
    [
        {"FIELD_NAME": "A"},
        {"USER_TYPE_ID": "boolean"},
        {"FIELD_NAME": "X" * 44, "USER_TYPE_ID": "boolean"},
        {"FIELD_NAME": "A; drop", "USER_TYPE_ID": "boolean"},
        {"FIELD_NAME": "A", "USER_TYPE_ID": "nonsense"},
    ],
)
def test_bad_user_fields_are_refused(portal: Portal, fields: dict[str, str]) -> None:
    """No type, no name, too long a name, odd signs, an unknown type."""
    assert error(portal.post("crm.contact.userfield.add", {"fields": fields})) == (400, "")


def test_flags_are_filtered(portal: Portal) -> None:
    """A boolean custom field takes 1 and 0."""
    add_flag(portal)
    portal.batch({str(n): f"crm.contact.update?id={n}&fields[{FLAG}]={n % 2}" for n in (1, 2, 3)})
    rows = portal.result("crm.contact.list", filter={FLAG: 1}, select=["ID", FLAG])
    assert rows == [{"ID": "1", FLAG: "1"}, {"ID": "3", FLAG: "1"}]


# --- crm.item


def test_items_are_typed_and_camel_cased(portal: Portal) -> None:
    """Numbers are numbers; `fm` and `contactIds` come along."""
    add_flag(portal)
    contact = portal.result("crm.item.get", entityTypeId=3, id=1)["item"]
    assert (contact["id"], contact["name"], contact["utmSource"]) == (1, "Name1", "newsletter")
    assert contact["updatedTime"] == "2026-02-01T10:00:00+03:00"
    assert contact["fm"][0]["value"] == "Person1@example.com"
    assert "ufCrmEmailMarketing" in contact
    assert "ufCrm_1690000000001" in contact
    deal = portal.result("crm.item.list", entityTypeId=2)["items"][0]
    assert (deal["opportunity"], deal["stageId"], deal["contactIds"]) == (1234.5, "NEW", [5, 6])
    original = portal.result("crm.item.list", entityTypeId=3, select=["id", FLAG], useOriginalUfNames="Y", start=-1)
    assert original["items"][0] == {"id": 1, FLAG: None}


def test_items_are_filtered_with_or(portal: Portal) -> None:
    """Nested logic; an unknown field is an error here."""
    given = {"0": {"logic": "OR", "0": {"id": 1}, "1": {">=id": 119, "!id": 120}}}
    items = portal.call("crm.item.list", entityTypeId=3, filter=given, select=["id"], order={"id": "ASC"})
    assert items["result"]["items"] == [{"id": 1}, {"id": 119}]
    assert items["total"] == 2
    assert error(portal.post("crm.item.list", {"entityTypeId": 3, "filter": {"nope": 1}})) == (400, "INVALID_ARG_VALUE")
    assert error(portal.post("crm.item.list", {"entityTypeId": 77})) == (400, "NOT_FOUND")
    assert error(portal.post("crm.item.get", {"entityTypeId": 3, "id": 999})) == (400, "NOT_FOUND")


def test_an_item_update_that_changes_nothing_saves_nothing(portal: Portal) -> None:
    """`updatedTime` moves only with a change."""
    add_flag(portal)
    flagged = {"entityTypeId": 3, "id": 1, "fields": {"ufCrmEmailMarketing": 1, "name": "Name1"}}
    first = portal.result("crm.item.update", **flagged)["item"]
    assert (first["ufCrmEmailMarketing"], first["updatedTime"]) == (1, "2026-11-01T12:00:00+03:00")
    portal.clock.now += timedelta(hours=1)
    assert portal.result("crm.item.update", **flagged)["item"]["updatedTime"] == first["updatedTime"]


# --- batch


def test_a_batch_answers_200_with_errors_inside(portal: Portal) -> None:
    """Results and errors by key; totals; nested batches are refused; later commands use earlier results."""
    cmd = {
        "list": "crm.contact.list?select[]=ID&order[ID]=DESC",
        "get": "crm.contact.get?id=$result[list][0][ID]",
        "missing": "crm.contact.get?id=999",
        "nested": "batch?cmd[a]=profile",
        "unknown": "crm.nothing",
    }
    body = portal.batch(cmd)
    assert body["result"]["get"]["ID"] == "120"
    assert (body["result_total"], body["result_next"]) == ({"list": CONTACTS}, {"list": 50})
    assert set(body["result"]) == set(body["result_time"]) == {"list", "get"}
    codes = {key: value["error"] for key, value in body["result_error"].items()}
    assert codes == {"missing": "", "nested": "ERROR_BATCH_METHOD_NOT_ALLOWED", "unknown": "ERROR_METHOD_NOT_FOUND"}


def test_a_batch_in_a_form_is_encoded_twice(portal: Portal) -> None:
    """The way PHP clients send it."""
    form = {"halt": "0", "cmd[a]": f"crm.contact.update?id=3&{quote('fields[NAME]')}={quote('Ёж & co')}"}
    body = requests.post(f"{portal.base}/batch.json", data=form, timeout=10).json()["result"]
    assert (body["result"], body["result_error"]) == ({"a": True}, [])
    assert portal.rows("select NAME from b_crm_contact where ID = 3") == [("Ёж & co",)]


def test_a_batch_can_stop_at_the_first_error(portal: Portal) -> None:
    """`halt` leaves the rest undone."""
    cmd = ["crm.contact.get?id=999", "crm.contact.update?id=1&fields[NAME]=late"]
    halted = portal.batch(cmd, halt=1)
    assert (halted["result"], next(iter(halted["result_error"]))["error"]) == ([], "")
    assert portal.rows("select NAME from b_crm_contact where ID = 1") == [("Name1",)]


def test_a_batch_takes_fifty(portal: Portal) -> None:
    """Commands past the fiftieth fail one by one; a list of results stays a list."""
    body = portal.batch([f"crm.contact.update?id={n}&fields[NAME]=b" for n in range(1, 53)])
    assert body["result"] == [True] * 50
    assert {value["error"] for value in body["result_error"].values()} == {"ERROR_BATCH_LENGTH_EXCEEDED"}
    assert portal.rows("select count(*) from b_crm_contact where NAME = 'b'") == [(50,)]


# --- limits


def test_the_bucket_overflows_and_drains(portal: Portal) -> None:
    """50 at once pass, the 51st is refused, a second later two more pass; a batch is one hit."""
    first = [portal.post("batch", {"cmd": ["scope", "scope"]}).status_code for _ in range(50)]
    assert first == [200] * 50
    refused = portal.post("profile")
    assert error(refused) == (503, "QUERY_LIMIT_EXCEEDED")
    portal.clock.ticks += 1.0
    assert [portal.post("profile").status_code for _ in range(3)] == [200, 200, 503]


def test_run_time_is_limited_per_method(rest_site_dsn: str) -> None:
    """A method that used up its time is refused; others go on; in a batch it is an inner error."""
    ticks = SimpleNamespace(now=0.0)
    limits = Limits(burst=1000, operating_seconds=1e-9)
    app = create_app(rest_site_dsn, secret=SECRET, timezone=MOSCOW, monotonic=lambda: ticks.now, limits=limits)
    with served(app) as base:
        url = f"{base}/rest/1/{SECRET}"
        assert requests.post(f"{url}/profile", timeout=10).json()["time"]["operating"] > 0
        assert error(requests.post(f"{url}/profile", timeout=10)) == (429, "OPERATION_TIME_LIMIT")
        assert requests.post(f"{url}/scope", timeout=10).status_code == 200
        inner = requests.post(f"{url}/batch", json={"cmd": {"a": "profile"}}, timeout=10).json()["result"]
        assert inner["result_error"]["a"]["error"] == "OPERATION_TIME_LIMIT"
        ticks.now += 601
        assert requests.post(f"{url}/profile", timeout=10).status_code == 200
    app.close()


# --- the smaller methods


def test_a_todo_needs_an_owner_and_a_deadline(portal: Portal) -> None:
    """Written as an activity; a repeat makes a second one."""
    todo = {"ownerTypeId": 2, "ownerId": 1, "deadline": "2026-11-05T12:00:00+03:00", "title": "Call"}
    first, second = (portal.result("crm.activity.todo.add", **todo)["id"] for _ in range(2))
    assert first != second
    assert portal.rows("select SUBJECT, OWNER_ID, DEADLINE from b_crm_act limit 1") == [
        ("Call", 1, datetime(2026, 11, 5, 12))
    ]
    assert error(portal.post("crm.activity.todo.add", todo | {"ownerId": 99})) == (400, "OWNER_NOT_FOUND")
    assert error(portal.post("crm.activity.todo.add", todo | {"deadline": "soon"})) == (400, "WRONG_DATETIME_FORMAT")


def test_dictionaries_and_the_caller(portal: Portal) -> None:
    """Stages, currencies, scopes, methods and the user."""
    stages = portal.result("crm.status.list", filter={"ENTITY_ID": "DEAL_STAGE"}, order={"SORT": "ASC"})
    assert {stage["STATUS_ID"]: stage["SEMANTICS"] for stage in stages} == {"NEW": None, "WON": "S", "LOSE": "F"}
    assert portal.result("crm.currency.list")[0]["CURRENCY"] == "RUB"
    assert "crm" in portal.result("scope")
    assert {"batch", "crm.contact.update", "methods"} <= set(portal.result("methods"))
    assert portal.result("user.current")["ID"] == "1"
    assert portal.result("profile")["TIME_ZONE_OFFSET"] == 10800
