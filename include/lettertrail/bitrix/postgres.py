"""Bitrix on PostgreSQL (11 and newer): how columns travel, how rows are hashed, how not to be in a site's way.

The facts are those of bitrix.md 4: lower-case columns, `decimal` without precision, padded `char(n)`, `int8` for
`int unsigned`, times with microseconds, and no ON UPDATE CURRENT_TIMESTAMP. Decimals, `time` and every type that
Arrow has no equal of travel as text and are cast by the warehouse, which loses nothing.
"""

# ruff: noqa: S608 - names are quoted by `quote`; the tables of the catalogue are plain words

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import psycopg

from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.dialect import (
    CONNECT_SECONDS,
    IDLE_SECONDS,
    LOCK_SECONDS,
    Dialect,
    Kind,
    Query,
    Row,
    Session,
    Trouble,
    cut,
)
from lettertrail.errors import ConfigurationError

_INTEGERS = {"int2": "smallint", "int4": "integer", "int8": "bigint"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_CODECS = {"WIN1251": "cp1251", "KOI8R": "koi8-r", "LATIN1": "latin-1", "WIN1252": "cp1252", "ISO_8859_5": "iso8859-5"}
"""server_encoding -> Python's codec; whatever else there is, is taken for UTF-8."""
_FIRST, _LAST = "'0001-01-01'", "'9999-12-31'"
"""What lies outside has no equal in Arrow or Python: BC dates, infinity, the year 294276."""

_INTERRUPTED = {"55P03", "40001", "57P05"}
"""Lock timeout; conflict with recovery on a replica; idle session timeout."""
_REFUSED = {"28P01", "28000", "3D000", "42501"}
_SERVER_SAID = re.compile(r"db error: (?:ERROR|FATAL): (.*)", re.DOTALL)
_LOGIN_SIGNS = ("authentication failed", "no pg_hba.conf entry", "does not exist", "permission denied for database")
_SIGNS: dict[Kind, tuple[str, ...]] = {
    "undecodable": ("invalid byte sequence for encoding", "has no equivalent in encoding"),
    "interrupted": ("due to user request", "due to lock timeout", "conflict with recovery"),
    "lost": (
        "terminating connection", "the database system is", "connection closed", "timed out waiting",
        "error communicating", "unexpected message",
    ),
    "refused": ("permission denied",),
}  # fmt: skip
_NOT_ITS_ENCODING = "a text is not in the encoding of its database"


class PostgresSession:
    """One psycopg connection."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection
        self.id = connection.info.backend_pid

    def rows(self, statement: str) -> list[Row]:
        cursor = self._connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []

    def records(self, statement: str) -> list[dict[str, Any]]:
        cursor = self._connection.execute(statement.encode())
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def close(self) -> None:
        self._connection.close()


class Postgres(Dialect):
    """Args: a libpq URI; the password again, to keep it out of messages."""

    kind = "postgresql"
    refused_hint = "grant the account USAGE on the schema and SELECT on its tables"

    def __init__(self, dsn: str, *, secret: str) -> None:
        self._dsn = dsn
        self._secret = secret

    # --- connections ---

    def open(self, *, statement_seconds: int) -> Session:
        connection: psycopg.Connection[Row] = psycopg.connect(
            self._dsn,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="lettertrail",
            prepare_threshold=None,  # a pooler in between may hand out another server connection
            client_encoding="utf-8",
        )
        try:
            session = PostgresSession(connection)
            session.rows(_settings(statement_seconds))
            encoding = connection.info.parameter_status("server_encoding") or "UTF8"
            self.codec = _CODECS.get(encoding, "utf-8")
        except BaseException:
            connection.close()
            raise
        return session

    def stream_settings(self, tag: str, *, statement_seconds: int) -> list[str]:
        return [_settings(statement_seconds), f"set application_name = '{tag}'"]

    def tagged(self, statement: str, tag: str) -> str:
        return statement  # the application's name says it

    def trouble(self, error: BaseException) -> Trouble:
        if isinstance(error, psycopg.Error):
            return Trouble(_kind_of(error), cut(error.diag.message_primary or str(error), secret=self._secret))
        # ConnectorX hands on what the server said, without its code.
        said = _SERVER_SAID.search(str(error))
        text = cut(said[1] if said else str(error), secret=self._secret)
        if isinstance(error, OSError):
            return Trouble("lost", text)
        for kind, signs in _SIGNS.items():
            if any(sign in text for sign in signs):
                return Trouble(kind, _NOT_ITS_ENCODING if kind == "undecodable" else text)
        # Without the server's word it is ConnectorX that cannot read a value, and may quote it; that must not end in
        # a log.
        return Trouble("failed", text) if said else Trouble("undecodable", "a value could not be decoded")

    # --- the catalogue ---

    def columns(self, query: Query, table: str) -> list[Column]:
        relation = f"to_regclass(format('%I.%I', current_schema(), '{table}'))"
        rows = query(
            "select c.column_name, c.udt_name, c.numeric_precision, c.numeric_scale, c.is_nullable = 'YES',"
            " exists (select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]"
            f" join pg_class x on x.oid = i.indexrelid join pg_am m on m.oid = x.relam where i.indrelid = {relation}"
            " and i.indisvalid and i.indpred is null and m.amname = 'btree' and a.attname = c.column_name)"
            " from information_schema.columns c"
            f" where c.table_schema = current_schema() and c.table_name = '{table}' order by c.ordinal_position"
        )
        if not rows and query(f"select 1 from pg_class where oid = {relation}"):
            raise ConfigurationError(f"the account may not read table {table}: {self.refused_hint}")
        return [
            postgres_column(name, kind, precision=precision, scale=scale, is_nullable=nullable, is_indexed=indexed)
            for name, kind, precision, scale, nullable, indexed in rows
        ]

    def row_bytes(self, table: str) -> str:
        return (
            "select case when reltuples > 0 then (pg_table_size(oid) / reltuples)::bigint end from pg_class"
            f" where oid = to_regclass(format('%I.%I', current_schema(), '{table}'))"
        )

    # --- expressions ---

    def quote(self, name: str) -> str:
        return quote(name)

    def number(self, expression: str) -> str:
        return f"({expression})::bigint"

    def text(self, expression: str) -> str:
        return f"({expression})::text"

    def slice_number(self, expression: str, width: int) -> str:
        return f"({expression} / {int(width)})::bigint"

    def latest(self, expression: str) -> str:
        return f"to_char(max({expression}) filter (where {expression} >= {_FIRST}), 'YYYY-MM-DD HH24:MI:SS.US')"

    def text_key(self, names: Sequence[str]) -> str:
        texts = ", ".join(f"{name}::text" for name in names)
        return f"('x' || lpad(left(md5(concat_ws(chr(31), {texts})), 15), 16, '0'))::bit(64)::bigint"

    def row_hash(self, columns: Sequence[Column]) -> str:
        # The text of a row quotes its values and leaves NULL empty, so no two rows have the same; and it takes
        # seven eighths of the time of concat_ws with lengths (0.85 against 0.98 µs for 13 columns).
        row = ", ".join(term for column in columns for term in column.terms)
        return f'hashtextextended(row({row})::text collate "C", 0)'

    # --- not being in the way ---

    def find(self, session: Session, tag: str) -> int | None:
        found = session.rows(f"select pid from pg_stat_activity where application_name = '{tag}' and state <> 'idle'")
        return int(found[0][0]) if found else None

    def is_in_the_way(self, session: Session, connection_id: int, tables: Collection[str]) -> bool:
        found = session.rows(
            "select 1 from pg_locks where not granted and pid is not null"
            f" and {int(connection_id)} = any (pg_blocking_pids(pid)) limit 1"
        )
        return bool(found)

    def cancel(self, session: Session, connection_id: int) -> None:
        session.rows(f"select pg_cancel_backend({int(connection_id)})")

    def lag_seconds(self, session: Session) -> float | None:
        # Where nothing is written nothing is replayed; all that came has been replayed then, and nothing is behind.
        ((lag,),) = session.rows(
            "select case when not pg_is_in_recovery() then null"
            " when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0"
            " else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 end"
        )
        return None if lag is None else float(lag)


def quote(name: str) -> str:
    """An identifier in double quotes.

    Raises:
        ValueError: on a name no Bitrix table or column has.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain identifier")
    return f'"{name}"'


def postgres_column(
    name: str,
    kind: str,
    *,
    precision: int | None = None,
    scale: int | None = None,
    is_nullable: bool = True,
    is_indexed: bool = False,
) -> Column:
    """Maps one row of `information_schema.columns`.

    Args:
        kind: `udt_name`: `int4`, `bpchar`, `timestamp` …
        precision, scale: of a numeric that has them.
    """
    source = f"t.{quote(name)}"
    select, wire_type, pg_type = _route(source, kind, precision, scale)
    # A cast to text takes the padding off a char(n), and leaves every other text as it is.
    term = f"{source}::text" if pg_type == "text" else source
    text = f"({select})::text" if wire_type != "text" else select
    return Column(
        name=name.lower(),
        source=source,
        select=select,
        digest=f"{term}|row",
        wire_type=wire_type,
        pg_type=pg_type,
        is_date=kind in {"date", "timestamp", "timestamptz"},
        is_session_time=kind == "timestamptz",
        indexed=is_indexed,
        is_nullable=is_nullable,
        raw=source if wire_type == "bytea" else f"convert_to({text}, getdatabaseencoding())",
        terms=(term,),
    )


def _route(source: str, kind: str, precision: int | None, scale: int | None) -> tuple[str, str, str]:
    """Guarded expression, type on the wire, type in the warehouse."""
    as_text = f"{source}::text"
    if kind in _INTEGERS:
        return f"{source}::bigint", "bigint", _INTEGERS[kind]

    def guarded(expression: str, last: str = f"{_LAST}::date + 1") -> str:
        return f"case when {source} >= {_FIRST} and {source} < {last} then {expression} end"

    routes = {
        "numeric": (as_text, "text", "numeric" if precision is None else f"numeric({precision},{scale or 0})"),
        "float4": (f"{source}::float8", "double precision", "double precision"),
        "float8": (source, "double precision", "double precision"),
        "date": (guarded(source), "date", "date"),
        "timestamp": (guarded(source), "timestamp", "timestamp"),
        "timestamptz": (guarded(f"{source} at time zone 'UTC'"), "timestamp", "timestamp"),
        # As on MySQL, whose TIME can be longer than a day.
        "time": (as_text, "text", "interval"),
        "interval": (as_text, "text", "interval"),
        "bool": (source, "boolean", "boolean"),
        "bytea": (source, "bytea", "bytea"),
    }
    # What is left (citext, uuid, json, arrays …) comes as text, so that nothing is dropped silently.
    return routes.get(kind, (as_text, "text", "text"))


def _settings(statement_seconds: int) -> str:
    """Read-only; times in UTC; one way to write values; an end to statements, waits and idleness; one core at most.

    Of the settings only those that the server has: it may be older than one of them.
    """
    wanted = {
        "default_transaction_read_only": "on",
        "statement_timeout": f"{statement_seconds}s",
        "lock_timeout": f"{LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_SECONDS}s",
        "idle_session_timeout": f"{IDLE_SECONDS}s",
        "TimeZone": "UTC",
        "DateStyle": "ISO, YMD",
        "IntervalStyle": "postgres",
        "bytea_output": "hex",
        "extra_float_digits": "3",
        "max_parallel_workers_per_gather": "0",
        "jit": "off",
    }
    values = ", ".join(f"('{name}', '{value}')" for name, value in wanted.items())
    return (
        f"select set_config(wanted.name, wanted.value, false) from (values {values}) as wanted(name, value)"
        " join pg_settings using (name)"
    )


def _kind_of(error: psycopg.Error) -> Kind:
    state = error.sqlstate
    said = str(error)
    if state in _INTERRUPTED or (state == "57014" and "timeout" not in said):
        return "interrupted"
    # A login that fails has no code.
    if state in _REFUSED or (state is None and any(sign in said for sign in _LOGIN_SIGNS)):
        return "refused"
    if (state or "").startswith(("57P", "08")) or (state is None and isinstance(error, psycopg.OperationalError)):
        return "lost"
    return "failed"
