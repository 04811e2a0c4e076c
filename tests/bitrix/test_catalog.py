"""The catalogue of tables: complete, strict, and open for a new entry."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lettertrail.bitrix.areas import areas, tables_of
from lettertrail.bitrix.catalog import (
    CONTENT_KEY,
    TableEntry,
    Via,
    is_secret,
    left_out,
    load_catalog,
)
from lettertrail.bitrix.reference import COLUMNS_FILE, SAME_SHAPE, reference_columns
from lettertrail.errors import ConfigurationError
from lettertrail.settings import BITRIX_SOURCES_FILE

GOOD = {"strategy": "full", "key": ["id"], "why": "Small."}
TOUCHED: dict[str, Any] = {
    **GOOD,
    "strategy": "touched_by",
    "touched_by": [{"table": "p", "column": "id", "matches": "p_id", "new_by": "id"}],
}
INDEX = re.compile(r"(PRI|UNI|IX)(?:\(((?:[^()]|\(\d+\))*)\))?")


@dataclass(frozen=True)
class RealTable:
    """What the reference says about a table, everything in lower case."""

    types: dict[str, str]
    notes: dict[str, str]
    keys: list[tuple[str, tuple[str, ...]]]
    """Kind (PRI, UNI, IX) and columns in order."""


def _read_reference() -> dict[str, RealTable]:
    tables: dict[str, RealTable] = {}
    with COLUMNS_FILE.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            table, column = tables.setdefault(row["table"], RealTable({}, {}, [])), row["column"].lower()
            table.types[column], table.notes[column] = row["mysql_type"], row["note"]
            for kind, listed in INDEX.findall(row["key"]):
                columns = tuple(re.sub(r"\(\d+\)", "", name).strip().lower() for name in listed.split(","))
                table.keys.append((kind, columns if listed else (column,)))
    return {**tables, **{name: tables[like] for name, like in SAME_SHAPE.items()}}


REAL = _read_reference()
ENTRIES = load_catalog()


def write(path: Path, extract: dict[str, Any], **table: Any) -> Path:
    """A sources file with one table b_thing."""
    entry = {"name": "b_thing", "description": "One row per thing.", "config": {"meta": {"extract": extract}}, **table}
    path.write_text(yaml.safe_dump({"version": 2, "sources": [{"name": "bitrix", "tables": [entry]}]}))
    return path


each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def test_every_table_of_the_reference_is_copied_or_left_out_for_a_reason() -> None:
    """No table is forgotten: it is an entry, or it is on the list with a sentence why not. Never both."""
    copied, without = {entry.name for entry in ENTRIES}, left_out()
    assert len(REAL) == 152 + len(SAME_SHAPE)
    assert REAL.keys() - copied - without.keys() == set()
    assert copied & without.keys() == set()
    assert (copied | without.keys()) - REAL.keys() == set()
    assert [table for table, reason in without.items() if len(reason.split()) < 3 or not reason.endswith(".")] == []


@pytest.mark.parametrize(
    "tables",
    [
        "b_sender_mailing b_sender_mailing_chain b_sender_message_field b_sender_posting b_sender_posting_recipient",
        "b_sender_contact b_sender_list b_sender_contact_list b_sender_group b_sender_group_connector",
        "b_sender_mailing_subscription b_sender_abuse b_main_mail_blacklist b_crm_exclusion b_consent_user_consent",
        "b_crm_lead b_crm_contact b_crm_company b_crm_deal b_crm_status b_crm_deal_category b_crm_deal_stage_history",
        "b_crm_lead_status_history b_crm_field_multi b_crm_utm b_crm_tracking_trace b_crm_tracking_trace_entity",
        "b_uts_crm_contact b_uts_crm_lead b_uts_crm_deal b_uts_crm_company b_utm_crm_contact b_utm_crm_deal",
        "b_user_field b_user_field_enum b_crm_act b_crm_act_bind b_recyclebin b_sale_order b_sale_order_payment",
        "b_sale_basket b_user b_group b_user_group b_list_rubric b_subscription b_posting b_posting_email",
        "b_conv_context b_conv_context_attribute b_conv_context_entity_item b_event b_event_message",
    ],
)
def test_what_was_promised_is_copied(tables: str) -> None:
    """The tables the marts, the segments and the analysts stand on are never moved to the other list."""
    assert set(tables.split()) <= {entry.name for entry in ENTRIES}


@each_entry
def test_an_entry_names_only_real_columns(entry: TableEntry) -> None:
    """Every column an entry mentions is one the real table has, and range_by is a whole number."""
    columns = REAL[entry.name].types
    key = () if entry.key == CONTENT_KEY else entry.key
    named = {*key, *entry.exclude, *entry.php, *filter(None, [entry.cursor, entry.range_by])}
    assert named <= columns.keys()
    if entry.range_by is not None:
        assert columns[entry.range_by].startswith(("int", "bigint"))
    for trigger in entry.touched_by:
        assert {trigger.matches, *trigger.where} <= columns.keys()
        mentioned = filter(None, [trigger.column, trigger.new_by, trigger.modified_by, trigger.young_by])
        assert {*mentioned, *trigger.open_while} <= REAL[trigger.table].types.keys()
        if trigger.via is not None:
            assert {trigger.via.column, trigger.via.gives} <= REAL[trigger.via.table].types.keys()


@each_entry
def test_an_entry_is_keyed_by_what_the_database_keeps_unique(entry: TableEntry) -> None:
    """A primary or unique key; where there is none, all columns that are short, or the content itself."""
    table = REAL[entry.name]
    unique = [set(columns) for kind, columns in table.keys if kind in ("PRI", "UNI")]
    if unique:
        assert set(entry.key) in unique
    else:
        assert set(entry.key) == set(table.types) or entry.key == CONTENT_KEY


WITHOUT_INDEX = {
    # The key begins with the campaign: one scan of the table instead of a whole reading of it.
    ("b_sender_mailing_subscription", "contact_id"),
}


@each_entry
def test_a_touched_row_is_found_by_an_index(entry: TableEntry) -> None:
    """The join from a changed parent to its rows must not scan them."""
    for trigger in entry.touched_by:
        if trigger.table == entry.name or (entry.name, trigger.matches) in WITHOUT_INDEX:
            continue
        given = {trigger.matches, *trigger.where}
        begins = [set(columns[: len(given)]) for _, columns in REAL[entry.name].keys]
        assert any(trigger.matches in some and some <= given for some in [*begins, *map(_first, REAL[entry.name].keys)])


def _first(key: tuple[str, tuple[str, ...]]) -> set[str]:
    return {key[1][0]}


@each_entry
def test_an_entry_says_its_grain_and_its_reason(entry: TableEntry) -> None:
    """Whoever queries the table is told what a row is; whoever operates it, why it is read this way."""
    assert entry.description.startswith("One row per ")
    assert len(entry.why.split()) >= 4
    assert entry.area != "others"


def test_areas_can_be_ordered() -> None:
    """No two areas, and no two tables of one, wait for each other; those that tell what to re-read come first."""
    order = list(areas(ENTRIES))
    assert len(order) == 10
    place = {
        entry.name: (order.index(area), number)
        for area in order
        for number, entry in enumerate(tables_of(area, ENTRIES))
    }
    assert len(place) == len(ENTRIES)
    for entry in ENTRIES:
        for table in {table for trigger in entry.touched_by for table in trigger.tables} - {entry.name}:
            assert place[table] < place[entry.name], (table, entry.name)


PLAIN_TEXT_TOO = {
    ("b_sender_posting_recipient", "fields"),  # too large; staging reads what it needs
    ("b_sale_order_props_value", "value"),  # serialised only when the property is multiple
}


@each_entry
def test_php_serialised_columns_are_parsed(entry: TableEntry) -> None:
    """Every column the reference calls PHP-serialised is parsed, or stays in the source."""
    for column, note in REAL[entry.name].notes.items():
        if "php-serialized" in note.lower() and "uf_" not in column and entry.extracts(column):
            assert column in entry.php or (entry.name, column) in PLAIN_TEXT_TOO


def test_documented_columns_exist() -> None:
    """A description of a column that is not there would mislead."""
    document = yaml.safe_load(BITRIX_SOURCES_FILE.read_text(encoding="utf-8"))
    for table in document["sources"][0]["tables"]:
        for column in table.get("columns", []):
            assert column["name"] in REAL[table["name"]].types, (table["name"], column["name"])


def test_the_inverted_letters_are_explained() -> None:
    """Y means still to be sent; whoever queries the table must be told."""
    text = BITRIX_SOURCES_FILE.read_text(encoding="utf-8")
    assert re.search(r"Y = STILL TO BE SENT, N = SENT", text)


SECRETS = {
    ("b_consent_agreement", "security_code"),
    ("b_sale_fuser", "code"),  # opens an anonymous cart
    ("b_sale_order_payment", "ps_card_number"),
    ("b_sale_order_payment", "ps_recurring_token"),
    ("b_subscription", "confirm_code"),
    ("b_event", "c_fields"),  # check words and links that open accounts
    ("b_main_mail_sender", "options"),  # mail server passwords
    ("b_messageservice_message", "message_body"),  # login codes
    ("b_user", "password"),
    ("b_user", "checkword"),
    ("b_user", "stored_hash"),
    ("b_user", "confirm_code"),
}
SUSPICIOUS = re.compile(r"pass|pwd|word|token|secret|hash|crypt|salt|private|api_?key|confirm|security|card_num|checkw")
HARMLESS = {
    ("b_subscription", "confirmed"),
    ("b_subscription", "date_confirm"),
    ("b_main_mail_sender", "is_confirmed"),
}


def test_no_column_of_any_table_is_a_secret_that_leaves_the_source() -> None:
    """All 1,545 columns were walked: what is secret stays, and what only sounds like it was looked at one by one."""
    found = {(entry.name, column) for entry in ENTRIES for column in REAL[entry.name].types}
    assert found >= SECRETS
    extracted = {(e.name, column) for e in ENTRIES for column in REAL[e.name].types if e.extracts(column)}
    assert extracted & SECRETS == set()
    assert {pair for pair in extracted if SUSPICIOUS.search(pair[1])} - HARMLESS == set()
    assert {
        column for table in REAL for column in [c.name for c in reference_columns(table)] if is_secret(column)
    } == set()


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD", "Password", "uf_password", "UF_CRM_API_TOKEN", "ufCrmApiToken", "accessToken", "REFRESH_TOKEN",
        "CHECKWORD", "CheckWord", "UF_AUTH_HASH", "storedHash", "CONFIRM_CODE", "confirmCode", "UF_PAROL",
        "UF_SMS_CODE", "otp_secret", "pwd", "USER_PASS", "client_secret", "private_key", "uf_crm_pin",
        "CVV", "CARD_NUMBER", "salt", "SESSION_ID", "PHPSESSID_TOKEN", "digest_ha1", "uf_api_key",
    ],
)  # fmt: skip
def test_a_new_column_with_a_secret_name_stays_in_the_source(name: str) -> None:
    """A custom field, a column of a later version, in any letter case, in any table, over any transport."""
    assert not any(entry.extracts(name) for entry in ENTRIES)


@pytest.mark.parametrize(
    "name",
    ["uf_crm_passport", "compass", "uf_secretary", "UF_HASHTAG", "keyword", "code", "promo_code", "xml_id", "pinned"],
)
def test_a_harmless_column_is_not_taken_for_a_secret(name: str) -> None:
    """A name that merely holds such a word is copied, or custom fields would go missing."""
    assert all(entry.extracts(name) for entry in ENTRIES if entry.name.startswith("b_ut"))


def test_the_floor_of_secrets_cannot_be_taken_away(tmp_path: Path) -> None:
    """The file's deny list adds to the built-in one; an empty one removes nothing."""
    path = write(tmp_path / "sources.yml", GOOD)
    document = yaml.safe_load(path.read_text())
    document["sources"][0]["config"] = {"meta": {"deny_columns": ["shoe_size"]}}
    path.write_text(yaml.safe_dump(document))
    (entry,) = load_catalog(path)
    assert not entry.extracts("shoe_size")
    assert not entry.extracts("password")
    assert entry.extracts("title")


