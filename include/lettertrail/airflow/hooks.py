"""Airflow's handles of our connection types: the test button of the connection form ends here.

There is a class for every connection type, made when Airflow asks for it by the name of the type.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from airflow.sdk import BaseHook, Connection

from lettertrail import esps
from lettertrail.airflow.accounts import BITRIX24, BITRIX_DATABASE
from lettertrail.airflow.connection_types import connection_types
from lettertrail.airflow.connections import account_of, source_of
from lettertrail.bitrix.catalog import load_catalog
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.clock import system_clock
from lettertrail.errors import ConfigurationError, LetterTrailError, SourceError, TableMissing
from lettertrail.esps.port import CheckStep


class AccountHook(BaseHook):
    """A connection of ours by its id. Airflow may give it an id of its own making, so the type says what it is."""

    conn_name_attr = "conn_id"
    default_conn_name = ""
    conn_type = ""
    hook_name = ""

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Whether every step of the check held, and what was found or what to do."""
        told = []
        try:
            for step in check(self.get_connection(self.conn_id)):
                told.append(f"{step.name}: {step.message}")
                if not step.ok:
                    return False, told[-1]
        except LetterTrailError as error:
            return False, str(error)
        return True, "; ".join(told)


def check(connection: Connection) -> Iterator[CheckStep]:
    """Tries a connection of one of our types step by step.

    Raises:
        LetterTrailError: something needed is missing from it; the message says what.
    """
    if connection.conn_type == BITRIX24:
        return _check_bitrix24(connection)
    if connection.conn_type == BITRIX_DATABASE:
        return _check_database(connection)
    return esps.load(str(connection.conn_type)).connect(account_of(connection), clock=system_clock).check()


def _check_bitrix24(connection: Connection) -> Iterator[CheckStep]:
    account = account_of(connection)
    if account.extra.get("refresh_token"):
        # The portal gives a new token for every use, and a test has nowhere to keep it.
        yield CheckStep("application", False, "a test would use up the refresh token; the first run tries it")
        return
    yield from BitrixRest.connect(account, clock=system_clock).check()


def _check_database(connection: Connection) -> Iterator[CheckStep]:
    source = source_of(connection)
    entries = load_catalog()
    missing = 0
    try:
        for entry in entries:
            try:
                source.columns(entry)
            except TableMissing:
                missing += 1
    except (SourceError, ConfigurationError) as error:
        yield CheckStep("tables", False, str(error))
        return
    finally:
        source.close()
    found = len(entries) - missing
    message = f"{found} of {len(entries)} tables are there" if found else "this database holds no Bitrix tables"
    yield CheckStep("tables", found > 0, message)


@cache
def _hook(name: str) -> type[AccountHook]:
    each = connection_types()[name]
    return type(name, (AccountHook,), {"conn_type": name, "hook_name": each.title, "__module__": __name__})


def __getattr__(name: str) -> type[AccountHook]:
    try:
        return _hook(name)
    except KeyError:
        raise AttributeError(name) from None
