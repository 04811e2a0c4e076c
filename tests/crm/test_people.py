"""A person is taken off their cards in Bitrix, as the site's own tables show."""

from __future__ import annotations

from tests.crm.scene import Crm

from lettertrail.bitrix.rest_people import BitrixPeople

PERSON = (
    "update b_crm_contact set NAME = 'Anna', LAST_NAME = 'Petrova', COMMENTS = 'likes tea' where ID = 3",
    "delete from b_crm_field_multi",
    "insert into b_crm_field_multi (ENTITY_ID, ELEMENT_ID, TYPE_ID, VALUE_TYPE, COMPLEX_ID, VALUE) values"
    " ('CONTACT', 3, 'EMAIL', 'WORK', 'EMAIL_WORK', 'Anna@example.com'),"
    " ('CONTACT', 3, 'PHONE', 'WORK', 'PHONE_WORK', '8 916 1234567'),"
    " ('CONTACT', 3, 'WEB', 'WORK', 'WEB_WORK', 'https://anna.example'),"
    " ('CONTACT', 4, 'EMAIL', 'WORK', 'EMAIL_WORK', 'boris@example.com')",
)


def stand_in(kind: str, value: str) -> str:
    return "erased@erased.invalid" if kind == "EMAIL" else "+99900000000001"


def test_a_card_is_emptied_once(crm: Crm) -> None:
    """Names and notes go, addresses become pseudonyms, the neighbour stays; the second time nothing is written."""
    crm.change_site(*PERSON)
    people = BitrixPeople(crm.rest())

    assert people.erase_cards("contact", [3, 99999], stand_in) == {"applied": 1, "already_ok": 1}

    (card,) = crm.site("select NAME, LAST_NAME, COMMENTS from b_crm_contact where ID = 3")
    assert (card["NAME"] or "", card["LAST_NAME"], card["COMMENTS"] or "") == ("", "erased", "")
    values = {row["VALUE"] for row in crm.site("select VALUE from b_crm_field_multi")}
    assert values == {"erased@erased.invalid", "+99900000000001", "boris@example.com"}
    assert people.erase_cards("contact", [3, 99999], stand_in) == {"already_ok": 2}
