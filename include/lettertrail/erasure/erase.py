"""Erases a person: first where nothing can be rolled back (services, sites, Bitrix), then the warehouse in one
transaction with the proof. Killed before the commit, the warehouse still knows whom to erase and the next run repeats
calls that are idempotent; killed after it, there is nothing left to do.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lettertrail.clock import Clock
from lettertrail.erasure.keys import ErasureKey, last_digits
from lettertrail.erasure.ledger import erase_ledger
from lettertrail.erasure.person import Person, find_person
from lettertrail.erasure.places import PLACES, Place
from lettertrail.erasure.scrub import Scope, Search, Table, clear, scrub, search_for, tables
from lettertrail.erasure.tell import Others, tell
from lettertrail.errors import ConfigurationError, ErasureIncomplete
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.session import translated_errors

log = logging.getLogger(__name__)

LOCK = "select pg_advisory_xact_lock(hashtextextended('lettertrail erasure', 0))"


@dataclass(frozen=True, slots=True)
class Plan:
    """What an erasure would touch: counts only, fit to be shown and kept."""

    person_hash: str
    addresses: int
    numbers: int
    cards: Mapping[str, int]
    places: Mapping[str, int]
    """Table -> rows."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Who said yes, and when."""

    by: str
    """Airflow's number of the user, not the name."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Erased:
    """The proof of an erasure."""

    erasure_id: int
    services: Mapping[str, Mapping[str, int]]
    """Account -> outcome -> how many of the person's addresses or cards."""
    places: Mapping[str, int]
    """Table -> rows."""


def plan_erasure(dsn: str, key: ErasureKey, reference: str, *, clock: Clock) -> Plan:
    """What would be changed where. It is tried and rolled back, so the counts are those of the erasure itself.

    Raises:
        ConfigurationError: nobody has that reference, or it is none.
    """
    with translated_errors("the plan of an erasure"), connect(dsn, purpose="erasure plan") as connection:
        connection.execute(LOCK)
        person = person_of(connection, key, reference)
        places = _erase_rows(connection, key, person, Scope(0, clock()))
        connection.rollback()
    return Plan(
        key.digest("person", person.person_id),
        len(person.emails),
        len(person.phones),
        {kind: len(ids) for kind, ids in person.cards.items()},
        places,
    )


def erase_person(
    dsn: str,
    key: ErasureKey,
    reference: str,
    others: Others,
    *,
    case: str,
    approval: Approval,
    run_id: str,
    clock: Clock,
) -> Erased | None:
    """Erases the person behind a reference everywhere. None: they were erased before, and nothing is left to change.

    Args:
        others: whom to tell first.
        case: where the request is on file; no personal data.

    Raises:
        ConfigurationError: nobody has that reference, or `case` holds an address.
        ErasureIncomplete: a service or Bitrix gave no certain answer; the warehouse still knows the person, run again.
        WarehouseError, ContractError: the warehouse broke off or refuses a pseudonym; the text quotes no value.
    """
    if "@" in case:
        raise ConfigurationError("param case: an e-mail address would stay in Airflow for ever; give a ticket's number")
    started = clock()
    with translated_errors("an erasure"), connect(dsn, purpose="erasure") as connection:
        person = person_of(connection, key, reference)
    answers = tell(others, key, person)
    waiting = sorted(where for where, counts in answers.items() if counts["retry_pending"])
    if waiting:
        raise ErasureIncomplete(f"no certain answer from {', '.join(waiting)}; nothing was erased here yet, run again")
    with translated_errors("an erasure"), connect(dsn, purpose="erasure") as connection:
        connection.execute(LOCK)
        scope = Scope(next_load(connection), started)
        # What was loaded up to now is searched as a whole; what is committed later is looked at before the next build.
        connection.execute(
            "insert into ops.erasure_checks select load_id, %s from ops.loads on conflict do nothing", [started]
        )
        places = _erase_rows(connection, key, person, scope)
        if not places and not person.emails:
            connection.rollback()
            return None
        end_memberships(connection, pseudonyms_of(key, person), scope)
        proof = _Proof(run_id, case, approval, answers, places, started, clock())
        erasure_id = _prove(connection, key, person, proof)
        note_load(connection, scope, places, run_id=run_id, ended=clock())
    log.info("erasure %d complete: %d tables, %d rows", erasure_id, len(places), sum(places.values()))
    return Erased(erasure_id, {where: dict(counts) for where, counts in answers.items()}, places)


def person_of(connection: Connection, key: ErasureKey, reference: str) -> Person:
    """As `find_person`.

    Raises:
        ConfigurationError: nobody has that reference, or it is none.
    """
    person = find_person(connection, key, reference)
    if person is None:
        raise ConfigurationError("param person: the marts know nobody of that reference")
    return person


