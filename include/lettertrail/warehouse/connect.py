"""One place that opens row-wise connections to the warehouse."""

from __future__ import annotations

from typing import Any

import psycopg

from lettertrail.errors import ConfigurationError, WarehouseError

Connection = psycopg.Connection[tuple[Any, ...]]

_REFUSALS = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry", "not permitted")
"""What PostgreSQL says when trying again cannot help."""


def connect(
    dsn: str,
    *,
    purpose: str,
    autocommit: bool = False,
    statement_timeout_seconds: int = 1800,
    lock_timeout_seconds: int = 120,
    synchronous_commit: bool = True,
) -> Connection:
    """An open connection; use it as a context manager: commit on success, rollback on error, then closed.

    Args:
        dsn: libpq URI, `postgresql://user:password@host:port/database`.
        synchronous_commit: False for statements that may be lost in a power cut (a later commit that waits for the
            disk takes them along).
        purpose: shows up in `pg_stat_activity.application_name` as `lettertrail: <purpose>`.

    Raises:
        ConfigurationError: the server refuses the login, or the DSN is none; without the DSN.
        WarehouseError: the server cannot be reached, or takes nobody now: it starts, recovers, stops or is full.
    """
    options = (
        f"-c statement_timeout={statement_timeout_seconds}s -c lock_timeout={lock_timeout_seconds}s "
        f"-c timezone=UTC -c client_min_messages=warning -c synchronous_commit={'on' if synchronous_commit else 'off'}"
    )
    try:
        return psycopg.connect(
            dsn,
            autocommit=autocommit,
            application_name=f"lettertrail: {purpose}"[:63],
            connect_timeout=10,
            options=options,
        )
    except psycopg.OperationalError as error:
        # The message names host, port, user and database; psycopg leaves the password out of it. It is all there is:
        # a connection that was never made has no SQLSTATE.
        is_refused = any(words in str(error) for words in _REFUSALS)
        kind = ConfigurationError if is_refused else WarehouseError
        raise kind(f"connection `warehouse` cannot be opened: {error}") from None
    except psycopg.ProgrammingError:
        raise ConfigurationError("connection `warehouse` is no valid libpq URI") from None
