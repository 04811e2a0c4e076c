"""Tells that there are new choices: a row in the ledger and a cursor, from which the next build is started.

The models read the choices themselves. Those are committed in the order of their numbers (`raw_inbox.choose` sees to
it), so the greatest number seen is enough to know which are new.
"""

from __future__ import annotations

import logging

from psycopg import sql

from lettertrail.clock import Clock
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.ledger import Counts, Load, next_load_id, read_state, record
from lettertrail.warehouse.session import transaction, translated_errors

log = logging.getLogger(__name__)

TARGET = "raw_inbox.choices"


def note_choices(dsn: str, *, run_id: str, clock: Clock) -> int:
    """Gives how many choices came since this was last asked.

    Args:
        dsn: of the role lettertrail_loader.
    """
    started_at = clock()
    with (
        connect(dsn, purpose="inbox processing", autocommit=True) as connection,
        translated_errors("choices"),
        transaction(connection) as session,
    ):
        seen = int(read_state(connection, TARGET).get("choice_id", 0))
        query = sql.SQL("select count(*), max(choice_id) from raw_inbox.choices where choice_id > {}")
        ((count, newest),) = session.rows(query.format(sql.Literal(seen)))
        if count:
            load = Load(
                next_load_id(session), run_id, TARGET, "choice", started_at, cursor_from=str(seen),
                cursor_to=str(newest), state={"choice_id": newest},
            )  # fmt: skip
            record(session, load, Counts(read=count, inserted=count), finished_at=clock())
    log.info("preferences: %d new choices", count)
    return int(count)
