"""MySQL and MariaDB: how columns travel, how rows are hashed, how not to be in a site's way.

Guards are there because ConnectorX ends with a Rust panic on zero and impossible dates, on negative or long TIME
values and on decimals it did not expect (seen with 0.4.6). Decimals, TIME and `bigint unsigned` therefore travel
as text and are cast by PostgreSQL, which loses nothing.
"""

# ruff: noqa: S608 - names are quoted by `quote`; the tables of the catalogue are plain words

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lettertrail.bitrix.columns import Column
from lettertrail.bitrix.dialect import (
    CONNECT_SECONDS,
    IDLE_SECONDS,
    LOCK_SECONDS,
    Dialect,
    Query,
    Row,
    Session,
    Trouble,
    cut,
)

_INTEGERS = {
    # MySQL type: (signed, unsigned)
    "tinyint": ("smallint", "integer"),
    "smallint": ("smallint", "integer"),
    "mediumint": ("integer", "integer"),
    "int": ("integer", "bigint"),
    "bigint": ("bigint", "numeric(20,0)"),
    "year": ("smallint", "smallint"),
}
_BINARY = {"blob", "tinyblob", "mediumblob", "longblob", "binary", "varbinary"}
_TEXT = {"char", "varchar", "text", "tinytext", "mediumtext", "longtext", "enum", "set", "json"}
_LARGE = {"text", "mediumtext", "longtext", "blob", "mediumblob", "longblob", "json", "vector"}
_SHAPES = {
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection",
}  # fmt: skip
_PLAIN = {*_INTEGERS, "bit", "decimal", "double", "float", "date", "datetime", "timestamp", "time"}
"""Types whose text never holds the separator and is never empty."""
_SIMPLE_NAME = re.compile(r"[A-Za-z0-9_$]+")
_SEPARATOR = "0x1f"

_INTERRUPTED = {1317, 1205, 3572}
"""Query execution was interrupted; lock wait timeout; NOWAIT."""
_LOST = {2006, 2013, 2055, 1053, 1927, 4031}
_REFUSED = {1044, 1045, 1049, 1130, 1142, 1143, 1227, 1370, 1698}
_SERVER_SAID = re.compile(r"ERROR (\d+) \(")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the server at hand."""

    is_maria: bool
    chains_crc: bool
    """MariaDB 10.8 and newer: crc32c, and a second argument to go on from."""
    replica: str
    """Its word for itself in SHOW … STATUS; MySQL changed it in 8.0.22, MariaDB understands both from 10.5."""

    @classmethod
    def of(cls, version: str) -> Facts:
        """From what `select version()` says: `10.11.19-MariaDB-0+deb12u1`, `8.0.36`."""
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", version)
        number = (int(found[1]), int(found[2]), int(found[3] or 0)) if found else (0, 0, 0)
        is_maria = "mariadb" in version.lower()
        is_old = number < ((10, 5, 0) if is_maria else (8, 0, 22))
        return cls(is_maria, is_maria and number >= (10, 8, 0), "slave" if is_old else "replica")


class MySqlSession:
    """One MySQLdb connection."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.id = int(connection.thread_id())

    def rows(self, statement: str) -> list[Row]:
        cursor = self._connection.cursor()
        cursor.execute(statement)
        return list(cursor.fetchall())

    def records(self, statement: str) -> list[dict[str, Any]]:
        cursor = self._connection.cursor()
        cursor.execute(statement)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def close(self) -> None:
        self._connection.close()


