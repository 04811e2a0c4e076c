"""The tables of docs/cloud.md, written from `cloud_tables.py`.

python -m lettertrail.bitrix.cloud_docs      # prints them; a test compares them with the page
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping

from lettertrail.bitrix.catalog import TableEntry, load_catalog
from lettertrail.bitrix.cloud_feeds import FEEDS
from lettertrail.bitrix.cloud_tables import TABLES, CloudTable, why_not
from lettertrail.bitrix.reference import reference_columns

REASONS: Mapping[str, str] = {
    # Column -> why no REST method gives it; every other one is simply not shown.
    **dict.fromkeys(
        ("opportunity_account", "tax_value_account", "account_currency_id", "exch_rate"),
        "amounts in the accounting currency stay inside the portal",
    ),
    **dict.fromkeys(
        ("full_name", "birthday_sort", "order_stage", "product_id", "face_id"),
        "derived or left over",
    ),
    **dict.fromkeys(
        ("settings", "provider_params", "entity_settings", "default_value"),
        "REST shows them unpacked, not as PHP wrote them",
    ),
    **dict.fromkeys(("sort", "role_id"), "the card's list names the linked ids alone"),
    "current_base_rate": "REST gives the default rate, not the one in force",
}
DEFAULT_REASON = "not shown"
HISTORY_REASON = "the method shows the step alone"


def tables(entries: Iterable[TableEntry]) -> str:
    """What the cloud gives, table by table."""
    lines = ["| Table | From | Filled | NULL, and why |", "|---|---|---|---|"]
    lines += [_line(TABLES[entry.name], entry) for entry in entries if entry.name in TABLES]
    return "\n".join(lines)


def absent(entries: Iterable[TableEntry]) -> str:
    """What it cannot give, by reason."""
    by_reason: dict[str, list[str]] = {}
    for entry in entries:
        if entry.name not in TABLES:
            by_reason.setdefault(why_not(entry.name), []).append(f"`{entry.name}`")
    lines = ["| Tables | Why not |", "|---|---|"]
    lines += [f"| {', '.join(names)} | {reason} |" for reason, names in by_reason.items()]
    return "\n".join(lines)


def _line(table: CloudTable, entry: TableEntry) -> str:
    known = [column.name for column in reference_columns(table.name) if entry.extracts(column.name)]
    filled = [column for column in known if column in table.fields]
    if table.name.startswith("b_uts_"):
        filled.append("every custom field")
    empty = [column for column in known if column not in table.fields]
    methods = ", ".join(f"`{method}`" for method in table.methods)
    scopes = sorted({FEEDS[name].scope for name in table.feeds})
    said = "; ".join(_nulls(table, empty)) or "–"
    notes = "".join(f" `{column}`: {note}." for column, note in table.notes.items() if "…" not in column)
    return (
        f"| `{table.name}` | {methods} ({', '.join(scopes)}) | {_few(filled)}{'.' + notes if notes else ''} | {said} |"
    )


def _nulls(table: CloudTable, columns: list[str]) -> Iterator[str]:
    by_reason: dict[str, list[str]] = {}
    for column in columns:
        reason = HISTORY_REASON if table.name.endswith("_history") else REASONS.get(column, DEFAULT_REASON)
        by_reason.setdefault(reason, []).append(f"`{column}`")
    yield from (f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def _few(columns: list[str]) -> str:
    return ", ".join(column if " " in column else f"`{column}`" for column in columns)


if __name__ == "__main__":
    sys.stdout.write(f"{tables(load_catalog())}\n\n{absent(load_catalog())}\n")
