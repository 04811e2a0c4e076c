"""The Bitrix REST sandbox: its entrance, and cards read and written in the site's own tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
import requests
from tests.sandbox.services import CONTACTS, FLAG, MOSCOW, Portal, add_flag, error
from tests.sandbox.small import SECRET

from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.bitrix_rest import create_app
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import connect
from lettertrail.sandbox.server import served

# --- entrance


def test_a_wrong_secret_and_an_unknown_method_are_refused(portal: Portal) -> None:
    """401 and 404 with their codes."""
    wrong = requests.post(portal.base.replace(SECRET, "guess") + "/crm.contact.list", timeout=10)
    assert error(wrong) == (401, "NO_AUTH_FOUND")
    assert error(portal.post("crm.nothing.list")) == (404, "ERROR_METHOD_NOT_FOUND")
    assert error(requests.post(f"{portal.base}/crm.contact.list", data="{", timeout=10, headers={"Content-Type": "application/json"})) == (400, "INVALID_REQUEST")  # fmt: skip  # noqa: E501


def test_query_form_and_json_mean_the_same(portal: Portal) -> None:
    """Three ways to pass parameters, with and without `.json`."""
    filtered = "filter[ID]=3&select[]=ID&select[]=NAME"
    expected = [{"ID": "3", "NAME": "Name3"}]
    assert requests.get(f"{portal.base}/crm.contact.list.json?{filtered}", timeout=10).json()["result"] == expected
    form = {"filter[ID]": "3", "select[]": ["ID", "NAME"]}
    assert requests.post(f"{portal.base}/crm.contact.list", data=form, timeout=10).json()["result"] == expected
    assert portal.result("crm.contact.list", filter={"ID": 3}, select=["ID", "NAME"]) == expected


def test_every_success_carries_its_times(portal: Portal) -> None:
    """The `time` block with the portal's offset."""
    times = portal.call("crm.contact.get", id=1)["time"]
    assert set(times) == {
        "start", "finish", "duration", "processing", "date_start", "date_finish", "operating", "operating_reset_at",
    }  # fmt: skip
    assert times["date_start"] == "2026-11-01T12:00:00+03:00"


def test_an_unreachable_site_is_a_configuration_error() -> None:
    """Bad DSNs fail at the start and say so without the password."""
    with pytest.raises(ConfigurationError):
        create_app("postgresql://x", secret=SECRET, timezone=MOSCOW)
    with pytest.raises(ConfigurationError) as caught:
        create_app("mysql://u:hushhush@127.0.0.1:1/x", secret=SECRET, timezone=MOSCOW)
    assert "hushhush" not in str(caught.value)


def test_the_generated_site_answers(bitrix_site_small: Site) -> None:
    """Every contact of the simulated site comes through, with the addresses and times of its tables."""
    app = create_app(bitrix_site_small.owner_dsn, secret=SECRET, timezone=MOSCOW)
    with served(app) as base, connect(bitrix_site_small.reader_dsn) as connection, connection.cursor() as cursor:
        asked = {"select": ["ID", "EMAIL", "DATE_MODIFY"], "order": {"ID": "DESC"}}
        body = requests.post(f"{base}/rest/1/{SECRET}/crm.contact.list", json=asked, timeout=10).json()
        cursor.execute("select count(*), max(ID) from b_crm_contact")
        assert (body["total"], int(body["result"][0]["ID"])) == cursor.fetchone()
        cursor.execute("select VALUE from b_crm_field_multi where ENTITY_ID = 'CONTACT' and TYPE_ID = 'EMAIL'")
        addresses = {row[0] for row in cursor.fetchall()}
        shown = {entry["VALUE"] for contact in body["result"] for entry in contact.get("EMAIL", [])}
        assert shown
        assert shown <= addresses
        assert all(contact["DATE_MODIFY"].endswith("+03:00") for contact in body["result"])
    app.close()


# --- the old methods


def test_lists_come_in_fifties(portal: Portal) -> None:
    """`total` and `next` until the last page."""
    first = portal.call("crm.contact.list", select=["ID"], order={"ID": "ASC"})
    assert (len(first["result"]), first["total"], first["next"]) == (50, CONTACTS, 50)
    last = portal.call("crm.contact.list", select=["ID"], order={"ID": "ASC"}, start=100)
    assert (len(last["result"]), last["total"], "next" in last) == (20, CONTACTS, False)
    assert last["result"][-1] == {"ID": "120"}