class MySql(Dialect):
    """Args: how MySQLdb is to connect (`host`, `port`, `user`, `passwd`, `db`)."""

    kind = "mysql"
    refused_hint = "grant the account SELECT on the database"
    # A derived table has no statistics: the optimizer would scan the large table and look each row up among the keys.
    join_in_order = "straight_join"

    def __init__(self, login: Mapping[str, Any]) -> None:
        self._login = login
        self.facts: Facts | None = None

    # --- connections ---

    def open(self, *, statement_seconds: int) -> Session:
        # Here and not above: a site on PostgreSQL does not need the driver.
        import MySQLdb  # noqa: PLC0415

        connection = MySQLdb.connect(**self._login, charset="utf8mb4", connect_timeout=CONNECT_SECONDS, autocommit=True)
        try:
            session = MySqlSession(connection)
            if self.facts is None:
                self.facts = Facts.of(str(session.rows("select version()")[0][0]))
            for setting in self._settings(statement_seconds):
                session.rows(setting)
        except BaseException:
            connection.close()
            raise
        return session

    def stream_settings(self, tag: str, *, statement_seconds: int) -> list[str]:
        return [*self._settings(statement_seconds), "set names utf8mb4"]

    def _settings(self, statement_seconds: int) -> list[str]:
        """Read-only; times of type `timestamp` in UTC; no odd sql_mode; an end to statements, waits and idleness."""
        assert self.facts is not None, "a session is opened before a stream"
        limit = (
            f"max_statement_time = {statement_seconds}"
            if self.facts.is_maria
            else f"max_execution_time = {statement_seconds * 1000}"
        )
        settings = {"time_zone": "'+00:00'", "sql_mode": "''", "lock_wait_timeout": LOCK_SECONDS}
        settings["wait_timeout"] = IDLE_SECONDS
        listed = ", ".join(f"{name} = {value}" for name, value in settings.items())
        return ["set session transaction read only", f"set session {listed}, {limit}"]

    def tagged(self, statement: str, tag: str) -> str:
        return f"/* {tag} */ {statement}"

    def trouble(self, error: BaseException) -> Trouble:
        text = str(error)
        found = _SERVER_SAID.search(text)
        code = int(found[1]) if found else None
        arguments = getattr(error, "args", ())
        if code is None and arguments and isinstance(arguments[0], int):
            code, text = arguments[0], str(arguments[-1])
        text = cut(text, secret=str(self._login.get("passwd", "")))
        if code in _INTERRUPTED and "max_statement_time" not in text:
            return Trouble("interrupted", text)
        if code in _LOST:
            return Trouble("lost", text)
        if code in _REFUSED:
            return Trouble("refused", text)
        if code is not None:
            return Trouble("failed", text)
        if "CodecError" in text or "IoError" in text or "timed out waiting" in text or isinstance(error, OSError):
            return Trouble("lost", text)
        # The message quotes the value; it must not end in a log.
        return Trouble("undecodable", "a value could not be decoded")

    # --- the catalogue ---

    def columns(self, query: Query, table: str) -> list[Column]:
        assert self.facts is not None, "a session is opened before the catalogue is read"
        rows = query(
            "select column_name, data_type, column_type, numeric_precision, numeric_scale, is_nullable, extra,"
            # Constants in both: the server opens every table of every database to find out what it could have been told
            # (measured on 456 tables: 1.8 s against 4 ms).
            " character_set_name, column_name in (select column_name from information_schema.statistics"
            f" where table_schema = database() and table_name = '{table}'"
            " and seq_in_index = 1 and index_type = 'BTREE')"
            " from information_schema.columns"
            f" where table_schema = database() and table_name = '{table}' order by ordinal_position"
        )
        return [
            mysql_column(
                name,
                data_type,
                column_type,
                precision=precision,
                scale=scale,
                is_nullable=nullable == "YES",
                extra=extra or "",
                charset=charset,
                is_indexed=bool(is_indexed),
                chains_crc=self.facts.chains_crc,
            )
            for name, data_type, column_type, precision, scale, nullable, extra, charset, is_indexed in rows
        ]

    def row_bytes(self, table: str) -> str:
        return (
            "select nullif(avg_row_length, 0) from information_schema.tables"
            f" where table_schema = database() and table_name = '{table}'"
        )

    # --- expressions ---

    def quote(self, name: str) -> str:
        return quote(name)

    def number(self, expression: str) -> str:
        return f"cast({expression} as signed)"

    def text(self, expression: str) -> str:
        return f"cast({expression} as char)"

    def slice_number(self, expression: str, width: int) -> str:
        return f"{expression} div {int(width)}"

    def latest(self, expression: str) -> str:
        return f"cast(max({expression}) as char)"

    def text_key(self, names: Sequence[str]) -> str:
        # The warehouse is UTF-8, so its side of the comparison is too.
        texts = ", ".join(f"convert({name} using utf8mb4)" for name in names)
        return _md5_number(f"concat_ws({_SEPARATOR}, {texts})")

    def row_hash(self, columns: Sequence[Column]) -> str:
        assert self.facts is not None, "a session is opened before rows are hashed"
        joined = f"concat_ws({_SEPARATOR}, {', '.join(term for column in columns for term in column.terms)})"
        if not self.facts.chains_crc:
            return _md5_number(joined)
        high, low = f"crc32({joined})", f"crc32c({joined})"
        for column in columns:
            if column.chained:
                high, low = f"crc32({high}, {column.chained})", f"crc32c({low}, {column.chained})"
        # Two remainders by different polynomials: 64 bits together, at two thirds of the time of an MD5.
        return f"ifnull(cast(({high} << 32) | {low} as signed), -1)"

    # --- not being in the way ---

    def find(self, session: Session, tag: str) -> int | None:
        found = [row for row in self._processes(session) if tag in (row["Info"] or "")]
        return int(found[0]["Id"]) if found else None

    def is_in_the_way(self, session: Session, connection_id: int, tables: Collection[str]) -> bool:
        """Asks for each table what a reader asks for, without waiting.

        Whoever wants to change a table waits for its readers, and from then on nobody else may begin to read it. So
        being refused says that somebody waits, to every account; the process list says it only to those with PROCESS.
        """
        own = [row for row in self._processes(session) if int(row["Id"]) == connection_id]
        if not own or str(own[0]["State"] or "").startswith("Waiting for"):
            # It has ended, or waits itself.
            return False
        assert self.facts is not None
        # MySQL waits a second at least.
        session.rows(f"set session lock_wait_timeout = {0 if self.facts.is_maria else 1}")
        for table in sorted(tables):
            try:
                session.rows(f"select 1 from {quote(table)} limit 0")
            except Exception as error:
                if self.trouble(error).kind == "interrupted":
                    return True
                raise
        return False

    def cancel(self, session: Session, connection_id: int) -> None:
        try:
            session.rows(f"kill query {int(connection_id)}")
        except Exception as error:
            # 1094, unknown thread id: it has ended meanwhile.
            if getattr(error, "args", (None,))[0] != 1094:
                raise

    def _processes(self, session: Session) -> list[dict[str, Any]]:
        """Our own connections at least, whatever the account may do."""
        return session.records("show full processlist")

    def lag_seconds(self, session: Session) -> float | None:
        assert self.facts is not None
        try:
            return lag_of(session.records(f"show {self.facts.replica} status"))
        except Exception as error:
            if self.trouble(error).kind == "refused":
                return None
            raise


