"""The catalogue of tables: complete, strict, and open for a new entry."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lettertrail.bitrix.catalog import NEVER_EXTRACTED, TableEntry, load_catalog
from lettertrail.errors import ConfigurationError
from lettertrail.settings import BITRIX_SOURCES_FILE, PROJECT_ROOT

COLUMNS_FILE = PROJECT_ROOT / "include" / "lettertrail" / "bitrix" / "bitrix_columns.csv"
GOOD = {"strategy": "full", "key": ["id"], "why": "Small."}


@pytest.fixture(scope="module")
def real_columns() -> dict[str, dict[str, str]]:
    """Table -> lower-case column -> MySQL type, from the reference."""
    tables: dict[str, dict[str, str]] = {}
    with COLUMNS_FILE.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            tables.setdefault(row["table"], {})[row["column"].lower()] = row["mysql_type"]
    return tables


def write(path: Path, extract: dict[str, Any], **table: Any) -> Path:
    """A sources file with one table b_thing."""
    entry = {"name": "b_thing", "description": "One row per thing.", "config": {"meta": {"extract": extract}}, **table}
    path.write_text(yaml.safe_dump({"version": 2, "sources": [{"name": "bitrix", "tables": [entry]}]}))
    return path


ENTRIES = load_catalog()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_names_only_real_columns(entry: TableEntry, real_columns: dict[str, dict[str, str]]) -> None:
    """Every column an entry mentions is one the real table has, and range_by is a whole number."""
    columns = real_columns[entry.name]
    named = {*entry.key, *entry.exclude, *filter(None, [entry.cursor, entry.range_by])}
    assert named <= columns.keys()
    if entry.range_by is not None:
        assert columns[entry.range_by].startswith("int")
    for trigger in entry.touched_by:
        theirs = real_columns[trigger.table]
        assert {trigger.matches, *trigger.where} <= columns.keys()
        mentioned = filter(None, [trigger.column, trigger.new_by, trigger.modified_by, trigger.young_by])
        assert {*mentioned, *trigger.open_while} <= theirs.keys()


def test_documented_columns_exist(real_columns: dict[str, dict[str, str]]) -> None:
    """A description of a column that is not there would mislead."""
    document = yaml.safe_load(BITRIX_SOURCES_FILE.read_text(encoding="utf-8"))
    for table in document["sources"][0]["tables"]:
        for column in table.get("columns", []):
            assert column["name"] in real_columns[table["name"]], (table["name"], column["name"])


def test_the_inverted_letters_are_explained() -> None:
    """Y means still to be sent; whoever queries the table must be told."""
    text = BITRIX_SOURCES_FILE.read_text(encoding="utf-8")
    assert re.search(r"Y = STILL TO BE SENT, N = SENT", text)


def test_no_entry_extracts_a_secret(real_columns: dict[str, dict[str, str]]) -> None:
    """Whatever table is ever declared, its secrets stay in the source."""
    for entry in ENTRIES:
        assert not any(entry.extracts(secret) for secret in NEVER_EXTRACTED)
    secrets = {"password", "checkword", "stored_hash", "confirm_code", "security_code"}
    found = {column for columns in real_columns.values() for column in columns} & secrets
    assert found
    assert not any(ENTRIES[0].extracts(column) for column in found)


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
        {"name": "b_sender_list", "description": "One row per list.", "config": {"meta": {"extract": GOOD}}}
    )
    path = tmp_path / "sources.yml"
    path.write_text(yaml.safe_dump(document))
    assert [entry.name for entry in load_catalog(path)] == [*(entry.name for entry in ENTRIES), "b_sender_list"]


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
