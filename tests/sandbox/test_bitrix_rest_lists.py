"""The Bitrix REST sandbox: every list method over the generated site shows what its table holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from tests.sandbox.services import MOSCOW, Portal, error
from tests.sandbox.small import SECRET

from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_rest import BitrixRest, create_app
from lettertrail.sandbox.bitrix_site import Site
from lettertrail.sandbox.mariadb import connect
from lettertrail.sandbox.server import served


class Served:
    """The generated site behind the webhook, and its tables."""

    def __init__(self, base: str, dsn: str, app: BitrixRest) -> None:
        self.base = f"{base}/rest/1/{SECRET}"
        self.dsn = dsn
        self.app = app

    def call(self, method: str, **params: Any) -> Any:
        answer = requests.post(f"{self.base}/{method}", json=params, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def everything(self, method: str, *, key: str, result: str | None, **params: Any) -> list[dict[str, Any]]:
        """All rows by the fast mode: sorted by the key, filtered by the last one seen."""
        rows: list[dict[str, Any]] = []
        while True:
            limit = {f">{key}": rows[-1][key] if rows else 0} | params.get("filter", {})
            asked = params | {"start": -1, "order": {key: "ASC"}, "filter": limit}
            page = self.call(method, **asked)["result"]
            page = page[result] if result else page
            rows += page
            if len(page) < 50:
                return rows

    def rows(self, query: str) -> list[Any]:
        with connect(self.dsn) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())


@pytest.fixture(scope="module")
def site(bitrix_site_small: Site) -> Iterator[Served]:
    """The generated site, read only."""
    limits = Limits(burst=1e9)
    app = create_app(bitrix_site_small.owner_dsn, secret=SECRET, timezone=MOSCOW, limits=limits)
    with served(app) as base:
        yield Served(base, bitrix_site_small.reader_dsn, app)
    assert app.gate.violations == {}
    app.close()


LISTS = [
    ("crm.contact.list", None, "ID", "b_crm_contact", {}),
    ("crm.lead.list", None, "ID", "b_crm_lead", {}),
    ("crm.deal.list", None, "ID", "b_crm_deal", {}),
    ("crm.company.list", None, "ID", "b_crm_company", {}),
    ("crm.item.list", "items", "id", "b_crm_lead", {"entityTypeId": 1}),
    ("crm.item.list", "items", "id", "b_crm_deal", {"entityTypeId": 2}),
    ("crm.item.list", "items", "id", "b_crm_contact", {"entityTypeId": 3}),
    ("crm.item.list", "items", "id", "b_crm_company", {"entityTypeId": 4}),
    ("crm.stagehistory.list", "items", "ID", "b_crm_deal_stage_history", {"entityTypeId": 2}),
    ("crm.stagehistory.list", "items", "ID", "b_crm_lead_status_history", {"entityTypeId": 1}),
    ("crm.activity.list", None, "ID", "b_crm_act", {}),
    ("sale.order.list", "orders", "id", "b_sale_order", {}),
    ("sale.basketitem.list", "basketItems", "id", "b_sale_basket where ORDER_ID is not null", {}),
    ("sale.payment.list", "payments", "id", "b_sale_order_payment", {}),
    ("sale.propertyvalue.list", "propertyValues", "id", "b_sale_order_props_value", {}),
]


@pytest.mark.parametrize(("method", "result", "key", "table", "params"), LISTS)
def test_lists_are_complete(
    site: Served, method: str, result: str | None, key: str, table: str, params: dict[str, Any]
) -> None:
    """The fast mode brings every id of the table once, and the counting mode counts the same."""
    ids = [int(row[0]) for row in site.rows(f"select ID from {table} order by ID")]
    assert [int(row[key]) for row in site.everything(method, key=key, result=result, **params)] == ids
    first = site.call(method, **params)
    assert first["total"] == len(ids)
    assert first.get("next") == (50 if len(ids) > 50 else None)


def test_items_carry_links_tags_and_addresses(site: Served) -> None:
    """`contactIds`, `companyIds`, UTM and `fm` agree with the link tables, `b_crm_utm` and `b_crm_field_multi`."""
    leads = {row["id"]: row for row in site.everything("crm.item.list", key="id", result="items", entityTypeId=1)}
    for lead, contact in site.rows("select LEAD_ID, CONTACT_ID from b_crm_lead_contact"):
        assert contact in leads[lead]["contactIds"]
    for lead, value in site.rows(
        "select ENTITY_ID, VALUE from b_crm_utm where ENTITY_TYPE_ID = 1 and CODE = 'UTM_CAMPAIGN'"
    ):
        assert leads[lead]["utmCampaign"] == value
    shown = {(lead, e["id"], e["value"]) for lead, row in leads.items() for e in row["fm"]}
    assert shown == set(site.rows("select ELEMENT_ID, ID, VALUE from b_crm_field_multi where ENTITY_ID = 'LEAD'"))
    contacts = {row["id"]: row for row in site.everything("crm.item.list", key="id", result="items", entityTypeId=3)}
    for contact, company in site.rows("select CONTACT_ID, COMPANY_ID from b_crm_contact_company"):
        assert company in contacts[contact]["companyIds"]


def test_old_lists_show_addresses_by_name_only(site: Served) -> None:
    """`EMAIL` and `PHONE` come with their own ids."""
    named = site.everything("crm.contact.list", key="ID", result=None, select=["ID", "EMAIL", "PHONE"])
    shown = {
        (int(row["ID"]), int(entry["ID"]), entry["VALUE"])
        for row in named
        for kind in ("EMAIL", "PHONE")
        for entry in row.get(kind, [])
    }
    held = set(site.rows("select ELEMENT_ID, ID, VALUE from b_crm_field_multi where ENTITY_ID = 'CONTACT'"))
    assert shown == held
    assert not any("EMAIL" in row for row in site.call("crm.contact.list")["result"])


def test_only_everything_brings_the_addresses_of_items(site: Served) -> None:
    """`fm` and `entityTypeId` come when nothing or `*` alone is selected."""
    for select, comes in (([], True), (["*"], True), (["*", "UF_*"], False), (["id", "fm"], False)):
        item = site.call("crm.item.list", entityTypeId=3, select=select, start=-1)["result"]["items"][0]
        assert ("fm" in item, "entityTypeId" in item) == (comes, comes), select


def test_orders_are_typed(site: Served) -> None:
    """Numbers are numbers, times have the site's offset, what is missing is null."""
    order = site.call("sale.order.list", filter={"payed": "N"}, order={"id": "asc"})["result"]["orders"][0]
    number, price, placed = site.rows(
        "select ID, PRICE, DATE_INSERT from b_sale_order where PAYED = 'N' order by ID limit 1"
    )[0]
    assert (order["id"], order["price"], order["datePayed"]) == (number, float(price), None)
    assert order["dateInsert"] == f"{placed:%Y-%m-%dT%H:%M:%S}+03:00"
    assert set(site.call("sale.order.list", select=["id", "price"])["result"]["orders"][0]) == {"id", "price"}
    assert {row["id"] for row in site.call("sale.status.list")["result"]["statuses"]} >= {"N", "F"}
    assert site.call("sale.persontype.list")["result"]["personTypes"][0]["id"] == 1
    assert "EMAIL" in {row["code"] for row in site.call("sale.property.list")["result"]["properties"]}