def test_a_new_entry_is_picked_up(tmp_path: Path) -> None:
    """One more table in the file is one more entry, with nothing else to edit."""
    document = yaml.safe_load(BITRIX_SOURCES_FILE.read_text(encoding="utf-8"))
    document["sources"][0]["tables"].append(
        {"name": "b_sender_queue", "description": "One row per pointer.", "config": {"meta": {"extract": GOOD}}}
    )
    path = tmp_path / "sources.yml"
    path.write_text(yaml.safe_dump(document))
    assert [entry.name for entry in load_catalog(path)] == [*(entry.name for entry in ENTRIES), "b_sender_queue"]


@pytest.mark.parametrize(
    ("extract", "message"),
    [
        ({**GOOD, "strategy": "guess"}, "strategy is 'guess'"),
        ({**GOOD, "curser": "x"}, "unknown extract setting curser"),
        ({"strategy": "full", "why": "-"}, "key is missing"),
        ({"strategy": "full", "key": ["id"]}, "why is missing"),
        ({**GOOD, "key": ["id; drop table x"]}, "lower-case table or column name"),
        ({**GOOD, "key": "id"}, "key must be a list"),
        ({**GOOD, "strategy": "modified"}, "needs cursor"),
        ({**GOOD, "strategy": "append", "key": ["a", "b"]}, "one growing id"),
        ({**GOOD, "strategy": "touched_by"}, "go together"),
        ({**GOOD, "exclude": ["id"]}, "a key column cannot be excluded"),
        ({**GOOD, "strategy": "append", "key": ["code"]}, "needs range_by"),
        ({**GOOD, "tail": -1}, "tail is -1"),
        ({**GOOD, "php": ["password"]}, "php names a column that is not copied"),
        ({**GOOD, "area": "My area"}, "area is 'My area'"),
        ({**GOOD, "max_quarantined_pct": 101}, "say a percentage"),
        ({**GOOD, "strategy": "append", "key": ["_row_hash"]}, "without a key is read whole"),
        ({**GOOD, "cursor": "at", "cursor_if": ["indexed"]}, "rules of touched_by to fall back on"),
        ({**TOUCHED, "cursor": "at", "cursor_if": ["fast"]}, "cursor_if is one of indexed, moves_by_itself"),
        (
            {**TOUCHED, "touched_by": [{**TOUCHED["touched_by"][0], "via": {"table": "v", "column": "id"}}]},
            "gives is None",
        ),
        (
            {**GOOD, "strategy": "touched_by", "touched_by": [{"table": "p", "column": "id", "matches": "p_id"}]},
            "say new",
        ),
        (
            {
                **GOOD,
                "strategy": "touched_by",
                "touched_by": [{"table": "p", "column": "id", "matches": "p_id", "open_while": {"status": [False]}}],
            },
            "in quotes",
        ),
        (
            {
                **GOOD,
                "strategy": "touched_by",
                "touched_by": [{"table": "p", "column": "id", "matches": "p_id", "young_by": "at"}],
            },
            "young_by and young_days go together",
        ),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, extract: dict[str, Any], message: str) -> None:
    """The error says which table and which setting."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_catalog(write(tmp_path / "sources.yml", extract))
    assert "b_thing" in str(caught.value)


def test_an_entry_without_a_description_or_extract_is_refused(tmp_path: Path) -> None:
    """What one row is must be said, and how it is kept fresh."""
    with pytest.raises(ConfigurationError, match="b_thing: description is missing"):
        load_catalog(write(tmp_path / "sources.yml", GOOD, description=""))
    with pytest.raises(ConfigurationError, match=r"b_thing: config\.meta\.extract is missing"):
        load_catalog(write(tmp_path / "sources.yml", GOOD, config={}))


def test_a_table_in_between_is_read(tmp_path: Path) -> None:
    """The events of a mailing name recipients; addresses follow them over the recipients."""
    trigger = {**TOUCHED["touched_by"][0], "via": {"table": "v", "column": "id", "gives": "q_id"}}
    (entry,) = load_catalog(write(tmp_path / "sources.yml", {**TOUCHED, "touched_by": [trigger]}))
    assert entry.touched_by[0].via == Via("v", "id", "q_id")
    assert entry.touched_by[0].tables == ("p", "v")


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    """Not a stack trace of the YAML reader."""
    with pytest.raises(ConfigurationError, match="does not exist"):
        load_catalog(tmp_path / "sources.yml")
    (tmp_path / "sources.yml").write_text("sources: [")
    with pytest.raises(ConfigurationError, match="no valid YAML"):
        load_catalog(tmp_path / "sources.yml")
    (tmp_path / "sources.yml").write_text("sources: []")
    with pytest.raises(ConfigurationError, match="exactly one source named bitrix"):
        load_catalog(tmp_path / "sources.yml")
