"""`python -m lettertrail.warehouse.setup`: makes databases, schemas and roles on a PostgreSQL server; may be run again.

Reads LETTERTRAIL_WAREHOUSE_ADMIN_DSN (a libpq URI of an account that may create databases and roles) and, per role,
LETTERTRAIL_ROLE_PASSWORD_LOADER, _DBT, _SYNC, _READER, _INBOX, _RELAY and _ERASER. Databases: `warehouse`, and
`airflow` for Airflow's metadata.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from psycopg import conninfo, sql

from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.migrate import migrate
from lettertrail.warehouse.roles import ROLES, apply_roles

log = logging.getLogger(__name__)

ADMIN_DSN = "LETTERTRAIL_WAREHOUSE_ADMIN_DSN"
DATABASES = ("warehouse", "airflow")


def setup(environ: Mapping[str, str]) -> None:
    """Brings the server to the state this version of LetterTrail expects.

    Raises:
        ConfigurationError: naming the variable that is missing, or when the server cannot be reached.
    """
    admin_dsn = _needed(environ, ADMIN_DSN)
    passwords = {role: _needed(environ, _password_variable(role)) for role in ROLES}
    with connect(admin_dsn, purpose="setup", autocommit=True) as connection:
        for name in DATABASES:
            if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    warehouse = conninfo.make_conninfo(admin_dsn, dbname="warehouse")
    applied = migrate(warehouse)
    apply_roles(warehouse, passwords)
    log.info("warehouse is ready: %d migrations applied, %d roles", len(applied), len(ROLES))


def _password_variable(role: str) -> str:
    return f"LETTERTRAIL_ROLE_PASSWORD_{role.removeprefix('lettertrail_').upper()}"


def _needed(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise ConfigurationError(f"{name} is not set")
    return value


def main() -> int:
    """Runs `setup` on the environment; the exit status is 0 when the warehouse is ready."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        setup(os.environ)
    except LetterTrailError as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
