"""Where personal data lies: what a row's owner is known by, and what of the row is about the person.

Addresses, numbers and what is made from them are found in every text column of every table by themselves
(`scrub.py`), so no place is forgotten for them. What is here are the things that can only be found through a card,
such as a name, a birthday or a note. Add to it when a table or a column comes that holds such a thing; the test plants
a person in every text column and fails when something of them is left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SCHEMAS = ("raw_bitrix", "raw_esp", "raw_inbox", "ops", "staging", "intermediate", "marts", "segments")
"""Searched as a whole; anything else in the database is not LetterTrail's."""
PROOF = ("erasures", "erased_identifiers", "erasure_checks", "migrations")
"""Tables of `ops` that are left alone: they hold hashes and counts only."""
SENDER_ADDRESSES = "raw_bitrix.b_sender_contact"
"""Has the address of everybody who was ever written to; the recipients of a mailing only have its number."""
IDENTIFIERS = "intermediate.int_identifiers"
NUMBERS = ("identifier_number", "other_identifier_number", "person_number")
"""Columns, in whatever table, with a hash of an address or number that is one of `IDENTIFIERS`."""

# Bitrix's `OWNER_TYPE_ID` (bitrix.md 2.4): 1 is a lead, 2 a deal, 3 a contact.
_CARDS = "(({0}type_id = 3 and {0}id = any(%(contacts)s)) or ({0}type_id = 1 and {0}id = any(%(leads)s)))"
_ORDERS = """(
    select id from raw_bitrix.b_sale_order where user_id = any(%(users)s)
    union
    select order_id from raw_bitrix.b_crm_order_contact_company
    where entity_type_id = 3 and entity_id = any(%(contacts)s)
)"""
_BOUND = f"(select owner_id from raw_bitrix.b_crm_timeline_bind where {_CARDS.format('entity_')})"  # noqa: S608
_DEALS = """(
    select id from raw_bitrix.b_crm_deal where contact_id = any(%(contacts)s) or lead_id = any(%(leads)s)
    union
    select deal_id from raw_bitrix.b_crm_deal_contact where contact_id = any(%(contacts)s)
)"""


@dataclass(frozen=True, slots=True)
class Place:
    """Rows of one table that belong to the person, and what in them goes.

    `owned` is a condition with the parameters `contacts`, `leads`, `users` (card numbers), `pseudonyms` (what stands
    for the person's addresses and numbers), `addresses` (numbers of rows of `SENDER_ADDRESSES`), `full_names` and
    `people` (identifiers in the marts). Columns that a site does not have are left out.
    """

    table: str
    owned: str
    cleared: tuple[str, ...] = ()
    """Set to null; `*`: all but the key, our own columns and `KEPT_FIELDS`."""
    replaced: dict[str, str] = field(default_factory=dict)
    """Column -> SQL of what stands there instead."""


_PERSON = (
    "name", "last_name", "second_name", "full_name", "honorific", "photo", "post", "address", "birthdate",
    "birthday_sort", "comments", "source_description",
)  # fmt: skip
_PLACE = ("www", "phone", "fax", "pager", "street", "mailbox", "city", "state", "zip", "country", "notes")
_USER = (
    "name", "last_name", "second_name", "title", "photo", "admin_notes", "personal_birthday", "personal_birthdate",
    *(f"personal_{part}" for part in ("profession", "icq", "gender", "mobile", "photo", *_PLACE)),
    *(f"work_{part}" for part in ("company", "department", "position", "profile", *_PLACE)),
)  # fmt: skip

