"""How a table is kept fresh on this very installation.

The catalogue says what a table allows at best; installations differ (bitrix.md 1.3, 1.10, 4). `DATE_UPDATE` of the
recipients came with sender 25.0, has no index, and on PostgreSQL nothing moves it; a module whose rows tell what to
re-read may not be installed. So the rule is decided anew on every load, from the columns the source has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from lettertrail.bitrix.catalog import Strategy, TableEntry, Trigger
from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.port import Source
from lettertrail.errors import TableMissing

CLOUD = "bitrix24"


@dataclass(frozen=True, slots=True)
class Freshness:
    """The rule a table is really kept fresh by."""

    strategy: Strategy
    cursor: str | None
    reason: str
    """What was found, and what follows from it; for the DAG's docs."""
    touched_by: tuple[Trigger, ...] = ()
    """The entry's triggers, as far as their tables and columns are there."""


def probe(source: Source, entry: TableEntry, columns: Sequence[Column]) -> Freshness:
    """`decide`, with a look at the tables whose changes would tell what to re-read.

    Raises:
        SourceError: the source could not be asked.
    """
    if source.kind == CLOUD:
        return decide(entry, columns, source.kind)
    others: dict[str, frozenset[str]] = {}
    for table in {table for trigger in entry.touched_by for table in trigger.tables} - {entry.name}:
        try:
            found = source.columns(_only_named(table))
        except TableMissing:
            continue
        others[table] = frozenset(column.name for column in found)
    return decide(entry, columns, source.kind, others=others)


def decide(
    entry: TableEntry, columns: Sequence[Column], kind: str, *, others: Mapping[str, Collection[str]] | None = None
) -> Freshness:
    """The best rule that what is there allows.

    Args:
        columns: the table's own, as the source has them now.
        kind: `mysql`, `postgresql` or `bitrix24`.
        others: the triggers' tables that are there, with their columns; None: all of them are.
    """
    if entry.strategy in ("full", "append"):
        return Freshness(entry.strategy, None, "as declared")
    if kind == CLOUD:
        there = entry.cursor in {column.name for column in columns}
        reason = "the portal's own lists say what changed"
        return Freshness(entry.strategy, entry.cursor if there else None, reason, entry.touched_by)
    cursor, said = _cursor(entry, {column.name: column for column in columns}, kind)
    triggers = entry.touched_by
    if others is not None:
        kept = [_as_far_as_there(trigger, {**others, entry.name: [c.name for c in columns]}) for trigger in triggers]
        triggers = tuple(trigger for trigger in kept if trigger is not None)
        said += _lost(entry.touched_by, triggers)
    if triggers:
        strategy: Strategy = "touched_by"
    elif cursor is not None:
        strategy = "modified"
    else:
        strategy = "full"
        said.append("nothing else tells what changed: read whole every time")
    return Freshness(strategy, cursor, "; ".join(said) or "as declared", triggers)


def applied(entry: TableEntry, freshness: Freshness) -> TableEntry:
    """The entry as it is to be loaded here."""
    return replace(
        entry,
        strategy=freshness.strategy,
        cursor=freshness.cursor,
        touched_by=freshness.touched_by,
        tail=None if freshness.strategy == "full" else entry.tail,
    )


def _cursor(entry: TableEntry, columns: Mapping[str, Column], kind: str) -> tuple[str | None, list[str]]:
    """The change time to follow, or None, and what was found."""
    if entry.cursor is None:
        return None, []
    name, column = entry.cursor, columns.get(entry.cursor)
    if column is None:
        refused = f"{name} is not there"
    elif not column.pg_type.startswith("timestamp"):
        refused = f"{name} is {column.pg_type}, no time"
    elif "moves_by_itself" in entry.cursor_if and not column.moves_by_itself:
        refused = f"{name} is there, but {kind} does not move it by itself here: not believed"
    elif "indexed" in entry.cursor_if and not column.indexed:
        refused = f"{name} moves, but has no index: not worth reading the whole table for"
    else:
        return name, [] if column.indexed else [f"{name} has no index: one scan in the source per load"]
    return None, [refused]


def _as_far_as_there(trigger: Trigger, tables: Mapping[str, Collection[str]]) -> Trigger | None:
    """The trigger without the conditions whose columns are missing; None when nothing of it can be asked."""
    there = tables.get(trigger.table)
    if there is None or trigger.column not in there:
        return None
    if trigger.via is not None and not {trigger.via.column, trigger.via.gives} <= set(
        tables.get(trigger.via.table, ())
    ):
        return None
    by_age = trigger.young_by is not None and trigger.young_by in there
    left = replace(
        trigger,
        new_by=trigger.new_by if trigger.new_by in there else None,
        modified_by=trigger.modified_by if trigger.modified_by in there else None,
        open_while={column: words for column, words in trigger.open_while.items() if column in there},
        young_by=trigger.young_by if by_age else None,
        young_days=trigger.young_days if by_age else None,
    )
    return left if left.new_by or left.modified_by or left.open_while or left.young_by else None


def _lost(declared: Sequence[Trigger], kept: Sequence[Trigger]) -> list[str]:
    missing = {trigger.table for trigger in declared} - {trigger.table for trigger in kept}
    if missing:
        return [f"changes of {', '.join(sorted(missing))} cannot be followed: not there"]
    return ["a trigger's column is not there"] if tuple(declared) != tuple(kept) else []


def _only_named(table: str) -> TableEntry:
    """An entry that asks for nothing but a table's columns."""
    return TableEntry(name=table, description="", strategy="full", key=(), why="")
