"""The Bitrix REST sandbox: deleted cards, restored cards, links, activities and product lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from tests.sandbox.services import MOSCOW, Portal, error

from lettertrail.sandbox.bitrix_methods import portal as portals
from lettertrail.sandbox.bitrix_methods import recycle
from lettertrail.sandbox.mariadb import connect


@contextmanager
def written(portal: Portal) -> Iterator[Any]:
    """A cursor on the site, as its own pages would have one."""
    with connect(portal.dsn) as connection, connection.cursor() as cursor:
        yield cursor
        connection.commit()


def restored(portal: Portal, number: int) -> int:
    """Brings a card back as somebody at the portal would."""
    database = portals.Database(portal.dsn)
    inside = portals.Portal(database, MOSCOW, access=portals.Access(1, frozenset()), clock=lambda: portal.clock.now)
    try:
        with database.transaction() as cursor:
            return recycle.restore(inside, cursor, number)
    finally:
        database.close()


def test_a_deleted_card_lies_in_the_bin(portal: Portal) -> None:
    """Its row, custom fields, links and match codes are gone; addresses and tags hang on its recycled twin."""
    with written(portal) as cursor:
        cursor.execute("insert into b_uts_crm_contact (VALUE_ID, UF_CRM_SHOE_SIZE) values (5, 42.5)")
        cursor.execute("insert into b_crm_utm values (3, 5, 'UTM_SOURCE', 'newsletter')")
        cursor.execute("update b_crm_deal set CONTACT_ID = 5")
        cursor.execute("insert into b_crm_act (TYPE_ID, OWNER_ID, OWNER_TYPE_ID, SUBJECT, CREATED, LAST_UPDATED, DIRECTION) values (2, 5, 3, 's', now(), now(), 1)")  # fmt: skip  # noqa: E501
    assert portal.result("crm.contact.delete", id=5) is True
    assert error(portal.post("crm.contact.get", {"id": 5})) == (400, "")
    assert error(portal.post("crm.item.get", {"entityTypeId": 3, "id": 5})) == (400, "NOT_FOUND")
    assert error(portal.post("crm.contact.delete", {"id": 5})) == (400, "")
    ((number, entity, kind, at),) = portal.rows("select ID, ENTITY_ID, ENTITY_TYPE, `TIMESTAMP` from b_recyclebin")
    assert (entity, kind, at) == ("5", "crm_contact", datetime(2026, 11, 1, 12))
    assert portal.rows("select ENTITY_ID, ELEMENT_ID from b_crm_field_multi where VALUE = 'Person5@example.com'") == [
        ("SUS_CONTACT", number)
    ]
    assert portal.rows("select ENTITY_TYPE_ID, ENTITY_ID from b_crm_utm where ENTITY_TYPE_ID <> 3") == [(20, number)]
    assert portal.rows("select OWNER_TYPE_ID, OWNER_ID from b_crm_act") == [(20, number)]
    assert portal.rows("select * from b_uts_crm_contact where VALUE_ID = 5") == []
    assert portal.rows("select CONTACT_ID from b_crm_deal_contact") == [(6,)]
    assert portal.rows("select CONTACT_ID, DATE_MODIFY from b_crm_deal") == [(None, datetime(2026, 2, 1, 10))]


def test_a_restored_card_has_a_new_id(portal: Portal) -> None:
    """The same fields, addresses and tags under another number; the bin is empty again."""
    with written(portal) as cursor:
        cursor.execute("insert into b_uts_crm_contact (VALUE_ID, UF_CRM_SHOE_SIZE) values (1, 42.5)")
    portal.result("crm.contact.delete", id=1)
    ((number,),) = portal.rows("select ID from b_recyclebin")
    card = restored(portal, number)
    assert card > 120
    back = portal.result("crm.contact.get", id=card)
    assert (back["NAME"], back["UTM_SOURCE"], back["UF_CRM_SHOE_SIZE"]) == ("Name1", "newsletter", "42.5")
    assert back["DATE_CREATE"] == "2026-01-01T11:00:00+03:00"
    assert back["EMAIL"][0]["VALUE"] == "Person1@example.com"
    assert portal.rows("select * from b_recyclebin") == []
    assert portal.rows("select * from b_recyclebin_data") == []


@pytest.mark.parametrize(("kind", "entity"), [("lead", 1), ("deal", 2), ("company", 4)])
def test_every_kind_goes_and_comes_back(portal: Portal, kind: str, entity: int) -> None:
    """The history of a deal or lead goes with it and stays away."""
    card = portal.result(f"crm.{kind}.add", fields={"TITLE": "T"})
    assert portal.result("crm.item.delete", entityTypeId=entity, id=card) == []
    ((number,),) = portal.rows(f"select ID from b_recyclebin where ENTITY_TYPE = 'crm_{kind}'")
    again = restored(portal, number)
    assert again != card
    assert portal.result(f"crm.{kind}.get", id=again)["TITLE"] == "T"
    for table in ("b_crm_deal_stage_history", "b_crm_lead_status_history"):
        assert portal.rows(f"select * from {table} where OWNER_ID in ({card}, {again}) and OWNER_ID <> 1") == []


def test_links_are_read_and_written(portal: Portal) -> None:
    """By the items methods and by ids on the card; the first is the main one."""
    assert portal.result("crm.deal.contact.items.get", id=1) == [
        {"CONTACT_ID": 5, "SORT": 10, "ROLE_ID": 0, "IS_PRIMARY": "Y"},
        {"CONTACT_ID": 6, "SORT": 20, "ROLE_ID": 0, "IS_PRIMARY": "N"},
    ]
    portal.result("crm.item.update", entityTypeId=2, id=1, fields={"contactIds": [9, 8]})
    assert portal.result("crm.item.get", entityTypeId=2, id=1)["item"]["contactIds"] == [9, 8]
    company = portal.result("crm.company.add", fields={"TITLE": "Ltd"})
    portal.result("crm.contact.update", id=7, fields={"COMPANY_ID": company})
    links = portal.result("crm.contact.company.items.get", id=7)
    assert [(link["COMPANY_ID"], link["IS_PRIMARY"]) for link in links] == [(company, "Y")]
    assert portal.result("crm.item.get", entityTypeId=4, id=company)["item"]["contactIds"] == [7]
    assert error(portal.post("crm.deal.contact.items.get", {"id": 999})) == (400, "")


def test_activities_unpack_what_php_packed(portal: Portal) -> None:
    """An empty array is a list, bindings and communications come by name, `LAST_UPDATED` moves."""
    fields = {
        "OWNER_TYPE_ID": 3,
        "OWNER_ID": 1,
        "TYPE_ID": 2,
        "SUBJECT": "Call",
        "ORIGINATOR_ID": "lt",
        "ORIGIN_ID": "7",
    }
    number = portal.result("crm.activity.add", fields=fields)
    with written(portal) as cursor:
        cursor.execute(
            "update b_crm_act set SETTINGS = %s, PROVIDER_PARAMS = 'a:0:{}', LAST_UPDATED = '2026-01-01'",
            ('a:2:{s:4:"call";a:1:{i:0;s:6:"ёж!";}s:2:"ok";b:1;}'.replace("s:6", f"s:{len('ёж!'.encode())}"),),
        )
    one = portal.result("crm.activity.get", id=number)
    assert (one["SETTINGS"], one["PROVIDER_PARAMS"]) == ({"call": ["ёж!"], "ok": True}, [])
    assert (one["LAST_UPDATED"], one["DEADLINE"], one["COMPLETED"]) == ("2026-01-01T00:00:00+03:00", "", "N")
    portal.result("crm.activity.update", id=number, fields={"COMPLETED": "Y"})
    listed = portal.result(
        "crm.activity.list",
        filter={"ORIGIN_ID": "7", ">=LAST_UPDATED": "2026-11-01T12:00:00+03:00"},
        select=["ID", "COMPLETED", "BINDINGS", "COMMUNICATIONS"],
    )
    assert listed == [
        {
            "ID": str(number),
            "COMPLETED": "Y",
            "BINDINGS": [{"OWNER_ID": "1", "OWNER_TYPE_ID": "3"}],
            "COMMUNICATIONS": [],
        }
    ]
    assert portal.result("crm.activity.binding.list", activityId=number) == [{"entityTypeId": 3, "entityId": 1}]
    assert portal.result("crm.activity.delete", id=number) is True
    assert portal.rows("select * from b_crm_act_bind") == []
    assert error(portal.post("crm.activity.get", {"id": number})) == (400, "")


def test_product_lines_need_their_owner(portal: Portal) -> None:
    """Texts in the old methods, numbers in the new one."""
    with written(portal) as cursor:
        cursor.execute("delete from b_crm_product_row")
        cursor.execute(
            "insert into b_crm_product_row (OWNER_ID, OWNER_TYPE, PRODUCT_ID, PRODUCT_NAME, PRICE, QUANTITY, TYPE) "
            "values (1, 'D', 9, 'Boots', 990.50, 2, 4), (1, 'L', 9, 'Boots', 990.50, 2, 4)"
        )
    (line,) = portal.result("crm.deal.productrows.get", id=1)
    assert (line["PRICE"], line["QUANTITY"], line["OWNER_TYPE"]) == ("990.50", "2.0000", "D")
    rows = portal.call("crm.item.productrow.list", filter={"=ownerType": "D", "=ownerId": 1})
    assert (rows["total"], rows["result"]["productRows"][0]["price"]) == (1, 990.5)
    assert error(portal.post("crm.item.productrow.list", {"filter": {"=ownerType": "D"}})) == (400, "100")
    assert len(portal.result("crm.productrow.list", filter={"OWNER_TYPE": "L"})) == 1


def test_comments_belong_to_a_card(portal: Portal) -> None:
    """Only comments, only those of the card that the filter names."""
    with written(portal) as cursor:
        cursor.execute("delete from b_crm_timeline")
        cursor.execute("delete from b_crm_timeline_bind")
        cursor.execute("insert into b_crm_timeline (ID, TYPE_ID, CREATED, COMMENT) values (1, 7, '2026-01-01', 'hm'), (2, 11, '2026-01-01', ''), (3, 7, '2026-01-01', 'other')")  # fmt: skip  # noqa: E501
        cursor.execute("insert into b_crm_timeline_bind (OWNER_ID, ENTITY_ID, ENTITY_TYPE_ID) values (1, 1, 2), (2, 1, 2), (3, 2, 2)")  # fmt: skip  # noqa: E501
    (comment,) = portal.result("crm.timeline.comment.list", filter={"ENTITY_ID": 1, "ENTITY_TYPE": "deal"})
    assert (comment["COMMENT"], comment["ENTITY_TYPE"]) == ("hm", "deal")
    assert error(portal.post("crm.timeline.comment.list")) == (400, "")