def test_users_come_without_secrets(site: Served) -> None:
    """Ordinary accounts, 50 a page, booleans and empty objects as the portal writes them."""
    page = site.call("user.get", sort="ID", order="ASC", start=0)
    ids = [int(row[0]) for row in site.rows("select ID from b_user where EXTERNAL_AUTH_ID is null order by ID")]
    assert page["total"] >= len(ids) > 0
    assert [int(user["ID"]) for user in page["result"]] == ids[:50]
    assert page["result"][0]["ACTIVE"] is True
    assert page["result"][0]["TIMESTAMP_X"] == {}
    assert not {"PASSWORD", "LOGIN", "CHECKWORD", "CONFIRM_CODE"} & {key for user in page["result"] for key in user}
    assert [user["ID"] for user in site.call("user.get", filter={">ID": ids[-1] - 1}, start=-1)["result"]] == [
        str(ids[-1])
    ]
    assert site.call("user.get", ID=ids[0])["result"][0]["ID"] == str(ids[0])


def test_funnels_and_agreements(site: Served) -> None:
    """The default funnel is in no table; agreements have a list, consents have none."""
    categories = site.call("crm.category.list", entityTypeId=2)["result"]["categories"]
    assert {row["id"] for row in categories} == {0} | {
        row[0] for row in site.rows("select ID from b_crm_deal_category")
    }
    assert len(site.call("crm.dealcategory.list")["result"]) == len(categories) - 1
    assert site.call("userconsent.agreement.list")["result"][0]["ID"] == "1"


