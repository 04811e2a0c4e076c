"""Rows of the inbox and of `ops` that go as a whole: nothing counts them, or they would bring the person back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from lettertrail.audiences.state import restate
from lettertrail.erasure.scrub import Scope, Search
from lettertrail.warehouse.connect import Connection

_STEPS = (
    # Nothing is acknowledged of somebody who is gone everywhere, and no plan may want to take them out again.
    ("ops.acknowledged", "delete from ops.acknowledged where record_key ~* %(pattern)s"),
    # Whoever has a link may choose for its address.
    ("ops.links", "delete from ops.links where email ~* %(pattern)s"),
    ("ops.failed_rows", "delete from ops.failed_rows where record::text ~* %(pattern)s"),
    (
        "ops.outbox",
        "update ops.outbox set state = 'suppressed', reason = 'erased', settled_at = %(at)s, next_attempt_at = null"
        " where state in ('queued', 'unknown') and recipient ~* %(pattern)s",
    ),
    (
        "ops.outbox",
        "update ops.outbox set recipient = null, sender = null, sender_name = null, reply_to = null, subject = null,"
        " body = null, forgotten_at = %(at)s"
        " where state <> 'sending' and forgotten_at is null and recipient ~* %(pattern)s",
    ),
)


def erase_ledger(connection: Connection, search: Search, scope: Scope) -> Counter[str]:
    """Table -> rows. A letter that is being sent at this moment stays until it was; its texts are pseudonymised."""
    places: Counter[str] = Counter()
    if not search.strong:
        return places
    for table, statement in _STEPS:
        places[table] += connection.execute(statement, {"pattern": search.pattern, "at": scope.at}).rowcount
    if places["ops.acknowledged"]:
        restate(connection)
    places["ops.quarantine"] += _erase_unreadable(connection, search)
    places["raw_inbox.deliveries"] += _erase_deliveries(connection, search, scope)
    return places


def spelled_out(raw: Mapping[str, str]) -> str:
    """The bytes of `ops.quarantine.raw`, which are kept as hex, as far as they are text."""
    return " ".join(bytes.fromhex(value).decode("utf-8", "replace") for value in raw.values())


def _erase_unreadable(connection: Connection, search: Search) -> int:
    """What could not be read is kept as the hex of its bytes, in which no search for a text finds anything."""
    rows = connection.execute("select quarantine_id, raw from ops.quarantine where raw is not null for update")
    found = [number for number, raw in rows.fetchall() if re.search(search.pattern, spelled_out(raw), re.IGNORECASE)]
    return connection.execute(
        "update ops.quarantine set raw = null"
        " where raw is not null and (quarantine_id = any(%s) or record::text ~* %s)",
        [found, search.pattern],
    ).rowcount


def _erase_deliveries(connection: Connection, search: Search, scope: Scope) -> int:
    """Bodies are bytes: what was understood is emptied, what was not is kept without the person.

    The hash of the content stays, so that the same delivery told again is still a repetition.
    """
    rows = connection.execute(
        "select delivery_id, body, outcome in ('applied', 'duplicate', 'superseded') from raw_inbox.deliveries"
        " where (%(loads)s::bigint[] is null or load_id = any(%(loads)s))"
        " and (encode(body, 'escape') || headers::text) ~* %(pattern)s for update",
        {"loads": None if scope.loads is None else list(scope.loads), "pattern": search.pattern},
    ).fetchall()
    for delivery_id, body, is_understood in rows:
        connection.execute(
            "update raw_inbox.deliveries set body = %s, headers = '{}' where delivery_id = %s",
            [b"" if is_understood else _without(bytes(body), search), delivery_id],
        )
    return len(rows)


def _without(body: bytes, search: Search) -> bytes:
    text = body.decode("utf-8", "surrogateescape")
    for token in search.strong:
        text = re.sub(token.pattern, token.instead, text, flags=re.IGNORECASE)
    for name in search.names:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "erased", text, flags=re.IGNORECASE)
    return text.encode("utf-8", "surrogateescape")
