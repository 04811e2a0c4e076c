"""What a push wrote down, asked by the tests of all pushes; and the end of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from psycopg import conninfo

from lettertrail.warehouse.roles import ROLES, apply_roles


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches Exception may see it."""


def sync_role(warehouse_dsn: str) -> str:
    """The warehouse as lettertrail_sync, with the rights that it has in production."""
    password = "not-a-secret"
    apply_roles(warehouse_dsn, dict.fromkeys(ROLES, password))
    return conninfo.make_conninfo(warehouse_dsn, user="lettertrail_sync", password=password)


class PushLedger(ABC):
    """Questions to whoever can ask the warehouse."""

    @abstractmethod
    def query(self, statement: str, values: Any = None) -> list[dict[str, Any]]:
        """The rows, by the names of their columns."""

    def acknowledged(self, audience: str) -> dict[str, str]:
        """What each record of an audience is confirmed as."""
        rows = self.query("select record_key, value from ops.acknowledged where audience = %s", [audience])
        return {row["record_key"]: row["value"] for row in rows}

    def unbalanced(self) -> list[dict[str, Any]]:
        """Runs whose sums differ from their records or from themselves."""
        return self.query(
            """
            select run.*
            from ops.sync_runs as run
            where finished_at is null
                or planned <> applied + already_ok + rejected + retry_pending + held
                or planned <> (
                    select count(*) from ops.sync_records as record where record.sync_run_id = run.sync_run_id
                )
            """
        )