PLACES = (
    Place("raw_bitrix.b_crm_contact", "id = any(%(contacts)s)", _PERSON),
    Place(
        "raw_bitrix.b_crm_lead",
        "id = any(%(leads)s)",
        (*_PERSON, "company_title", "status_description"),
        {"title": "'erased'"},
    ),
    Place(
        "raw_bitrix.b_crm_field_multi",
        "type_id in ('WEB', 'IM', 'LINK') and ((entity_id = 'CONTACT' and element_id = any(%(contacts)s))"
        " or (entity_id = 'LEAD' and element_id = any(%(leads)s)))",
        replaced={"value": "'erased'"},
    ),
    Place("raw_bitrix.b_uts_crm_contact", "value_id = any(%(contacts)s)", ("*",)),
    Place("raw_bitrix.b_uts_crm_lead", "value_id = any(%(leads)s)", ("*",)),
    Place("raw_bitrix.b_uts_user", "value_id = any(%(users)s)", ("*",)),
    Place("raw_bitrix.b_utm_crm_contact", "value_id = any(%(contacts)s)", ("value",)),
    Place("raw_bitrix.b_utm_crm_lead", "value_id = any(%(leads)s)", ("value",)),
    Place("raw_bitrix.b_utm_user", "value_id = any(%(users)s)", ("value",)),
    Place("raw_bitrix.b_user", "id = any(%(users)s)", _USER, {"login": "'erased-' || id"}),
    Place(
        "raw_bitrix.b_crm_deal",
        f"id in {_DEALS}",
        ("comments", "source_description", "additional_info", "event_description"),
        {"title": "'erased'"},
    ),
    Place(
        "raw_bitrix.b_crm_act",
        f"{_CARDS.format('owner_')} or (owner_type_id = 2 and owner_id in {_DEALS})",
        ("location", "settings", "settings__json", "provider_params", "provider_params__json", "urn"),
        {"subject": "'erased'"},
    ),
    Place("raw_bitrix.b_crm_act_comm", _CARDS.format("entity_"), ("entity_settings", "entity_settings__json")),
    Place(
        "raw_bitrix.b_crm_event",
        "id in (select event_id from raw_bitrix.b_crm_event_relations where (entity_type = 'CONTACT'"
        " and entity_id = any(%(contacts)s)) or (entity_type = 'LEAD' and entity_id = any(%(leads)s)))",
        ("event_text_1", "event_text_2", "files"),
    ),
    Place(
        "raw_bitrix.b_crm_timeline",
        f"id in {_BOUND}",
        ("settings", "settings__json"),
    ),
    Place("raw_bitrix.b_recyclebin", "name = any(%(full_names)s)", replaced={"name": "'erased'"}),
    Place(
        "raw_bitrix.b_sale_order",
        f"id in {_ORDERS}",
        ("user_description", "comments", "additional_info", "reason_canceled", "order_topic"),
    ),
    Place(
        "raw_bitrix.b_sale_order_props_value",
        f"order_id in {_ORDERS} and value <> all(%(pseudonyms)s)",
        ("value",),
    ),
    Place("raw_bitrix.b_sale_order_delivery", f"order_id in {_ORDERS}", ("comments", "tracking_description", "params")),
    Place("raw_bitrix.b_sale_order_payment", f"order_id in {_ORDERS}", ("comments",)),
    Place("raw_bitrix.b_sale_order_change", f"order_id in {_ORDERS}", ("data", "data__json")),
    Place("raw_bitrix.b_sender_contact", "code = any(%(pseudonyms)s)", ("name", "ip")),
    Place(
        "raw_bitrix.b_sender_posting_recipient",
        "contact_id = any(%(addresses)s)",
        # Beside the name it holds the number of the card, by which deals are found; PHP writes lengths before texts.
        replaced={"fields": """regexp_replace(fields, '"NAME";s:[0-9]+:"[^"]*"', '"NAME";s:6:"erased"')"""},
    ),
    Place("raw_bitrix.b_sender_abuse", "contact_code = any(%(pseudonyms)s)", ("text",)),
    Place("raw_bitrix.b_consent_user_consent", "user_id = any(%(users)s)", ("ip", "url")),
    Place(
        "raw_bitrix.b_messageservice_message", "message_to = any(%(pseudonyms)s)", ("message_headers", "message_body")
    ),
    Place(
        "raw_esp.contacts", "email = any(%(pseudonyms)s)", replaced={"payload": "'{}'::jsonb", "fields": "'{}'::jsonb"}
    ),
    Place("raw_esp.events", "email = any(%(pseudonyms)s)", ("ip",), {"payload": "'{}'::jsonb"}),
    Place(
        "ops.quarantine",
        "(target = 'raw_bitrix.b_crm_contact' and record ->> 'id' = any(%(contacts)s::text[]))"
        " or (target = 'raw_bitrix.b_crm_lead' and record ->> 'id' = any(%(leads)s::text[]))"
        " or (target = 'raw_bitrix.b_user' and record ->> 'id' = any(%(users)s::text[]))",
        ("raw",),
        {"record": "jsonb_build_object('id', record -> 'id')"},
    ),
    Place("marts.dim_person", "person_id = any(%(people)s)", ("first_name", "last_name", "birth_date")),
)

KEPT_FIELDS = ("uf_crm_email_marketing", "uf_crm_email_consent", "uf_crm_email_consent_at", "uf_crm_email_consent_text")
"""Custom fields that say whether the person may be mailed: emptied, they would say that they may."""