def test_the_fast_mode_does_not_count(portal: Portal) -> None:
    """`start` = −1 with a filter on the last id goes through all."""
    seen: list[int] = []
    while True:
        page = portal.call(
            "crm.contact.list", start=-1, order={"ID": "ASC"}, filter={">ID": seen[-1] if seen else 0}, select=["ID"]
        )
        assert not {"total", "next"} & set(page)
        seen += [int(row["ID"]) for row in page["result"]]
        if len(page["result"]) < 50:
            break
    assert seen == list(range(1, CONTACTS + 1))


def test_values_are_texts_and_multi_fields_come_when_named(portal: Portal) -> None:
    """Times with offset, empty dates as empty texts, e-mails only on request, UTM as ordinary fields."""
    one = portal.result("crm.contact.list", filter={"ID": 1})[0]
    assert one["ID"] == "1"
    assert one["DATE_CREATE"] == "2026-01-01T11:00:00+03:00"
    assert one["UTM_SOURCE"] == "newsletter"
    assert one["BIRTHDATE"].startswith("1990-05-17")
    assert not {"EMAIL", "SEARCH_CONTENT"} & set(one)
    assert "UF_CRM_SHOE_SIZE" in one
    named = portal.result("crm.contact.list", filter={"ID": 2}, select=["*", "EMAIL"])[0]
    assert [(e["VALUE"], e["VALUE_TYPE"], e["TYPE_ID"]) for e in named["EMAIL"]] == [
        ("Person2@example.com", "WORK", "EMAIL")
    ]
    assert named["BIRTHDATE"] == ""
    assert "UF_CRM_SHOE_SIZE" not in named


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({"ID": [3, 5]}, [3, 5]),
        ({"@ID": [3, 5]}, [3, 5]),
        ({">=ID": 119}, [119, 120]),
        ({">ID": 3, "<=ID": 5}, [4, 5]),
        ({"<ID": 3, "!ID": 1}, [2]),
        ({"!@ID": list(range(1, 119))}, [119, 120]),
        ({"!=ID": 120, ">ID": 118}, [119]),
        ({"NAME": "Name9"}, [9]),
        ({"%NAME": "ame11"}, [11, *range(110, 120)]),
        ({"%LAST_NAME": "0% s"}, [7]),
        ({"%NAME": "ame_2"}, []),
        ({"=%NAME": "%e12"}, [12]),
        ({"%=NAME": "Name1_"}, list(range(10, 20))),
        ({"EMAIL": "person4@example.com"}, [4]),
        ({"!BIRTHDATE": ""}, [1]),
        ({"UTM_SOURCE": "newsletter"}, [1]),
        ({">DATE_CREATE": "2026-01-06T06:00:00+00:00"}, [120]),
        ({"NO_SUCH_FIELD": "x", "ID": 1}, [1]),
    ],
)
def test_filters_understand_the_prefixes(portal: Portal, given: dict[str, Any], ids: list[int]) -> None:
    """Each prefix leaves exactly the cards it should; unknown fields are ignored."""
    rows = portal.result("crm.contact.list", filter=given, select=["ID"], order={"ID": "ASC"})
    assert [int(row["ID"]) for row in rows] == ids


def test_order_is_obeyed(portal: Portal) -> None:
    """Descending by a field, unknown fields ignored."""
    rows = portal.result("crm.contact.list", select=["ID"], order={"DATE_CREATE": "DESC", "NOPE": "ASC"})
    assert rows[0]["ID"] == "120"


