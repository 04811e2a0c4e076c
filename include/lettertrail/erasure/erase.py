"""Erases a person: first where nothing can be rolled back (services, sites, Bitrix), then the warehouse in one
transaction with the proof. Killed before the commit, the warehouse still knows whom to erase and the next run repeats
calls that are idempotent; killed after it, there is nothing left to do.

That transaction is short: a search that only reads goes before it (`rows.py`).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from psycopg import sql

from lettertrail.clock import Clock
from lettertrail.erasure.catalogue import Table, tables
from lettertrail.erasure.keys import ErasureKey, last_digits
from lettertrail.erasure.ledger import erase_ledger
from lettertrail.erasure.numbers import numbered, numbers_in, renumber
from lettertrail.erasure.person import Person, find_person
from lettertrail.erasure.places import IDENTIFIERS, PLACES, SENDER_ADDRESSES
from lettertrail.erasure.rows import Findings, Scope, at, find_rows, reading
from lettertrail.erasure.scrub import beside_parameters, clear, is_readable, scrub, to_clear
from lettertrail.erasure.search import Search, search_for
from lettertrail.erasure.tell import Others, tell
from lettertrail.errors import ConfigurationError, ErasureIncomplete
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.ledger import next_load_id
from lettertrail.warehouse.session import Session, translated_errors

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

    by: str = field(repr=False)
    """Airflow's number of the user; with some of its auth managers the name, which the proof does not hold."""
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
    """What would be changed where: the counts of the erasure itself, as long as nobody writes anything in between.

    Nothing is changed and nobody has to wait: it reads one table after the other.

    Raises:
        ConfigurationError: nobody has that reference, or it is none.
    """
    with translated_errors("the plan of an erasure"), reading(dsn, purpose="erasure plan") as connection:
        person = person_of(connection, key, reference)
        search = search_for(key, person.emails, person.phones, person.names)
        findings = find_rows(connection, search, clock=clock)
        places = _count_rows(connection, key, person, search, findings)
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
    with translated_errors("an erasure"), reading(dsn, purpose="erasure") as connection:
        person = person_of(connection, key, reference)
    answers = tell(others, key, person)
    waiting = sorted(where for where, counts in answers.items() if counts["retry_pending"])
    if waiting:
        raise ErasureIncomplete(f"no certain answer from {', '.join(waiting)}; nothing was erased here yet, run again")
    search = search_for(key, person.emails, person.phones, person.names)
    with translated_errors("an erasure"), reading(dsn, purpose="erasure search") as connection:
        findings = find_rows(connection, search, clock=clock)
    with translated_errors("an erasure"), connect(dsn, purpose="erasure") as connection:
        connection.execute(LOCK)
        scope = Scope(next_load_id(Session(connection)), started, findings=findings)
        # What is committed by now is either what the search saw or new to it, and then looked at here; what is
        # committed later is looked at before the next build.
        connection.execute(
            "insert into ops.erasure_checks select load_id, %s from ops.loads on conflict do nothing", [started]
        )
        places = _erase_rows(connection, key, person, search, scope)
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


def _erase_rows(
    connection: Connection, key: ErasureKey, person: Person, search: Search, scope: Scope
) -> dict[str, int]:
    places = erase_ledger(connection, search, scope)
    held = owners(person, pseudonyms_of(key, person))
    places += erase_owned(connection, key, tables(connection), search, scope, held=held)
    return {table: rows for table, rows in sorted(places.items()) if rows}


