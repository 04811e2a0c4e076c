"""How a table is kept fresh is decided from what the installation has, not from what the catalogue hopes for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lettertrail.bitrix.catalog import TableEntry, Trigger, Via, load_catalog
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.freshness import Freshness, applied, decide, probe
from lettertrail.bitrix.reference import reference_columns
from lettertrail.errors import TableMissing

CATALOG = {entry.name: entry for entry in load_catalog()}
RECIPIENTS = CATALOG["b_sender_posting_recipient"]
DEALS = CATALOG["b_crm_deal"]


def column(name: str, pg_type: str = "timestamp", **facts: bool) -> Column:
    """A source column of which only the name, the type and what is known about it matter."""
    return Column(name, select="", digest="", wire_type="", pg_type=pg_type, **facts)  # type: ignore[arg-type]


ID = column("id", "integer", indexed=True)


@pytest.mark.parametrize(
    ("kind", "date_update", "cursor", "reason"),
    [
        ("mysql", None, None, "date_update is not there"),
        ("mysql", {}, None, "mysql does not move it by itself here: not believed"),
        ("mysql", {"moves_by_itself": True}, None, "has no index: not worth reading the whole table for"),
        ("mysql", {"moves_by_itself": True, "indexed": True}, "date_update", "as declared"),
        ("postgresql", {"indexed": True}, None, "postgresql does not move it by itself here: not believed"),
    ],
)
def test_the_recipients_change_time_is_followed_only_where_it_can_be_believed(
    kind: str, date_update: dict[str, bool] | None, cursor: str | None, reason: str
) -> None:
    """It came with sender 25.0, stands still on PostgreSQL, and has no index unless somebody made one."""
    columns = [ID, *([] if date_update is None else [column("date_update", **date_update)])]
    found = decide(RECIPIENTS, columns, kind)
    assert (found.strategy, found.cursor) == ("touched_by", cursor)
    assert reason in found.reason
    assert found.touched_by == RECIPIENTS.touched_by
    assert applied(RECIPIENTS, found).cursor == cursor


@pytest.mark.parametrize("is_indexed", [True, False])
def test_a_change_time_the_site_writes_is_believed_and_a_scan_is_said(is_indexed: bool) -> None:
    """date_modify is written by the CRM itself; only leads have an index on it."""
    found = decide(DEALS, [ID, column("date_modify", indexed=is_indexed)], "mysql")
    assert (found.strategy, found.cursor) == ("modified", "date_modify")
    assert ("one scan in the source per load" in found.reason) is not is_indexed


def test_a_table_whose_change_time_is_missing_is_read_whole() -> None:
    """Nothing else tells what changed, and a stale table is worse than a slow load."""
    for columns in ([ID], [ID, column("date_modify", "text")]):
        found = decide(DEALS, columns, "mysql")
        assert (found.strategy, found.cursor) == ("full", None)
        assert "read whole every time" in found.reason
        assert applied(DEALS, found).strategy == "full"


def test_rules_that_need_no_change_time_stay_as_declared() -> None:
    """Ids only grow everywhere, and a whole reading is a whole reading."""
    for name in ("b_sender_posting_read", "b_sender_mailing"):
        entry = CATALOG[name]
        found = decide(entry, [ID], "postgresql")
        assert found == Freshness(entry.strategy, None, "as declared")
        assert applied(entry, found).key == entry.key


class Somewhere:
    """A source that only knows which columns its tables have."""

    def __init__(self, tables: Mapping[str, Sequence[Column]], kind: str = "mysql") -> None:
        self.kind = kind
        self.tables = tables
        self.asked: list[str] = []

    def columns(self, entry: TableEntry) -> tuple[Column, ...]:
        self.asked.append(entry.name)
        if entry.name not in self.tables:
            raise TableMissing(f"table {entry.name} is not there")
        return tuple(self.tables[entry.name])


def look(entry: TableEntry, tables: Mapping[str, Sequence[Column]], **more: Any) -> tuple[Freshness, list[str]]:
    """What `probe` finds out, and which tables it asked for."""
    source = Somewhere(tables, **more)
    return probe(source, entry, tables[entry.name]), source.asked  # type: ignore[arg-type]


def test_a_trigger_whose_table_is_not_installed_is_not_followed() -> None:
    """Without the recycle bin module its arm of the query would be an error, not an empty answer."""
    entry = CATALOG["b_crm_field_multi"]
    names = ("b_crm_field_multi", "b_crm_contact", "b_crm_lead", "b_crm_company", "b_crm_deal")
    found, asked = look(entry, {name: reference_columns(name) for name in names})
    assert {trigger.table for trigger in found.touched_by} == set(names[1:])
    assert "changes of b_recyclebin cannot be followed: not there" in found.reason
    assert sorted(asked) == sorted([*names[1:], "b_recyclebin"])
    assert applied(entry, found).touched_by == found.touched_by


def test_a_trigger_loses_the_condition_whose_column_is_missing() -> None:
    """Older versions lack columns; what is left of the trigger still tells something."""
    one = Trigger("b_posting", "id", "posting_id", new_by="id", modified_by="timestamp_x", young_by="at", young_days=3)
    entry = TableEntry("b_posting_email", "", "touched_by", ("id",), "", touched_by=(one,))
    found, _ = look(entry, {"b_posting_email": [ID], "b_posting": [ID]})
    assert found.touched_by == (Trigger("b_posting", "id", "posting_id", new_by="id"),)
    assert found.reason == "a trigger's column is not there"


def test_a_trigger_needs_the_table_in_between() -> None:
    """Reads name recipients; without the recipients they lead to no address."""
    entry = CATALOG["b_sender_contact"]
    tables = {name: reference_columns(name) for name in ("b_sender_contact", "b_sender_posting_read")}
    found, _ = look(entry, tables)
    assert found.touched_by == ()
    assert (found.strategy, found.cursor) == ("modified", "date_update")
    assert entry.touched_by[1].via == Via("b_sender_posting_recipient", "id", "contact_id")
    found, _ = look(entry, {**tables, "b_sender_posting_recipient": reference_columns("b_sender_posting_recipient")})
    assert [trigger.table for trigger in found.touched_by] == ["b_sender_posting_read"]


def test_without_any_trigger_or_change_time_the_table_is_read_whole() -> None:
    """Links have no dates; where the cards cannot be asked, only reading them all is right."""
    entry = CATALOG["b_crm_deal_contact"]
    found, _ = look(entry, {"b_crm_deal_contact": reference_columns("b_crm_deal_contact")})
    assert (found.strategy, found.cursor, found.touched_by) == ("full", None, ())
    assert "read whole every time" in found.reason


def test_a_table_that_touches_itself_is_not_asked_for_twice() -> None:
    """Logins move last_login; an old site without last_activity_date keeps that one."""
    entry = CATALOG["b_user"]
    own = [one for one in reference_columns("b_user") if one.name != "last_activity_date"]
    found, asked = look(entry, {"b_user": own})
    assert [trigger.modified_by for trigger in found.touched_by] == ["last_login"]
    assert (found.cursor, asked) == ("timestamp_x", [])


def test_a_portal_is_not_asked_table_by_table() -> None:
    """REST calls are counted; its own lists say what changed."""
    found, asked = look(RECIPIENTS, {RECIPIENTS.name: [ID]}, kind="bitrix24")
    assert (found.strategy, found.cursor, asked) == ("touched_by", None, [])
    assert found.touched_by == RECIPIENTS.touched_by


@pytest.mark.parametrize("entry", CATALOG.values(), ids=CATALOG)
def test_the_reference_allows_what_the_catalogue_declares(entry: TableEntry) -> None:
    """On a complete installation every rule is in force, but for a change time under conditions."""
    found, _ = look(entry, {name: reference_columns(name) for name in CATALOG})
    assert found.strategy == entry.strategy
    assert found.touched_by == entry.touched_by
    assert found.cursor == (None if entry.cursor_if else entry.cursor)