# --- over the almost empty site


def test_several_values_come_as_a_list(portal: Portal) -> None:
    """A multiple custom field is unpacked, an empty one is PHP's empty array; its rows in `b_utm_*` follow."""
    fields = {"FIELD_NAME": "WISHES", "USER_TYPE_ID": "enumeration", "MULTIPLE": "Y", "LIST": [{"VALUE": "a"}, {"VALUE": "b"}]}  # fmt: skip  # noqa: E501
    number = portal.result("crm.contact.userfield.add", fields=fields)
    try:
        choices = [int(c["ID"]) for c in portal.result("crm.contact.userfield.list")[0]["LIST"]]
        portal.result("crm.contact.update", id=1, fields={"UF_CRM_WISHES": choices})
        assert portal.result("crm.contact.get", id=1)["UF_CRM_WISHES"] == choices
        assert portal.result("crm.contact.get", id=2)["UF_CRM_WISHES"] == []
        assert portal.result("crm.item.get", entityTypeId=3, id=1)["item"]["ufCrmWishes"] == choices
        assert portal.rows("select VALUE_INT from b_utm_crm_contact where VALUE_ID = 1 order by ID") == [
            (choice,) for choice in choices
        ]
        portal.result("crm.contact.update", id=1, fields={"UF_CRM_WISHES": []})
        assert portal.result("crm.contact.list", filter={"ID": 1})[0]["UF_CRM_WISHES"] == []
        assert portal.rows("select * from b_utm_crm_contact") == []
    finally:
        portal.result("crm.contact.userfield.delete", id=number)


def test_stage_history_has_the_names_of_its_entity(portal: Portal) -> None:
    """Leads have statuses, deals have stages and funnels."""
    lead = portal.result("crm.lead.add", fields={"TITLE": "T"})
    portal.result("crm.lead.update", id=lead, fields={"STATUS_ID": "IN_PROCESS"})
    moves = portal.result("crm.stagehistory.list", entityTypeId=1, filter={"OWNER_ID": lead})["items"]
    assert [(move["TYPE_ID"], move["STATUS_ID"], move["STATUS_SEMANTIC_ID"]) for move in moves] == [
        (1, "NEW", "P"),
        (2, "IN_PROCESS", "P"),
    ]
    assert moves[0]["CREATED_TIME"] == "2026-11-01T12:00:00+03:00"
    deal = portal.result("crm.deal.add", fields={"TITLE": "D", "CATEGORY_ID": 1})
    move = portal.result("crm.stagehistory.list", entityTypeId=2, filter={"OWNER_ID": deal})["items"][0]
    assert (move["STAGE_ID"], move["STAGE_SEMANTIC_ID"], move["CATEGORY_ID"]) == ("C1:NEW", "P", 1)
    assert error(portal.post("crm.stagehistory.list", {"entityTypeId": 3})) == (400, "NOT_FOUND")


