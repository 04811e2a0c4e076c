"""Connection id → client. The only reader of Airflow connections; nothing else in LetterTrail sees a password.

The ids and what their fields mean are in `accounts.py`.
"""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import BaseHook, Connection

from lettertrail import esps
from lettertrail.airflow.accounts import BITRIX, BITRIX24
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import system_clock
from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import AccountConnection, Esp
from lettertrail.settings import Settings


def warehouse_dsn(conn_id: str) -> str:
    """The libpq URI of the warehouse, for the role behind that connection id.

    Raises:
        ConfigurationError: when host or database is missing.
    """
    return _database_uri("postgresql", BaseHook.get_connection(conn_id), default_port=5432)


def bitrix_source(conn_id: str = BITRIX) -> SqlSource:
    """The site's database as a source of tables.

    Raises:
        ConfigurationError: when host or database is missing.
    """
    uri = _database_uri("mysql", BaseHook.get_connection(conn_id), default_port=3306)
    return SqlSource(uri, timezone=Settings.from_env().source_timezone)


def bitrix_rest(conn_id: str = BITRIX24) -> BitrixRest:
    """The site's REST interface, through an incoming webhook."""
    return BitrixRest.connect(_account(conn_id), clock=system_clock)


def esp_account(conn_id: str) -> Esp:
    """The adapter of an ESP account; the part of the id before `__` names the adapter.

    Raises:
        ConfigurationError: when no adapter has that name.
    """
    return esps.load(esps.adapter_name(conn_id)).connect(_account(conn_id), clock=system_clock)


def destination(conn_id: str) -> Esp | BitrixRest:
    """Whatever can be told about suppressions and segments under that connection id."""
    return bitrix_rest(conn_id) if conn_id == BITRIX24 else esp_account(conn_id)


def _account(conn_id: str) -> AccountConnection:
    connection = BaseHook.get_connection(conn_id)
    host = connection.host
    if host and connection.port and "://" not in host:
        host = f"{host}:{connection.port}"
    return AccountConnection(
        conn_id=conn_id,
        base_url=host,
        login=connection.login,
        password=connection.password,
        extra=dict(connection.extra_dejson),
    )


def _database_uri(scheme: str, connection: Connection, *, default_port: int) -> str:
    for setting, value in (("Host", connection.host), ("Schema (the database)", connection.schema)):
        if not value:
            raise ConfigurationError(f"connection {connection.conn_id!r} has no {setting}")
    login = quote(connection.login or "", safe="")
    password = quote(connection.password or "", safe="")
    port = connection.port or default_port
    return f"{scheme}://{login}:{password}@{connection.host}:{port}/{quote(connection.schema or '', safe='')}"
