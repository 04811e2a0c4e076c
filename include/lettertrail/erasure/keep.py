"""Keeps the erased away: whatever loads, webhooks or letters bring back of them is erased again, before a build."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from psycopg import sql

from lettertrail.clock import Clock
from lettertrail.erasure.catalogue import Table, tables
from lettertrail.erasure.erase import LOCK, end_memberships, erase_owned, note_load, owners
from lettertrail.erasure.keys import ErasureKey, last_digits
from lettertrail.erasure.ledger import erase_ledger
from lettertrail.erasure.person import CARDS, Person, is_there
from lettertrail.erasure.rows import Scope, find_rows, reading
from lettertrail.erasure.search import search_for
from lettertrail.erasure.tell import Sender, suppress
from lettertrail.erasure.unreadable import spelled_out
from lettertrail.errors import ErasureIncomplete
from lettertrail.esps.port import Record, normalise_email
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.ledger import next_load_id
from lettertrail.warehouse.session import Session, translated_errors

log = logging.getLogger(__name__)

ADDRESS = r"[^\s<>\"''(),:;@\\/=&?%[\]{}|]+(?:@|%40)[a-z0-9][a-z0-9.-]*\.[a-z0-9-]+"
NUMBER = r"\+?[0-9][0-9\s().-]{8,20}[0-9]"
_ADDRESSES, _NUMBERS = re.compile(ADDRESS, re.IGNORECASE), re.compile(NUMBER)
_WITHOUT_LOADS = (
    # bytes, in which no search for a text finds anything
    "select encode(body, 'escape') from raw_inbox.deliveries where load_id = any(%(loads)s)",
    "select record::text from ops.quarantine where load_id = any(%(loads)s)",
    "select record::text from ops.failed_rows where last_seen_at >= {since}",
    "select email from raw_inbox.choices where chosen_at >= {since}",
    "select email from ops.links where made_at >= {since}",
    "select recipient from ops.outbox where queued_at >= {since} and recipient is not null",
)
"""What comes in beside the tables that loads fill."""
_SINCE = "(select coalesce(max(checked_at), '-infinity') - interval '1 day' from ops.erasure_checks)"
"""A letter may have been on its way the last time."""


def is_anybody_erased(dsn: str) -> bool:
    """Whether there is anybody to be kept away.

    Args:
        dsn: of the role lettertrail_loader, which may ask no more than this.
    """
    with translated_errors("keeping the erased away"), connect(dsn, purpose="erasure kept") as connection:
        return connection.execute("select erasure_id from ops.erasures limit 1").fetchone() is not None


def keep_erased(
    dsn: str, key: ErasureKey, senders: Callable[[str], Sender | None], *, run_id: str, clock: Clock
) -> dict[str, int]:
    """Erases again whatever came back since the last time; gives table -> changes.

    Who was put back into a service is suppressed there first: here nobody could name them afterwards.

    Args:
        senders: the account behind a connection id; None when it is no longer in use.

    Raises:
        ErasureIncomplete: a service gave no certain answer.
    """
    at = clock()
    with translated_errors("keeping the erased away"), connect(dsn, purpose="erasure kept") as connection:
        connection.execute(LOCK)
        fresh = connection.execute(
            "select load_id, split_part(target, ':', 1) from ops.loads where not exists"
            " (select from ops.erasure_checks as done where done.load_id = loads.load_id)"
        ).fetchall()
        loads = tuple(sorted(load_id for load_id, _ in fresh))
        everything = tables(connection)
        present = [table for table in everything if table.full_name in {target for _, target in fresh}]
        scope = Scope(next_load_id(Session(connection)), at, loads)
        back = _who_came_back(connection, key, present, scope)
        _suppress_again(connection, senders, back.emails)
        search = search_for(key, back.emails, back.phones, ())
        if _are_in_models(connection, back):
            # A load ended while the models were being built: the person may be anywhere by now.
            with reading(dsn, purpose="erasure search") as other:
                findings = find_rows(other, search, clock=clock)
            present, scope = everything, Scope(scope.load_id, at, findings=findings)
        places = erase_ledger(connection, search, scope)
        held = owners(back, _known_pseudonyms(connection))
        places += erase_owned(connection, key, present, search, scope, held=held)
        end_memberships(connection, [key.email(email) for email in back.emails], scope)
        connection.execute(
            "insert into ops.erasure_checks select unnest(%s::bigint[]), %s on conflict do nothing", [list(loads), at]
        )
        found = {table: rows for table, rows in sorted(places.items()) if rows}
        if found:
            note_load(connection, scope, found, run_id=run_id, ended=clock())
    return found


def _who_came_back(connection: Connection, key: ErasureKey, present: Sequence[Table], scope: Scope) -> Person:
    """Everybody who was erased, as one person; of addresses and numbers those that were found in what is new."""
    known = set(connection.execute("select kind, digest from ops.erased_identifiers").fetchall())
    emails: set[str] = set()
    phones: set[str] = set()
    for text in _new_texts(connection, present, scope):
        for found in _ADDRESSES.findall(text):
            email = normalise_email(found.replace("%40", "@"))
            # In a link the address may follow an encoded character, whose digits look like a part of it.
            emails |= {each for each in (email, email[2:]) if ("email", key.digest("email", each)) in known}
        for found in _NUMBERS.findall(text):
            if ("phone", key.digest("phone", last_digits(found))) in known:
                phones.add(found)
    return Person("", tuple(sorted(emails)), tuple(sorted(phones)), (), (), _cards_of_all(connection))


def _cards_of_all(connection: Connection) -> Mapping[str, tuple[int, ...]]:
    cards: dict[str, set[int]] = {kind: set() for kind in CARDS}
    for (held,) in connection.execute("select cards from ops.erasures"):
        for kind, ids in held.items():
            cards[kind].update(ids)
    return {kind: tuple(sorted(ids)) for kind, ids in cards.items()}


def _new_texts(connection: Connection, present: Sequence[Table], scope: Scope) -> Iterable[str]:
    """Whatever in the new rows looks like an address or a number."""
    for table in present:
        statement = sql.SQL(
            "select distinct found[1] from {} as each, regexp_matches(each::text, {}, 'gi') as found where {}"
        ).format(table.relation, sql.Literal(f"({ADDRESS}|{NUMBER})"), scope.condition(table))
        yield from (text for (text,) in connection.execute(statement))
    values = {"loads": list(scope.loads or ())}
    for query in _WITHOUT_LOADS:
        statement = sql.SQL(query).format(since=sql.SQL(_SINCE))
        yield from (text for (text,) in connection.execute(statement, values))
    unreadable = connection.execute(
        "select raw from ops.quarantine where load_id = any(%(loads)s) and raw is not null", values
    )
    yield from (spelled_out(raw) for (raw,) in unreadable)


def _are_in_models(connection: Connection, back: Person) -> bool:
    if not is_there(connection, "intermediate.int_identifiers_joined"):
        return False
    found = connection.execute(
        "select from intermediate.int_identifiers_joined where kind in ('email', 'phone')"
        " and (identifier = any(%s) or right(regexp_replace(identifier, '[^0-9]', '', 'g'), 10) = any(%s)) limit 1",
        [list(back.emails), [last_digits(phone) for phone in back.phones]],
    )
    return found.fetchone() is not None


def _suppress_again(connection: Connection, senders: Callable[[str], Sender | None], emails: Sequence[str]) -> None:
    rows = connection.execute(
        "select account, array_agg(distinct lower(email)) from raw_esp.contacts"
        " where lower(email) = any(%s) and status in ('subscribed', 'pending', 'unknown') and _deleted_at is null"
        " group by account",
        [list(emails)],
    ).fetchall()
    for account, addresses in rows:
        sender = senders(account)
        if sender is None:
            continue
        answers = suppress(sender, [Record(str(number), email) for number, email in enumerate(addresses)])
        if answers["retry_pending"]:
            raise ErasureIncomplete(f"{account}: somebody who was erased is back there; run again to suppress them")
        if answers["suppress rejected"]:
            log.warning("%s refuses to suppress %d who were erased", account, answers["suppress rejected"])


def _known_pseudonyms(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute("select pseudonym from ops.erased_identifiers")]