def test_odd_values_go_through_untouched(portal: Portal) -> None:
    """Entities stay entities, empty texts stay empty, nulls are null, and sentinels are dates like others."""
    with connect(portal.dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "update b_crm_contact set NAME = %s, ORIGINATOR_ID = '', SOURCE_ID = null, COMPANY_ID = 0, "
            "HAS_EMAIL = null where ID = 2",
            ("O&#039;Neil &quot;x&quot;",),
        )
        connection.commit()
    row = portal.result("crm.contact.list", filter={"ID": 2})[0]
    assert row["NAME"] == "O&#039;Neil &quot;x&quot;"
    assert (row["ORIGINATOR_ID"], row["SOURCE_ID"], row["COMPANY_ID"], row["HAS_EMAIL"]) == ("", None, "0", None)
    assert not {"OPPORTUNITY_ACCOUNT", "EXCH_RATE"} & set(portal.result("crm.deal.get", id=1))


def test_a_page_edge_moves_under_a_change(portal: Portal) -> None:
    """An offset counts what is there now: a card deleted on the first page hides another; ids do not move."""
    first = portal.result("crm.contact.list", select=["ID"], order={"ID": "ASC"})
    portal.result("crm.contact.delete", id=10)
    second = portal.result("crm.contact.list", select=["ID"], order={"ID": "ASC"}, start=50)
    assert [first[-1]["ID"], second[0]["ID"]] == ["50", "52"]
    after = portal.result("crm.contact.list", select=["ID"], order={"ID": "ASC"}, filter={">ID": 50}, start=-1)
    assert after[0]["ID"] == "51"


def test_a_full_last_page_is_the_last(portal: Portal) -> None:
    """When the pages come out even there is no `next` that would lead to an empty one."""
    asked = {"select": ["ID"], "filter": {"<=ID": 100}}
    assert portal.call("crm.contact.list", **asked)["next"] == 50
    assert "next" not in portal.call("crm.contact.list", **asked, start=50)
    assert portal.call("crm.contact.list", **asked, start=120)["result"] == []
    assert "next" not in portal.call("crm.item.list", entityTypeId=3, filter={"<=id": 50})


def test_fields_describe_themselves(portal: Portal) -> None:
    """Types, custom fields with their choices, and the names that `crm.item.*` gives them."""
    fields = {"FIELD_NAME": "LEVEL", "USER_TYPE_ID": "enumeration", "LIST": [{"VALUE": "gold"}]}
    number = portal.result("crm.contact.userfield.add", fields=fields)
    try:
        described = portal.result("crm.contact.fields")
        assert (described["ID"]["type"], described["ID"]["isReadOnly"]) == ("integer", True)
        assert described["UF_CRM_LEVEL"]["items"][0]["VALUE"] == "gold"
        assert described["EMAIL"]["type"] == "crm_multifield"
        items = portal.result("crm.item.fields", entityTypeId=3)["fields"]
        assert items["ufCrmLevel"]["upperName"] == "UF_CRM_LEVEL"
        assert items["companyIds"]["isMultiple"] is True
        shown = set(portal.result("crm.item.get", entityTypeId=3, id=1)["item"]) - {"entityTypeId", "observers"}
        assert {name for name in shown if not name.startswith("uf")} <= set(items)
    finally:
        portal.result("crm.contact.userfield.delete", id=number)


def test_times_have_the_zone_of_the_user(portal: Portal) -> None:
    """The same moment with another offset; a filter without offset means the user's own clock."""
    with connect(portal.dsn) as connection, connection.cursor() as cursor:
        cursor.execute("insert into b_user (ID, LOGIN, TIME_ZONE) values (77, 'far', 'Asia/Vladivostok')")
        connection.commit()
    try:
        url = portal.base.replace("/rest/1/", "/rest/77/")
        asked = {"filter": {">=DATE_CREATE": "2026-01-01 18:00:00", "<=ID": 3}, "select": ["ID", "DATE_CREATE"]}
        rows = requests.post(f"{url}/crm.contact.list", json=asked, timeout=10).json()["result"]
        assert rows[0] == {"ID": "1", "DATE_CREATE": "2026-01-01T18:00:00+10:00"}
        one = requests.post(f"{url}/crm.contact.get", json={"id": 1}, timeout=10).json()["result"]
        assert one["BIRTHDATE"] == "1990-05-17T03:00:00+04:00"
    finally:
        with connect(portal.dsn) as connection, connection.cursor() as cursor:
            cursor.execute("delete from b_user where ID = 77")
            connection.commit()
