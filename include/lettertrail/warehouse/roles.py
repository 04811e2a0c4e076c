"""Creates the warehouse's roles and their privileges; see `roles.sql`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from psycopg import sql

from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.connect import connect

log = logging.getLogger(__name__)

ROLES = (
    "lettertrail_loader",
    "lettertrail_dbt",
    "lettertrail_sync",
    "lettertrail_reader",
    "lettertrail_inbox",
    "lettertrail_relay",
    "lettertrail_eraser",
)
_ROLES_SQL = Path(__file__).parent / "roles.sql"


def apply_roles(admin_dsn: str, passwords: Mapping[str, str]) -> None:
    """Makes the roles, sets the passwords given, and grants what each role needs. May be run again.

    Run it after `migrate`, on the same database, as its owner with the right to create roles.

    Args:
        passwords: role name -> password. A role without one keeps the password it has (none at first,
            which means it cannot log in by password).

    Raises:
        ConfigurationError: naming a role that is not one of `ROLES`, or whose password is empty.
    """
    for role, password in passwords.items():
        if role not in ROLES:
            raise ConfigurationError(f"{role!r} is no warehouse role; known are {', '.join(ROLES)}")
        if not password:
            raise ConfigurationError(f"the password for role {role} is empty")
    with connect(admin_dsn, purpose="roles") as connection:
        connection.execute(_ROLES_SQL.read_text(encoding="utf-8"))
        for role, password in passwords.items():
            # Hashed on this side, so that the password is in no server log and in no statement statistics.
            hashed = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("alter role {} password {}").format(sql.Identifier(role), sql.Literal(hashed.decode()))
            )
    log.info("roles: %s in place, %s passwords set", len(ROLES), len(passwords))
