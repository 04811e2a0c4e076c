"""Every rule of the catalogue brings the row it is for, on MariaDB and on PostgreSQL, and no other.

One row of the table and one of whatever is to touch it are made old; the watermarks are taken; then one condition of
one rule comes true. The row must be read now, and must not have been before. The tables are Bitrix's own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.source_site import NOW, ZONE, fresh_site

from lettertrail.bitrix.catalog import CONTENT_KEY, TableEntry, Trigger, load_catalog
from lettertrail.bitrix.freshness import applied, probe
from lettertrail.bitrix.reference import SAME_SHAPE
from lettertrail.bitrix.sql import SqlSource
from lettertrail.sandbox.bitrix_schema import Column, tables
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.sandbox.postgres_site_schema import create, keys, postgres_tables
from lettertrail.warehouse.embedded import EmbeddedPostgres

ENTRIES = [entry for entry in load_catalog() if entry.strategy != "full"]
NAMES = sorted({name for entry in ENTRIES for name in (entry.name, *(t for tr in entry.touched_by for t in tr.tables))})
V, LATER, FAR = 1_000_005, 1_000_006, 3_000_000
"""The id that links row and trigger, the one of a new row, and one so high that no tail reaches down to V."""
OLD, KNOWN, NEW = "2026-01-01 00:00:00", "2026-10-10 00:00:00", "2026-10-20 00:00:00"


@dataclass(frozen=True)
class Place:
    """A database with the tables of the catalogue, by its own driver."""

    source: SqlSource
    execute: Callable[[str], None]
    query: Callable[[str], list[dict[str, Any]]]
    quote: str
    columns: Mapping[str, tuple[Column, ...]]

    def insert(self, table: str, values: Mapping[str, object]) -> None:
        """A row; what must not be NULL and is not given is nothing in particular, but different where it must be."""
        row = {column.name.lower(): _nothing(column) for column in self.columns[table] if not column.is_nullable}
        for key in tables()[_shape(table)].keys:
            if key.kind == "UNI":
                number = max((value for value in values.values() if isinstance(value, int)), default=0)
                for name in {column.partition("(")[0].lower() for column in key.columns} & row.keys():
                    row[name] = str(number) if isinstance(row[name], str) else number
        row |= values
        names = ", ".join(f"{self.quote}{name}{self.quote}" for name in row)
        self.execute(f"insert into {table} ({names}) values ({', '.join(map(_literal, row.values()))})")

    def update(self, table: str, where: str, value: object, **change: object) -> None:
        """Sets one column of the rows in which another one has a value."""
        ((name, new),) = change.items()
        q = self.quote
        self.execute(f"update {table} set {q}{name}{q} = {_literal(new)} where {q}{where}{q} = {_literal(value)}")

    def read(self, entry: TableEntry, marks: Mapping[str, Any]) -> set[tuple[str, ...]]:
        """The keys of the rows that may have changed since, as text and without days."""
        # By the statement itself: to stream a thousand answers of a row each would take minutes.
        statement = self.source._statements.changes(entry, self.source.columns(entry), marks, now=NOW)
        assert statement is not None
        return {_key(entry, row) for row in self.query(statement)}

    def has(self, entry: TableEntry) -> bool:
        return entry.name in self.columns


def _key(entry: TableEntry, row: Mapping[str, object]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in entry.key if name != "day")


def _nothing(column: Column) -> object:
    if column.mysql_type.startswith(("date", "timestamp")):
        return OLD
    return "" if column.mysql_type.startswith(("char", "varchar", "text", "mediumtext", "longtext")) else 0


def _literal(value: object) -> str:
    return str(value) if isinstance(value, int) else f"'{value}'"


def _shape(name: str) -> str:
    return name if name in tables() else SAME_SHAPE[name]


def _ask_mysql(cursor: Any, statement: str) -> list[dict[str, Any]]:
    cursor.execute(statement)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(scope="module")
def mysql_place(mariadb: MariaDb) -> Iterator[Place]:
    """The tables on MariaDB."""
    with fresh_site(mariadb) as site:
        connection = connect(site.dsn)
        cursor = connection.cursor()
        connection.autocommit(True)
        for name in NAMES:
            # Nothing here has to survive a crash, and a thousand commits to disk would take minutes.
            ddl = replace(tables()[_shape(name)], name=name).ddl()
            cursor.execute(ddl.replace("ENGINE=InnoDB", "ENGINE=Aria TRANSACTIONAL=0"))
        columns = {name: tables()[_shape(name)].columns for name in NAMES}
        yield Place(site.source, cursor.execute, partial(_ask_mysql, cursor), "`", columns)
        site.source.close()
        connection.close()


@pytest.fixture(scope="module")
def postgres_place(postgres: EmbeddedPostgres) -> Iterator[Place]:
    """The tables on PostgreSQL, as far as Bitrix has them there."""
    name = f"rules_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute(f"create database {name}")
        with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
            present = [table for table in NAMES if _shape(table) in postgres_tables()]
            for table in present:
                made = replace(postgres_tables()[_shape(table)], name=table)
                for statement in (create(made), *keys(made)):
                    connection.execute(statement)
            source = SqlSource(postgres.dsn(name), ZONE)
            columns = {table: tables()[_shape(table)].columns for table in present}
            asked = connection.cursor(row_factory=dict_row)
            yield Place(
                source, lambda one: asked.execute(one) and None, lambda one: asked.execute(one).fetchall(), '"', columns
            )
            source.close()
        admin.execute(f"drop database {name} with (force)")


@dataclass
class Case:
    """One table and one condition of one of its rules."""

    place: Place
    entry: TableEntry
    own: dict[str, object] = field(default_factory=dict)

    def base(self, trigger: Trigger | None) -> None:
        """The row that waits to be touched, and another far above it, so that no tail reaches it."""
        for table in {self.entry.name, *(table for one in self.entry.touched_by for table in one.tables)}:
            if table in self.place.columns:
                self.place.execute(f"delete from {table}")
        types = {column.name.lower(): column.mysql_type for column in self.place.columns[self.entry.name]}
        self.own = {name: {"char(1)": "Y", "date": OLD[:10]}.get(types[name], V) for name in self.entry.key}
        if trigger is not None:
            self.own |= {trigger.matches: V, **trigger.where}
        times = [self.entry.cursor, *(one.modified_by for one in self.entry.touched_by if self._is_own(one))]
        self.own |= dict.fromkeys(filter(None, times), OLD)
        self.own |= {one.young_by: OLD for one in self.entry.touched_by if one.young_by and self._is_own(one)}
        self.place.insert(self.entry.name, self.own)
        other = {name: _far(value) for name, value in self.own.items()}
        self.place.insert(self.entry.name, {**other, **dict.fromkeys(filter(None, times), KNOWN)})

    def _is_own(self, trigger: Trigger) -> bool:
        return trigger.table == self.entry.name

    @property
    def key(self) -> tuple[str, ...]:
        return _key(self.entry, self.own)

    def check(self, fire: Callable[[], None]) -> None:
        """Not read before, read once the condition holds."""
        columns = self.place.source.columns(self.entry)
        marks = self.place.source.marks(self.entry, columns, now=NOW)
        assert self.key not in self.place.read(self.entry, marks)
        fire()
        assert self.key in self.place.read(self.entry, marks)


def _far(value: object) -> object:
    return FAR if value == V else value


def _there(place: Place, entry: TableEntry) -> TableEntry | None:
    """The entry as it is in force there, a change time under conditions left out."""
    if not place.has(entry):
        return None
    return applied(entry, probe(place.source, entry, place.source.columns(entry)))


@pytest.fixture(params=["mysql_place", "postgres_place"])
def place(request: pytest.FixtureRequest) -> Place:
    """Each of the two databases."""
    found: Place = request.getfixturevalue(request.param)
    return found


def check_trigger(place: Place, entry: TableEntry, trigger: Trigger) -> int:
    """Every condition of a trigger, one after the other; returns how many."""
    single = replace(entry, touched_by=(trigger,))
    is_own = trigger.table == entry.name
    link = trigger.column if trigger.via is None else trigger.via.column
    value = V if trigger.via is None or link != "id" else V + 50
    conditions: list[tuple[str, object, object]] = []
    if trigger.modified_by:
        conditions.append((trigger.modified_by, OLD, NEW))
    conditions += [(name, "?", words[-1]) for name, words in trigger.open_while.items()]
    if trigger.young_by:
        conditions.append((trigger.young_by, OLD[:10], "2026-10-30"))
    for name, before, after in conditions:
        case = Case(place, single)
        case.base(trigger)
        if not is_own:
            place.insert(trigger.table, {trigger.column: value, **_id(place, trigger, value), name: before})
            rest = {trigger.column: FAR, **_id(place, trigger, FAR)}
            place.insert(trigger.table, rest | ({name: KNOWN} if name == trigger.modified_by else {}))
            _link(place, trigger, value)
        matched = case.own[trigger.matches] if is_own else value
        where = trigger.matches if is_own else trigger.column

        def come_true(name: str = name, after: object = after, where: str = where, matched: object = matched) -> None:
            place.update(trigger.table, where, matched, **{name: after})

        case.check(come_true)
    if trigger.new_by:
        case = Case(place, single)
        case.base(trigger)
        _link(place, trigger, value)
        case.check(lambda: place.insert(trigger.table, {**_id(place, trigger, LATER), trigger.column: value}))
    return len(conditions) + bool(trigger.new_by)


def _id(place: Place, trigger: Trigger, value: int) -> dict[str, object]:
    return {"id": value} if any(column.name == "ID" for column in place.columns[trigger.table]) else {}


def _link(place: Place, trigger: Trigger, value: int) -> None:
    if trigger.via is not None:
        place.insert(trigger.via.table, {trigger.via.column: value, trigger.via.gives: V})


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_rule_brings_its_row(place: Place, entry: TableEntry) -> None:
    """New ids, later change times, new events, open and young parents, and tables in between."""
    assert entry.key != CONTENT_KEY
    found = _there(place, entry)
    if found is None:
        assert entry.name.startswith("b_conv_")  # module conversion does not run on PostgreSQL
        return
    checked = sum(check_trigger(place, found, trigger) for trigger in found.touched_by)
    alone = replace(found, touched_by=(), strategy="modified" if found.cursor else "append")
    if found.cursor is not None:
        case = Case(place, alone)
        case.base(None)
        cursor = found.cursor
        case.check(lambda: place.update(entry.name, found.key[-1], case.own[found.key[-1]], **{cursor: NEW}))
        checked += 1
    if found.tail is not None:
        case = Case(place, alone)
        case.base(None)
        case.own = {**case.own, found.key[0]: FAR + 1}
        case.check(lambda: place.insert(entry.name, case.own))
        checked += 1
    assert checked
