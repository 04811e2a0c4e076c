"""Everything that is known about a person, as one file for them (GDPR, article 15)."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import sql

from lettertrail.clock import Clock
from lettertrail.erasure.catalogue import BYTES, Table, tables
from lettertrail.erasure.erase import owners, person_of, pseudonyms_of, sender_addresses
from lettertrail.erasure.keys import ErasureKey
from lettertrail.erasure.person import Person
from lettertrail.erasure.places import PLACES, SENDER_ADDRESSES
from lettertrail.erasure.rows import Findings, at, find_rows, not_seen_through, reading
from lettertrail.erasure.scrub import beside_parameters, is_readable
from lettertrail.erasure.search import Search, search_for
from lettertrail.warehouse.connect import Connection
from lettertrail.warehouse.session import translated_errors

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the file is, and how much is in it."""

    path: str
    tables: int
    rows: int


def export_person(dsn: str, key: ErasureKey, reference: str, directory: Path, *, clock: Clock) -> Exported:
    """Writes one JSON file that only its owner may read: table -> rows, each as the warehouse holds it.

    The rows are read in one snapshot, so they fit together. The search for them goes before it, one table after the
    other: a snapshot that lasted for all of it would keep every build waiting that long.

    Raises:
        ConfigurationError: nobody has that reference, or it is none.
    """
    started = clock()
    with translated_errors("an export"), reading(dsn, purpose="export of a person") as connection:
        person = person_of(connection, key, reference)
        search = search_for(key, person.emails, person.phones, ())
        findings = find_rows(connection, search, clock=clock)
        present = tables(connection)
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read read only")
            _hold_still(connection, present)
            found = _rows(connection, key, person, search, findings=findings, present=present)
    path = _write(directory, key.digest("person", person.person_id)[:16], started, found)
    log.info("export of a person: %d tables, %d rows", len(found), sum(map(len, found.values())))
    return Exported(str(path), len(found), sum(map(len, found.values())))


def _hold_still(connection: Connection, present: Sequence[Table]) -> None:
    """Before the snapshot is taken: of a table that took another's place since, a snapshot sees no row."""
    names = sql.SQL(", ").join(table.relation for table in present)
    connection.execute(sql.SQL("lock table only {} in access share mode").format(names))


def _rows(
    connection: Connection,
    key: ErasureKey,
    person: Person,
    search: Search,
    *,
    findings: Findings,
    present: Sequence[Table],
) -> dict[str, list[Any]]:
    reach = {table.full_name: not_seen_through(connection, table, findings) for table in present if search.strong}
    held = owners(person, pseudonyms_of(key, person))
    # What was erased before is known by its pseudonym, what was not by itself.
    held["pseudonyms"] = [*person.emails, *person.phones, *person.pseudonyms]
    held["addresses"] = sender_addresses(connection, search, reach.get(SENDER_ADDRESSES, ()), held)
    found: dict[str, list[Any]] = {}
    for table in present:
        conditions = [
            beside_parameters(sql.SQL("{} and {}").format(condition, search.finds(table, "each")), connection)
            for condition in reach.get(table.full_name, ())
        ]
        conditions += [
            sql.SQL(place.owned) for place in PLACES if place.table == table.full_name and is_readable(place, present)
        ]
        places: dict[str, None] = {}
        for condition in conditions:
            statement = sql.SQL("select ctid::text from {} as each where {}").format(table.relation, condition)
            places.update(dict.fromkeys(place for (place,) in connection.execute(statement, held)))
        if places:
            statement = sql.SQL("select {} from {} as each where {}").format(
                _told(table), table.relation, at(list(places))
            )
            found[table.full_name] = [row for (row,) in connection.execute(statement)]
    return found


def _told(table: Table) -> sql.Composable:
    if table.full_name not in BYTES:
        return sql.SQL("to_jsonb(each)")
    # Bytes are of use to the person as text.
    column = BYTES[table.full_name]
    return sql.SQL("to_jsonb(each) || jsonb_build_object({}, encode({}, 'escape'))").format(
        sql.Literal(column), sql.Identifier(column)
    )


def _write(directory: Path, name: str, at: datetime, found: dict[str, list[Any]]) -> Path:
    """Whole or not at all, and never readable by others."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"person-{name}-{at:%Y%m%dT%H%M%SZ}.json"
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump({"exported_at": at.isoformat(), "tables": found}, file, ensure_ascii=False, indent=2)
    partial.replace(path)
    return path
