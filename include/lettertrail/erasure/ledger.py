"""Rows of the inbox and of `ops` that go as a whole: nothing counts them, or they would bring the person back."""

from __future__ import annotations

import re
from collections import Counter

from psycopg import sql

from lettertrail.audiences.state import forget_records
from lettertrail.erasure.catalogue import Table, tables
from lettertrail.erasure.rows import Scope, at, fresh, lock_rows, rows_of
from lettertrail.erasure.scrub import beside_parameters, scrub
from lettertrail.erasure.search import Search
from lettertrail.erasure.unreadable import UNREADABLE, unreadable
from lettertrail.warehouse.connect import Connection

ACKNOWLEDGED = "ops.acknowledged"
"""Nothing is acknowledged of somebody who is gone everywhere, and no plan may want to take them out again."""
STATES = "ops.sync_states"
DELIVERIES = "raw_inbox.deliveries"
OUTBOX = "ops.outbox"
_GONE = ("ops.links", "ops.failed_rows")
"""Whoever has a link may choose for its address."""
_FORGET_LETTERS = """
update ops.outbox as each
set
    state = case when state in ('queued', 'unknown') then 'suppressed' else state end,
    reason = case when state in ('queued', 'unknown') then 'erased' else reason end,
    settled_at = case when state in ('queued', 'unknown') then %(at)s else settled_at end,
    next_attempt_at = case when state in ('queued', 'unknown') then null else next_attempt_at end,
    recipient = null, sender = null, sender_name = null, reply_to = null, subject = null, body = null,
    forgotten_at = %(at)s
where {condition}
"""


def erase_ledger(connection: Connection, search: Search, scope: Scope) -> Counter[str]:
    """Table -> rows. A letter that is being sent at this moment stays until it was; its texts are pseudonymised."""
    places: Counter[str] = Counter()
    if not search.strong:
        return places
    there = {table.full_name: table for table in tables(connection, ("ops", "raw_inbox"))}
    # Forgetting writes to the states, and what this transaction wrote before is not counted again.
    places[STATES] += scrub(connection, there[STATES], search, scope)
    rows = rows_of(connection, there[ACKNOWLEDGED], search, scope)
    places[ACKNOWLEDGED] += forget_records(connection, list(rows))
    for name in _GONE:
        found = at(list(rows_of(connection, there[name], search, scope)))
        places[name] += connection.execute(
            sql.SQL("delete from {} as each where {}").format(there[name].relation, found)
        ).rowcount
    places[OUTBOX] += _forget_letters(connection, there[OUTBOX], search, scope)
    places[UNREADABLE] += _erase_unreadable(connection, there[UNREADABLE], search, scope)
    places[DELIVERIES] += _erase_deliveries(connection, there[DELIVERIES], search, scope)
    return places


def _forget_letters(connection: Connection, table: Table, search: Search, scope: Scope) -> int:
    found = at(list(rows_of(connection, table, search, scope)))
    condition = sql.SQL("{} and state <> 'sending' and forgotten_at is null and recipient ~* {}").format(
        found, sql.Literal(search.pattern)
    )
    statement = sql.SQL(_FORGET_LETTERS).format(condition=beside_parameters(condition, connection))
    return connection.execute(statement, {"at": scope.at}).rowcount


def _erase_unreadable(connection: Connection, table: Table, search: Search, scope: Scope) -> int:
    """What could not be read is dropped where the person stands in it or beside it."""
    rows = rows_of(connection, table, search, scope)
    for condition in scope.reach(connection, table):
        rows |= lock_rows(connection, table, at(unreadable(connection, search, condition)))
    statement = sql.SQL("update ops.quarantine as each set raw = null where raw is not null and {}")
    return connection.execute(statement.format(at(list(rows)))).rowcount


def _erase_deliveries(connection: Connection, table: Table, search: Search, scope: Scope) -> int:
    """Bodies are bytes: what was understood is emptied, what was not is kept without the person.

    The hash of the content stays, so that the same delivery told again is still a repetition.
    """
    rows = rows_of(connection, table, search, scope)
    told = connection.execute(
        sql.SQL(
            "select delivery_id, body, outcome in ('applied', 'duplicate', 'superseded')"
            " from raw_inbox.deliveries as each where {}"
        ).format(at(list(rows)))
    ).fetchall()
    for delivery_id, body, is_understood in told:
        connection.execute(
            "update raw_inbox.deliveries set body = %s, headers = '{}' where delivery_id = %s",
            [b"" if is_understood else _without(bytes(body), search), delivery_id],
        )
    return fresh(rows)


def _without(body: bytes, search: Search) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    for token in search.strong:
        text = re.sub(token.pattern, token.instead, text, flags=re.IGNORECASE)
    for name in search.names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "erased", text, flags=re.IGNORECASE)
    return text.encode("utf-8", "surrogateescape")