def lag_of(status: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds behind, from the answer to SHOW REPLICA STATUS; None when it does not replicate."""
    for row in status:
        for name in ("Seconds_Behind_Source", "Seconds_Behind_Master"):
            if row.get(name) is not None:
                return float(row[name])
    return None


def quote(name: str) -> str:
    """An identifier in backticks.

    Raises:
        ValueError: on a name no Bitrix table or column has.
    """
    if not _SIMPLE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no plain identifier")
    return f"`{name}`"


def mysql_column(
    name: str,
    data_type: str,
    column_type: str,
    *,
    precision: int | None = None,
    scale: int | None = None,
    is_nullable: bool = True,
    extra: str = "",
    charset: str | None = None,
    is_indexed: bool = False,
    chains_crc: bool = True,
) -> Column:
    """Maps one row of `information_schema.columns`.

    Args:
        data_type: the bare type, `int`.
        column_type: the full type, `int(10) unsigned`.
        precision, scale: of a decimal.
        charset: of a text.
        chains_crc: how the server at hand hashes, see `Facts`.
    """
    source, kind = f"t.{quote(name)}", data_type.lower()
    select, wire_type, pg_type = _route(source, kind, column_type.lower(), f"numeric({precision},{scale})", charset)
    is_foreign = bool(charset) and charset != "utf8mb4"
    terms, chained = _hashed(source, kind, is_nullable=is_nullable, chains_crc=chains_crc, is_foreign=is_foreign)
    in_utf8 = f"convert({source} using utf8mb4)" if charset and not charset.startswith("utf8") else source
    return Column(
        name=name.lower(),
        source=source,
        select=select,
        digest=_fingerprint(
            *_hashed(source, kind, is_nullable=True, chains_crc=chains_crc, is_foreign=is_foreign), chains_crc
        ),
        wire_type=wire_type,
        pg_type=pg_type,
        is_date=kind in {"date", "datetime", "timestamp"},
        is_session_time=kind == "timestamp",
        moves_by_itself="on update current_timestamp" in extra.lower(),
        indexed=is_indexed,
        is_nullable=is_nullable,
        # MariaDB lets a mere cast to binary be converted on its way out, faults and all.
        raw=f"convert({in_utf8 if kind in _TEXT else select} using binary)",
        terms=terms,
        chained=chained,
    )


def _route(source: str, kind: str, column_type: str, numeric: str, charset: str | None) -> tuple[str, str, str]:
    """Guarded expression, type on the wire, type in the warehouse."""
    as_text = f"cast({source} as char)"
    if kind in _INTEGERS:
        pg_type = _INTEGERS[kind]["unsigned" in column_type]
        if pg_type.startswith("numeric"):
            return as_text, "text", pg_type
        return f"cast({source} as signed)", "bigint", pg_type
    if kind in _TEXT:
        # Three-byte utf8 is UTF-8 as it is, and read as bytes its faults are seen; converted by the server they
        # would arrive as question marks.
        is_three_byte = charset in {"utf8", "utf8mb3"}
        return f"convert({source} using binary)" if is_three_byte else source, "text", "text"
    # Adding nothing makes NULL of every date that does not exist, in MySQL and MariaDB alike.
    time = (f"date_add({source}, interval 0 second)", "timestamp", "timestamp")
    routes = {
        "bit": (f"cast({source} + 0 as signed)", "bigint", "bigint"),
        "decimal": (as_text, "text", numeric),
        "double": (f"{source} + 0e0", "double precision", "double precision"),
        "float": (f"{source} + 0e0", "double precision", "double precision"),
        "date": (f"date_add({source}, interval 0 day)", "date", "date"),
        "datetime": time,
        "timestamp": time,
        "time": (as_text, "text", "interval"),
        **dict.fromkeys(_BINARY, (source, "bytea", "bytea")),
        **dict.fromkeys(_SHAPES, (f"st_astext({source})", "text", "text")),
    }
    # What is left (inet6, uuid …) comes as text, so that nothing is dropped silently.
    return routes.get(kind, (as_text, "text", "text"))


def _hashed(
    source: str, kind: str, *, is_nullable: bool, chains_crc: bool, is_foreign: bool
) -> tuple[tuple[str, ...], str]:
    """What goes into the hashed text, and what is chained behind it.

    A text is led by its length, in which NULL is an empty string: so NULL, '' and texts that hold the separator can
    never be taken for each other, whatever their neighbours are. concat_ws leaves the NULL itself out.

    Args:
        is_foreign: a text in another character set than utf8mb4. As bytes it makes the whole concatenation bytes; as a
            text it would be converted, or refused as an illegal mix of collations.
    """

    def unless_null(expression: str) -> str:
        return f"ifnull({expression}, '')" if is_nullable else expression

    if kind in _PLAIN:
        value = {"bit": f"{source} + 0", "float": f"{source} + 0e0", "double": f"{source} + 0e0"}.get(kind, source)
        return (unless_null(value),), ""
    value = source
    if kind in _SHAPES:
        value = f"st_astext({source})"
    elif kind not in _TEXT | _BINARY:
        value = f"cast({source} as char)"
    if kind not in _LARGE | _SHAPES:
        content = f"convert({value} using binary)" if is_foreign else value
        return (unless_null(f"length({value})"), content), ""
    if chains_crc:
        return (unless_null(f"length({value})"),), unless_null(value)
    # A concatenation longer than max_allowed_packet is NULL; large values go in by their own hash.
    return (unless_null(f"md5({value})"),), ""


def _fingerprint(terms: Sequence[str], chained: str, chains_crc: bool) -> str:
    """The same for a column that may be NULL and one that may not: the hashes of its values are."""
    return "|".join([*terms, chained, "crc" if chains_crc else "md5"])


def _md5_number(text: str) -> str:
    """60 bits of an MD5, never NULL. 60, so that it fits a signed bigint without care about signs."""
    return f"coalesce(cast(conv(left(md5({text}), 15), 16, 10) as signed), -1)"
