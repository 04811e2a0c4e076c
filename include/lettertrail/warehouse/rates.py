"""Rate limits that all processes count together: one row of `ops.rates` per limit.

A service counts per account, and an account is read and written by several tasks, each a process of its own. The row
says when the next call is due; whoever calls moves it on by one call's share of the rate. The server's clock is the
one clock they have in common.
"""

from __future__ import annotations

import logging
import threading

import psycopg

from lettertrail.errors import ConfigurationError, WarehouseError
from lettertrail.throttle import Bucket, LocalBucket, MakeBucket
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

# Unused calls are kept, but no more than `burst` of them. It gives the seconds until this call is due.
_RESERVE = """
    with clock as (select extract(epoch from clock_timestamp())::double precision as now)

    insert into ops.rates as held (name, due_at)
    select %(name)s, now - %(saved)s + %(share)s from clock
    on conflict (name) do update
    set due_at = greatest(held.due_at, excluded.due_at - %(share)s) + %(share)s
    returning due_at - %(share)s - extract(epoch from clock_timestamp())::double precision
"""


class WarehouseBucket:
    """A token bucket in the warehouse. Where the warehouse cannot be asked, this process counts alone for a while."""

    def __init__(self, dsn: str, name: str, rate: float, burst: int) -> None:
        self._dsn = dsn
        self._values = {"name": name, "share": 1 / rate, "saved": (burst - 1) / rate}
        self._alone = LocalBucket(rate, burst)
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def reserve(self) -> float:
        with self._lock:
            try:
                return self._reserve()
            except (psycopg.Error, WarehouseError, ConfigurationError) as error:
                log.warning("a rate limit counts in this process alone for now (%s)", type(error).__name__)
                self._connection = None
                return self._alone.reserve()

    def close(self) -> None:
        """Closes the connection; the next call opens one again."""
        if self._connection is not None:
            self._connection.close()

    def _reserve(self) -> float:
        if self._connection is None or self._connection.closed:
            self._connection = connect(
                self._dsn, purpose="rates", autocommit=True, statement_timeout_seconds=10, lock_timeout_seconds=5,
                synchronous_commit=False,
            )  # fmt: skip
        row = self._connection.execute(_RESERVE, self._values).fetchone()
        assert row is not None
        return max(0.0, float(row[0]))


def warehouse_buckets(dsn: str) -> MakeBucket:
    """Makes buckets in the warehouse at `dsn`; nothing is opened before the first call."""

    def make(name: str, rate: float, burst: int) -> Bucket:
        return WarehouseBucket(dsn, name, rate, burst)

    return make
