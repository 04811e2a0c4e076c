"""Connection id → client. The only reader of Airflow connections; nothing else in LetterTrail sees a password.

The ids and what their fields mean are in `accounts.py`.
"""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import BaseHook, Connection

from lettertrail import esps
from lettertrail.airflow.accounts import BITRIX24, BITRIX_DATABASE, BITRIX_SITE
from lettertrail.bitrix.cloud import CloudSource
from lettertrail.bitrix.port import Source
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.bitrix.rest_site import BitrixSite
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import system_clock
from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import AccountConnection, Esp
from lettertrail.settings import Settings
from lettertrail.throttle import share_buckets
from lettertrail.warehouse.rates import warehouse_buckets

_DATABASES = {"mysql": ("mysql", 3306), "postgres": ("postgresql", 5432), "postgresql": ("postgresql", 5432)}
"""Connection type -> URI scheme and default port."""


def warehouse_dsn(conn_id: str) -> str:
    """The libpq URI of the warehouse, for the role behind that connection id.

    Raises:
        ConfigurationError: when host or database is missing.
    """
    return warehouse_dsn_of(BaseHook.get_connection(conn_id))


def warehouse_dsn_of(connection: Connection) -> str:
    """The same for a connection that is there already."""
    return _database_uri("postgresql", connection, default_port=5432)


def bitrix_source(conn_id: str | None = None) -> Source:
    """What the Bitrix tables are read from: a database (MySQL, MariaDB, PostgreSQL) or a Bitrix24 portal.

    Args:
        conn_id: default `LETTERTRAIL_BITRIX_CONN`.

    Raises:
        ConfigurationError: a field is missing, or the connection is of another type.
    """
    return source_of(BaseHook.get_connection(conn_id or Settings.from_env().bitrix_conn))


def source_of(connection: Connection) -> Source:
    """The same for a connection that is there already.

    Raises:
        ConfigurationError: a field is missing, or the connection is of another type.
    """
    settings = Settings.from_env()
    server = connection.conn_type
    if server == BITRIX_DATABASE:
        server = str(connection.extra_dejson.get("server") or "mysql").strip().lower()
        if server not in _DATABASES:
            raise ConfigurationError(
                f"connection {connection.conn_id!r}: the server is mysql or postgresql, not {server!r}"
            )
    if server in _DATABASES:
        scheme, port = _DATABASES[server]
        return SqlSource(_database_uri(scheme, connection, default_port=port), timezone=settings.source_timezone)
    if connection.conn_type in {BITRIX24, "http"}:
        return CloudSource.connect(
            account_of(connection),
            timezone=settings.source_timezone,
            clock=system_clock,
            state_dir=settings.state_dir,
        )
    raise ConfigurationError(
        f"connection {connection.conn_id!r} is of type {connection.conn_type!r}; "
        f"Bitrix is read through {BITRIX_DATABASE}, {', '.join(_DATABASES)} or {BITRIX24}"
    )


def bitrix_rest(conn_id: str = BITRIX24) -> BitrixRest:
    """The site's REST interface, through an incoming webhook."""
    return BitrixRest.connect(_account(conn_id), clock=system_clock)


def esp_account(conn_id: str) -> Esp:
    """The adapter of an ESP account; the part of the id before `__` names the adapter.

    Raises:
        ConfigurationError: when no adapter has that name.
    """
    return esp_of(conn_id, BaseHook.get_connection(conn_id))


def esp_of(conn_id: str, connection: Connection) -> Esp:
    """The same for a connection that is there already."""
    return esps.load(esps.adapter_name(conn_id)).connect(account_of(connection), clock=system_clock)


def share_rates(conn_id: str) -> None:
    """Counts the services' rate limits in the warehouse from now on, together with all other processes."""
    share_buckets(warehouse_buckets(warehouse_dsn(conn_id)))


def destination(conn_id: str) -> Esp | BitrixRest | BitrixSite:
    """Whatever can be told about suppressions under that connection id."""
    if esps.adapter_name(conn_id) == BITRIX_SITE:
        return bitrix_site(conn_id)
    return bitrix_rest(conn_id) if conn_id == BITRIX24 else esp_account(conn_id)


def bitrix_site(conn_id: str) -> BitrixSite:
    """The sender module of a self-hosted site."""
    return BitrixSite.connect(_account(conn_id), clock=system_clock)


def _account(conn_id: str) -> AccountConnection:
    return account_of(BaseHook.get_connection(conn_id))


def account_of(connection: Connection) -> AccountConnection:
    """The connection's fields in our own words."""
    host = connection.host
    if host and connection.port and "://" not in host:
        host = f"{host}:{connection.port}"
    return AccountConnection(
        conn_id=connection.conn_id,
        base_url=host,
        login=connection.login,
        password=connection.password,
        extra={name: value for name, value in connection.extra_dejson.items() if value is not None},
    )


def _database_uri(scheme: str, connection: Connection, *, default_port: int) -> str:
    for setting, value in (("Host", connection.host), ("Schema (the database)", connection.schema)):
        if not value:
            raise ConfigurationError(f"connection {connection.conn_id!r} has no {setting}")
    login = quote(connection.login or "", safe="")
    password = quote(connection.password or "", safe="")
    port = connection.port or default_port
    return f"{scheme}://{login}:{password}@{connection.host}:{port}/{quote(connection.schema or '', safe='')}"
