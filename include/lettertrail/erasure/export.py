"""Everything that is known about a person, as one file for them (GDPR, article 15)."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import sql

from lettertrail.clock import Clock
from lettertrail.erasure.erase import is_readable, owners, person_of, pseudonyms_of
from lettertrail.erasure.keys import ErasureKey
from lettertrail.erasure.places import PLACES
from lettertrail.erasure.scrub import beside_parameters, search_for, tables
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.session import translated_errors

log = logging.getLogger(__name__)

DELIVERIES = "raw_inbox.deliveries"


@dataclass(frozen=True, slots=True)
class Exported:
    """Where the file is, and how much is in it."""

    path: str
    tables: int
    rows: int


def export_person(dsn: str, key: ErasureKey, reference: str, directory: Path, *, clock: Clock) -> Exported:
    """Writes one JSON file that only its owner may read: table -> rows, each as the warehouse holds it.

    Raises:
        ConfigurationError: nobody has that reference, or it is none.
    """
    at = clock()
    found: dict[str, list[Any]] = {}
    with translated_errors("an export"), connect(dsn, purpose="export of a person") as connection:
        connection.execute("set transaction isolation level repeatable read read only")
        person = person_of(connection, key, reference)
        search = search_for(key, person.emails, person.phones, ())
        held = owners(person, pseudonyms_of(key, person))
        # What was erased before is known by its pseudonym, what was not by itself.
        held["pseudonyms"] = [*person.emails, *person.phones, *person.pseudonyms]
        present = tables(connection)
        for table in present:
            told = sql.SQL("to_jsonb(each)")
            conditions = [beside_parameters(search.finds(table, "each"), connection)] if search.strong else []
            if table.full_name == DELIVERIES and search.strong:
                # Bodies are bytes: as text they are of use to the person, and are found.
                told = sql.SQL("to_jsonb(each) || jsonb_build_object('body', encode(body, 'escape'))")
                pattern = sql.SQL("encode(body, 'escape') ~* {}").format(sql.Literal(search.pattern))
                conditions.append(beside_parameters(pattern, connection))
            conditions += [
                sql.SQL("({})").format(sql.SQL(place.owned))
                for place in PLACES
                if place.table == table.full_name and is_readable(place, present)
            ]
            if not conditions:
                continue
            statement = sql.SQL("select {} from {} as each where {}").format(
                told, table.relation, sql.SQL(" or ").join(conditions)
            )
            rows = [row[0] for row in connection.execute(statement, held)]
            if rows:
                found[table.full_name] = rows
    path = _write(directory, key.digest("person", person.person_id)[:16], at, found)
    log.info("export of a person: %d tables, %d rows", len(found), sum(map(len, found.values())))
    return Exported(str(path), len(found), sum(map(len, found.values())))


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