def erase_owned(
    connection: Connection,
    key: ErasureKey,
    present: Sequence[Table],
    search: Search,
    scope: Scope,
    *,
    held: Mapping[str, object],
) -> Counter[str]:
    """Takes addresses, numbers and hashes out of tables, then what only a card leads to; gives table -> rows.

    A row counts once, whatever of it changed.
    """
    places: Counter[str] = Counter()
    by_name = {table.full_name: table for table in present}
    reach = {
        name: scope.reach(connection, by_name[name]) for name in (SENDER_ADDRESSES, IDENTIFIERS) if name in by_name
    }
    owned = {**held, "addresses": sender_addresses(connection, search, reach.get(SENDER_ADDRESSES, ()), held)}
    numbers = numbers_in(connection, present, search, reach.get(IDENTIFIERS, ()))
    places.update(renumber(connection, key, numbers, scope))
    for table in present:
        places[table.full_name] += scrub(connection, table, search, scope)
    everywhere = tables(connection)
    for place in PLACES:
        if place.table in by_name and is_readable(place, everywhere):
            places[place.table] += clear(connection, by_name[place.table], place, owned, scope)
    return places


def _count_rows(
    connection: Connection, key: ErasureKey, person: Person, search: Search, findings: Findings
) -> dict[str, int]:
    """The same without changing anything: rows that were found, and others that belong to the person."""
    present = tables(connection)
    by_name = {table.full_name: table for table in present}
    found = {name: [at(findings.rows(table))] for name, table in by_name.items()}
    held = owners(person, pseudonyms_of(key, person))
    held["addresses"] = sender_addresses(connection, search, found.get(SENDER_ADDRESSES, ()), held)
    held["numbers"] = numbers_in(connection, present, search, found.get(IDENTIFIERS, ()))
    others: dict[str, list[sql.Composable]] = {}
    tables_of = dict(by_name)
    for table, _, condition in numbered(connection):
        tables_of[table.full_name] = table
        others.setdefault(table.full_name, []).append(condition)
    for place in PLACES:
        held_there = to_clear(connection, by_name[place.table], place) if place.table in by_name else None
        if held_there is not None and is_readable(place, present):
            others.setdefault(place.table, []).append(held_there)
    places = Counter({name: len(seen.rows) for name, seen in findings.seen.items()})
    for name, conditions in others.items():
        table = tables_of[name]
        statement = sql.SQL("select count(*) from {} as each where ({}) and not {}").format(
            table.relation, sql.SQL(") or (").join(conditions), at(findings.rows(table))
        )
        row = connection.execute(statement, held).fetchone()
        places[name] += row[0] if row else 0
    return {table: rows for table, rows in sorted(places.items()) if rows}


def owners(person: Person, pseudonyms: Sequence[str]) -> dict[str, object]:
    """The parameters of `Place.owned` but for `addresses`."""
    return {
        **{f"{kind}s": list(ids) for kind, ids in person.cards.items()},
        "pseudonyms": list(pseudonyms),
        "full_names": list(person.full_names),
        "people": [person.person_id],
    }


def sender_addresses(
    connection: Connection, search: Search, conditions: Sequence[sql.Composable], held: Mapping[str, object]
) -> list[int]:
    """The numbers under which the sender module has the person's addresses.

    Args:
        conditions: reach between them every row, named `each`, that may be one of them; none where there is no module.
    """
    found: set[int] = set()
    for condition in conditions:
        told = sql.SQL("{} and code ~* {}").format(condition, sql.Literal(search.pattern))
        statement = sql.SQL(
            "select id from raw_bitrix.b_sender_contact as each where code = any(%(pseudonyms)s) or ({})"
        )
        which = beside_parameters(told if search.strong else sql.SQL("false"), connection)
        found.update(number for (number,) in connection.execute(statement.format(which), held))
    return sorted(found)


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


def _approver(key: ErasureKey, by: str) -> str:
    """A number says nothing of a person; a name does, and is kept so that only who knows it can recognise it."""
    return by if by.isdecimal() else key.reference(by)


def _prove(connection: Connection, key: ErasureKey, person: Person, proof: _Proof) -> int:
    row = connection.execute(
        "insert into ops.erasures (run_id, person_hash, reference, cards, services, places, approved_by, approved_at,"
        " started_at, finished_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) returning erasure_id",
        [
            proof.run_id, key.digest("person", person.person_id), proof.case, json.dumps(dict(person.cards)),
            json.dumps(proof.answers), json.dumps(proof.places), _approver(key, proof.approval.by), proof.approval.at,
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
