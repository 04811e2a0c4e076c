"""Door 1, Bitrix: is the copy complete and made of words we know?

The words come from the module's own constants (letters of `b_sender_*`: Bitrix reference 1.2 to 1.4), so an unknown
one means that the site was updated and that staging would misread it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from lettertrail.expectations.rhythm import Stream, rhythm
from lettertrail.expectations.suite import (
    Suite,
    between,
    computed_once,
    contains,
    not_before,
    not_empty,
    not_null,
    one_of,
    unique,
)
from lettertrail.expectations.volumes import volumes
from lettertrail.warehouse.connect import Connection

SCHEMA = "raw_bitrix"
MAX_ORPHAN_SHARE = 0.05
"""Sites delete by hand, so a few orphans are normal; more means that a parent was not copied."""

YES_NO = ("Y", "N")
SEMANTICS = ("P", "S", "F")


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    words: dict[str, tuple[object, ...]] = field(default_factory=dict)
    filled: tuple[str, ...] = ()
    key: str | None = "id"
    is_core: bool = False
    order: tuple[str, str] | None = None
    """Two times, the later one first."""
    usual_order: tuple[str, str] | None = None
    """The same where imports and people may have written something else: pointed out, not refused."""


TABLES = (
    _Table(
        "b_sender_mailing_chain",
        is_core=True,
        filled=("mailing_id",),
        words={"status": tuple("NIRSPWHTYXC"), "is_trigger": YES_NO},
    ),
    _Table(
        "b_sender_posting",
        is_core=True,
        filled=("mailing_chain_id",),
        words={"status": tuple("DNPSEAW")},
        order=("date_sent", "date_send"),
    ),
    _Table(
        "b_sender_posting_recipient",
        is_core=True,
        filled=("posting_id", "contact_id"),
        words={"status": tuple("YNEWDA"), "is_read": YES_NO, "is_click": YES_NO, "is_unsub": YES_NO},
    ),
    _Table("b_sender_posting_read", filled=("posting_id",)),
    _Table("b_sender_posting_click", filled=("posting_id",)),
    _Table("b_sender_posting_unsub", filled=("posting_id", "recipient_id")),
    _Table(
        "b_sender_contact",
        is_core=True,
        filled=("code",),
        words={
            "type_id": tuple(range(1, 11)),
            "blacklisted": YES_NO,
            "is_unsub": YES_NO,
            "consent_status": tuple("NWDA"),
        },
    ),
    _Table(
        "b_sender_mailing_subscription",
        key=None,
        filled=("mailing_id", "contact_id"),
        words={"is_unsub": YES_NO},
    ),
    _Table("b_main_mail_blacklist", words={"category_id": (0, 1)}),
    _Table("b_crm_contact", is_core=True, usual_order=("date_modify", "date_create")),
    _Table(
        "b_crm_field_multi",
        is_core=True,
        filled=("entity_id", "element_id"),
        words={"type_id": ("EMAIL", "PHONE", "WEB", "IM", "LINK")},
    ),
    _Table("b_crm_lead", words={"status_semantic_id": SEMANTICS}, usual_order=("date_modify", "date_create")),
    _Table(
        "b_crm_deal",
        words={"stage_semantic_id": SEMANTICS, "closed": YES_NO},
        usual_order=("date_modify", "date_create"),
    ),
    _Table("b_sale_order", words={"payed": YES_NO, "canceled": YES_NO}, usual_order=("date_update", "date_insert")),
)

STREAMS = (
    Stream("letters", f"{SCHEMA}.b_sender_posting", "date_send", is_naive=True),
    Stream("opens", f"{SCHEMA}.b_sender_posting_read", "date_insert", is_naive=True),
    Stream("clicks", f"{SCHEMA}.b_sender_posting_click", "date_insert", is_naive=True),
    Stream("leads", f"{SCHEMA}.b_crm_lead", "date_create", is_naive=True),
    Stream("deals", f"{SCHEMA}.b_crm_deal", "date_create", is_naive=True),
    Stream("orders", f"{SCHEMA}.b_sale_order", "date_insert", is_naive=True),
)

# One row: per relation, which share of the rows has no parent. Deleted parents are still there, marked: no orphans.
ORPHANS = {
    "postings_without_letter": ("b_sender_posting", "mailing_chain_id", "b_sender_mailing_chain"),
    "recipients_without_posting": ("b_sender_posting_recipient", "posting_id", "b_sender_posting"),
    "recipients_without_address": ("b_sender_posting_recipient", "contact_id", "b_sender_contact"),
    "reads_without_recipient": ("b_sender_posting_read", "recipient_id", "b_sender_posting_recipient"),
    "clicks_without_recipient": ("b_sender_posting_click", "recipient_id", "b_sender_posting_recipient"),
    "unsubscribes_without_recipient": (
        "b_sender_posting_unsub",
        "recipient_id",
        "b_sender_posting_recipient",
    ),
}


def suites(connection: Connection, at: datetime, zone: ZoneInfo) -> list[Suite]:
    """The suites for the tables that are there; a core table that is not fails `raw_bitrix.tables`.

    `zone` is the one the site's naive times are in.
    """
    present = _columns(connection)
    found = [_tables()]
    found += [_table_suite(table, present[table.name]) for table in TABLES if table.name in present]
    if orphans := _orphans(present):
        found.append(orphans)
    if loaded := _loaded_tables(connection):
        targets = [(table, f"{SCHEMA}.{table}") for table in loaded]
        found.append(volumes(connection, f"{SCHEMA}.volumes", targets, at))
    if streams := [stream for stream in STREAMS if stream.moment in present.get(stream.table, ())]:
        found.append(rhythm(connection, f"{SCHEMA}.rhythm", streams, at, zone))
    return found


def _tables() -> Suite:
    core = sorted(table.name for table in TABLES if table.is_core)
    return Suite(
        name=f"{SCHEMA}.tables",
        query="select table_name::text as table_name from information_schema.tables where table_schema = 'raw_bitrix'",
        expectations=(contains("table_name", core),),
    )


def _table_suite(table: _Table, present: frozenset[str]) -> Suite:
    """All rows, also those the source deleted since: they were once right.

    A column of words that the site's version does not have is left out; the key and the filled ones must be there.
    """
    words = {column: words for column, words in table.words.items() if column in present}
    key = (table.key,) if table.key else ()
    order = table.order if table.order and present.issuperset(table.order) else None
    usual = table.usual_order if table.usual_order and present.issuperset(table.usual_order) else None
    return Suite(
        name=f"{SCHEMA}.{table.name}",
        relation=f"{SCHEMA}.{table.name}",
        expectations=(
            *([not_empty()] if table.is_core else []),
            *not_null(*key, *table.filled),
            *(unique(column) for column in key),
            *(one_of(column, known) for column, known in words.items()),
            *([not_before(*order)] if order else []),
            *([not_before(*usual, warn_only=True)] if usual else []),
        ),
    )


def _orphans(present: dict[str, frozenset[str]]) -> Suite | None:
    relations = {
        name: relation for name, relation in ORPHANS.items() if relation[0] in present and relation[2] in present
    }
    if not relations:
        return None
    shares = ",\n".join(_orphan_share(name, *relation) for name, relation in relations.items())
    return Suite(
        name=f"{SCHEMA}.relations",
        query=computed_once(f"select {shares}"),
        rows_behind={name: _orphan_rows(*relation) for name, relation in relations.items()},
        expectations=tuple(between(name, at_most=MAX_ORPHAN_SHARE) for name in relations),
    )


def _orphan_share(name: str, child: str, column: str, parent: str) -> str:
    return (
        f"(select count(*) filter (where parent.id is null)::float / nullif(count(*), 0)"  # noqa: S608
        f" from {_with_parents(child, column, parent)}) as {name}"
    )


def _orphan_rows(child: str, column: str, parent: str) -> str:
    return f"select child.* from {_with_parents(child, column, parent)} and parent.id is null"  # noqa: S608


def _with_parents(child: str, column: str, parent: str) -> str:
    return (
        f"{SCHEMA}.{child} as child left join {SCHEMA}.{parent} as parent on child.{column} = parent.id"
        " where child._deleted_at is null"
    )


def _columns(connection: Connection) -> dict[str, frozenset[str]]:
    rows = connection.execute(
        "select table_name, array_agg(column_name::text) from information_schema.columns"
        " where table_schema = %s group by table_name",
        [SCHEMA],
    )
    return {str(name): frozenset(columns) for name, columns in rows}


def _loaded_tables(connection: Connection) -> list[str]:
    """Of the tables above, those that were loaded; others (queues, carts, the recycle bin) empty themselves by rule."""
    names = [f"{SCHEMA}.{table.name}" for table in TABLES]
    rows = connection.execute(
        "select distinct split_part(target, '.', 2) from ops.loads where target = any (%s) order by 1", [names]
    )
    return [str(row[0]) for row in rows]