def _erase_rows(connection: Connection, key: ErasureKey, person: Person, scope: Scope) -> dict[str, int]:
    search = search_for(key, person.emails, person.phones, person.names)
    places = erase_ledger(connection, search, scope)
    places += erase_owned(connection, tables(connection), search, scope, owners(person, pseudonyms_of(key, person)))
    return {table: rows for table, rows in sorted(places.items()) if rows}


def erase_owned(
    connection: Connection, present: Sequence[Table], search: Search, scope: Scope, held: Mapping[str, object], /
) -> Counter[str]:
    """Takes addresses, numbers and hashes out of tables, then what only a card leads to; gives table -> changes.

    A row that loses both counts twice.
    """
    places: Counter[str] = Counter()
    for table in present:
        places[table.full_name] += scrub(connection, table, search, scope)
    by_name = {table.full_name: table for table in present}
    everywhere = tables(connection)
    for place in PLACES:
        if place.table in by_name and is_readable(place, everywhere):
            places[place.table] += clear(connection, by_name[place.table], place, held, scope)
    return places


def owners(person: Person, pseudonyms: Sequence[str]) -> dict[str, object]:
    """The parameters of `Place.owned`."""
    return {
        **{f"{kind}s": list(ids) for kind, ids in person.cards.items()},
        "pseudonyms": list(pseudonyms),
        "full_names": list(person.full_names),
        "people": [person.person_id],
    }


def is_readable(place: Place, present: Iterable[Table]) -> bool:
    """Whether the warehouse has all tables that say whose the rows are; small sites lack some."""
    return set(re.findall(r"raw_bitrix\.b_\w+", place.owned)) <= {table.full_name for table in present}


def pseudonyms_of(key: ErasureKey, person: Person) -> list[str]:
    """What stands, or will stand, for the person's addresses and numbers."""
    made = [*(key.email(email) for email in person.emails), *(key.phone(phone) for phone in person.phones)]
    return [*made, *person.pseudonyms]


def end_memberships(connection: Connection, pseudonyms: Sequence[str], scope: Scope) -> None:
    """A service knows nobody by a pseudonym: no plan may want to suppress one there."""
    connection.execute(
        "update raw_esp.contacts set _deleted_at = %(at)s, _load_id = %(load)s, _loaded_at = %(at)s"
        " where email = any(%(pseudonyms)s) and _deleted_at is null",
        {"at": scope.at, "load": scope.load_id, "pseudonyms": list(pseudonyms)},
    )


def next_load(connection: Connection) -> int:
    """The number under which the changed rows become a load."""
    row = connection.execute("select nextval('ops.loads_load_id_seq')").fetchone()
    assert row is not None
    return int(row[0])


def note_load(connection: Connection, scope: Scope, places: Mapping[str, int], *, run_id: str, ended: datetime) -> None:
    """The changed rows as one load, for all that look at what loads brought."""
    rows = sum(count for table, count in places.items() if table.startswith("raw_"))
    connection.execute(
        "insert into ops.loads (load_id, run_id, target, strategy, read, inserted, updated, unchanged, quarantined,"
        " deleted, started_at, finished_at) values (%s, %s, 'erasure', 'erasure', %s, 0, %s, 0, 0, 0, %s, %s)",
        [scope.load_id, run_id, rows, rows, scope.at, ended],
    )
    connection.execute("insert into ops.erasure_checks values (%s, %s)", [scope.load_id, scope.at])


@dataclass(frozen=True, slots=True)
class _Proof:
    run_id: str
    case: str
    approval: Approval
    answers: Mapping[str, Mapping[str, int]]
    places: Mapping[str, int]
    started_at: datetime
    finished_at: datetime


def _prove(connection: Connection, key: ErasureKey, person: Person, proof: _Proof) -> int:
    row = connection.execute(
        "insert into ops.erasures (run_id, person_hash, reference, cards, services, places, approved_by, approved_at,"
        " started_at, finished_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning erasure_id",
        [
            proof.run_id, key.digest("person", person.person_id), proof.case, json.dumps(dict(person.cards)),
            json.dumps(proof.answers), json.dumps(proof.places), proof.approval.by, proof.approval.at,
            proof.started_at, proof.finished_at,
        ],
    ).fetchone()  # fmt: skip
    assert row is not None
    identifiers = [("email", key.digest("email", email), key.email(email)) for email in person.emails]
    identifiers += [("phone", key.digest("phone", last_digits(phone)), key.phone(phone)) for phone in person.phones]
    for kind, digest, pseudonym in identifiers:
        connection.execute(
            "insert into ops.erased_identifiers values (%s, %s, %s, %s, %s) on conflict (kind, digest) do nothing",
            [kind, digest, pseudonym, row[0], proof.started_at],
        )
    return int(row[0])
