"""What cannot be stored is kept beside the ledger, with the reason; too much of it fails the load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from psycopg import sql

from lettertrail.bitrix.port import Unreadable
from lettertrail.errors import ContractError
from lettertrail.warehouse.clean import Unparsed
from lettertrail.warehouse.ledger import Counts, literals
from lettertrail.warehouse.session import Session

FEWEST_TO_FAIL = 10
"""Fewer refused rows than this never fail a load: a share of a handful says nothing."""
_AT_ONCE = 200


def keep_unreadable(session: Session, rows: Sequence[Unreadable], *, target: str, load_id: int, at: datetime) -> None:
    """Rows that the source could not hand over, as raw bytes."""
    _insert(
        session,
        [
            (load_id, target, row.reason, json.dumps({"key": row.key}), None, json.dumps(dict(row.raw)), at)
            for row in rows
        ],
    )


def keep_unparsed(session: Session, values: Sequence[Unparsed], *, target: str, load_id: int, at: datetime) -> None:
    """Values whose rows are stored without them."""
    _insert(
        session,
        [
            (
                load_id, target, value.reason, json.dumps(value.key, default=str), value.column,
                json.dumps({value.column: value.raw}), at,
            )
            for value in values
        ],
    )  # fmt: skip


def check_share(counts: Counts, *, target: str, most_pct: float) -> None:
    """Fails a load that lost too many of its rows.

    Raises:
        ContractError: with the share, before anything is committed.
    """
    if counts.quarantined >= FEWEST_TO_FAIL and counts.quarantined * 100 > most_pct * counts.read:
        raise ContractError(
            f"{target}: {counts.quarantined} of {counts.read} rows cannot be stored, more than {most_pct:g} %;"
            " nothing was stored (max_quarantined_pct)"
        )


def _insert(session: Session, rows: Sequence[tuple[object, ...]]) -> None:
    for start in range(0, len(rows), _AT_ONCE):
        values = (sql.SQL("({})").format(literals(row)) for row in rows[start : start + _AT_ONCE])
        session.run(
            sql.SQL(
                "insert into ops.quarantine (load_id, target, reason, record, column_name, raw, quarantined_at)"
                " values {}"
            ).format(sql.SQL(", ").join(values))
        )