def test_update_writes_the_site_and_moves_date_modify(portal: Portal) -> None:
    """Own, custom, UTM and multi-fields reach their tables; unknown and read-only ones are ignored."""
    add_flag(portal)
    fields = {
        "NAME": "Renamed",
        FLAG: "0",
        "UTM_SOURCE": "",
        "UTM_MEDIUM": "mail",
        "ID": 999,
        "DATE_CREATE": "2000-01-01",
        "NOPE": 1,
        "EMAIL": [{"VALUE": "second@example.com", "VALUE_TYPE": "HOME"}],
    }
    assert portal.result("crm.contact.update", id=1, fields=fields) is True
    card = portal.rows(
        "select NAME, FULL_NAME, DATE_MODIFY, MODIFY_BY_ID, DATE_CREATE from b_crm_contact where ID = 1"
    )[0]
    assert card == ("Renamed", "Renamed Last1", datetime(2026, 11, 1, 12), 1, datetime(2026, 1, 1, 11))
    assert portal.rows(f"select {FLAG} from b_uts_crm_contact where VALUE_ID = 1") == [(0,)]
    assert portal.rows("select CODE, VALUE from b_crm_utm") == [("UTM_MEDIUM", "mail")]
    emails = portal.rows("select VALUE, COMPLEX_ID from b_crm_field_multi where ELEMENT_ID = 1 order by ID")
    assert emails == [("Person1@example.com", "EMAIL_WORK"), ("second@example.com", "EMAIL_HOME")]
    assert portal.result("crm.contact.get", id=1)[FLAG] == "0"
    assert portal.rows("select DATE_MODIFY from b_crm_contact where ID = 2") == [(datetime(2026, 2, 1, 10),)]


def test_multi_fields_change_and_go(portal: Portal) -> None:
    """With an `ID` an entry changes, with `DELETE` it goes; the flag and the match codes follow."""
    entry = portal.result("crm.contact.get", id=2)["EMAIL"][0]["ID"]
    portal.result("crm.contact.update", id=2, fields={"EMAIL": [{"ID": entry, "VALUE": "New@example.com"}]})
    assert portal.result("crm.duplicate.findbycomm", type="EMAIL", values=["NEW@example.com"]) == {"CONTACT": [2]}
    portal.result("crm.contact.update", id=2, fields={"EMAIL": [{"ID": entry, "DELETE": "Y"}]})
    assert "EMAIL" not in portal.result("crm.contact.get", id=2)
    assert portal.rows("select HAS_EMAIL from b_crm_contact where ID = 2") == [("N",)]
    assert portal.result("crm.duplicate.findbycomm", type="EMAIL", values=["new@example.com"]) == []


def test_missing_cards_and_ids_answer_400_with_an_empty_code(portal: Portal) -> None:
    """The old methods say no more than a text."""
    assert error(portal.post("crm.contact.get", {"id": 999})) == (400, "")
    assert error(portal.post("crm.contact.update", {"id": 999, "fields": {"NAME": "x"}})) == (400, "")
    assert error(portal.post("crm.contact.get", {})) == (400, "")


def test_cards_are_added(portal: Portal) -> None:
    """A contact, a lead and a company with a key of our own."""
    fields = {
        "NAME": "Eva",
        "LAST_NAME": "N",
        "ORIGINATOR_ID": "lt",
        "ORIGIN_ID": "7",
        "EMAIL": [{"VALUE": "Eva@x.example"}],
    }
    number = portal.result("crm.contact.add", fields=fields)
    found = portal.result("crm.contact.list", filter={"ORIGIN_ID": "7"}, select=["ID", "NAME", "HAS_EMAIL", "EMAIL"])[0]
    assert (found["ID"], found["NAME"], found["HAS_EMAIL"]) == (str(number), "Eva", "Y")
    lead = portal.result("crm.lead.get", id=portal.result("crm.lead.add", fields={"TITLE": "T"}))
    assert (lead["STATUS_ID"], lead["STATUS_SEMANTIC_ID"]) == ("NEW", "P")
    company = portal.result("crm.company.add", fields={"TITLE": "Ltd"})
    assert portal.result("crm.company.get", id=company)["TITLE"] == "Ltd"


def test_winning_a_deal_closes_it_and_leaves_a_trace(portal: Portal) -> None:
    """Stage semantics, closing and the stage history follow the stage."""
    portal.result("crm.deal.update", id=1, fields={"STAGE_ID": "WON"})
    deal = portal.result("crm.deal.get", id=1)
    assert (deal["STAGE_SEMANTIC_ID"], deal["CLOSED"], deal["OPPORTUNITY"]) == ("S", "Y", "1234.50")
    history = portal.call("crm.stagehistory.list", entityTypeId=2, filter={"OWNER_ID": 1})
    assert [(h["TYPE_ID"], h["STAGE_ID"]) for h in history["result"]["items"]] == [(3, "WON")]
    assert history["total"] == 1
