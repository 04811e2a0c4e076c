"""What every method works with: the site's database, its time zone, the webhook's user, replies and errors."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import MySQLdb
from MySQLdb.connections import Connection
from MySQLdb.cursors import DictCursor

from lettertrail.clock import Clock, system_clock
from lettertrail.errors import ConfigurationError
from lettertrail.sandbox.mariadb import connect

Params = Mapping[str, Any]
Row = dict[str, Any]

POOL_SIZE = 4


class RestError(Exception):
    """An error answer: `{"error": code, "error_description": text}`. Older CRM methods leave the code empty."""

    def __init__(self, code: str, description: str, *, status: int = 400) -> None:
        super().__init__(f"{status} {code}")
        self.code = code
        self.description = description
        self.status = status

    def body(self) -> dict[str, str]:
        """The body as Bitrix writes it."""
        return {"error": self.code, "error_description": self.description}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a method gives back; list methods add `total` and `next` unless asked not to count."""

    result: Any
    total: int | None = None
    next: int | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table as the database describes it."""

    name: str
    type: str
    """The data type without length: int, varchar, datetime …"""
    nullable: bool


class Database:
    """A few connections to the site's MariaDB, lent one at a time.

    Args:
        dsn: `mysql://user:password@host:port/database`.

    Raises:
        ConfigurationError: for a DSN that is none, or a database that cannot be reached.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: queue.LifoQueue[Connection | None] = queue.LifoQueue()
        for _ in range(POOL_SIZE):
            self._idle.put(None)
        try:
            with self.transaction() as cursor:
                cursor.execute("select 1")
        except MySQLdb.OperationalError as error:
            raise ConfigurationError(f"the Bitrix database cannot be reached (code {error.args[0]})") from error

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        """A cursor whose rows are dicts; committed at the end, undone when something raises."""
        connection = self._idle.get()
        try:
            if connection is None or not _alive(connection):
                connection = None
                connection = self._connect()
            with connection.cursor(DictCursor) as cursor:
                yield cursor
            connection.commit()
        except BaseException:
            if connection is not None:
                connection.close()
                connection = None
            raise
        finally:
            self._idle.put(connection)

    def _connect(self) -> Connection:
        connection = connect(self._dsn)
        with connection.cursor() as cursor:
            # What another process committed has to show at once, also to a connection that was lent before.
            cursor.execute("set session transaction isolation level read committed")
        return connection

    def close(self) -> None:
        """Closes the idle connections."""
        for _ in range(POOL_SIZE):
            connection = self._idle.get()
            if connection is not None:
                connection.close()
            self._idle.put(None)


def _alive(connection: Connection) -> bool:
    """The site's database may have been restarted since the connection was last used."""
    try:
        connection.ping()
    except MySQLdb.OperationalError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Access:
    """Who is calling: an incoming webhook, or an application with a token of one of its users."""

    user_id: int
    scopes: frozenset[str]
    client_id: str | None = None
    """The application; None for a webhook."""
    connector: str = ""
    """`auth_connector`: the mark by which an application leaves out the events of its own changes."""

    @property
    def key(self) -> str:
        """By what run time is counted: per application or webhook."""
        return f"application {self.client_id}" if self.client_id else f"webhook of user {self.user_id}"


@dataclass(frozen=True, slots=True)
class Portal:
    """The site as one caller sees it."""

    database: Database
    timezone: ZoneInfo
    access: Access
    clock: Clock = system_clock
    user_zone: ZoneInfo | None = None
    """The personal zone of the user, which changes what is shown, never what is stored (bitrix.md 5)."""
    member_id: str = ""
    has_events: bool = False
    """Whether an application may be waiting for offline events."""

    @property
    def user_id(self) -> int:
        """In whose name the caller acts."""
        return self.access.user_id

    @property
    def shown_zone(self) -> ZoneInfo:
        """The zone of the times that go out, and of those that come in without an offset."""
        return self.user_zone or self.timezone

    def now(self) -> datetime:
        """The current time as the site writes it: naive, in its zone, whole seconds."""
        return self.clock().astimezone(self.timezone).replace(tzinfo=None, microsecond=0)

    def iso(self, moment: datetime) -> str:
        """A stored time as REST shows it: the same moment with the offset of the user's zone, else of the site's."""
        return moment.replace(tzinfo=self.timezone).astimezone(self.shown_zone).isoformat(timespec="seconds")

    def iso_date(self, day: date) -> str:
        """A stored date as REST shows it: its midnight moved by the site's present offset, 03:00 in Moscow.

        The offset behind it is that of the day itself: a birthday in the summer of 1990 is `T03:00:00+04:00`, and taken
        to UTC it would be the day before.
        """
        moved = datetime(day.year, day.month, day.day, tzinfo=UTC) + (self._offset() or timedelta())
        return moved.replace(tzinfo=self.timezone).isoformat()

    def _offset(self) -> timedelta | None:
        return self.clock().astimezone(self.timezone).utcoffset()

    def local(self, text: str) -> datetime | None:
        """A time given by a caller as the site would store it; None when it is no time."""
        for read in (datetime.fromisoformat, _russian):
            try:
                moment = read(text.strip())
            except ValueError:
                continue
            aware = moment if moment.tzinfo else moment.replace(tzinfo=self.shown_zone)
            return aware.astimezone(self.timezone).replace(tzinfo=None)
        return None


def _russian(text: str) -> datetime:
    form = "%d.%m.%Y %H:%M:%S" if ":" in text else "%d.%m.%Y"
    return datetime.strptime(text, form).replace(tzinfo=UTC).replace(tzinfo=None)


def columns_of(cursor: Any, table: str) -> dict[str, Column]:
    """The columns of a table by name, read each time: a user field added by the site shows at once."""
    cursor.execute(
        "select column_name as name, data_type as type, is_nullable as nullable from information_schema.columns "
        "where table_schema = database() and table_name = %s order by ordinal_position",
        (table,),
    )
    return {
        row["name"]: Column(row["name"], row["type"].lower(), row["nullable"] == "YES") for row in cursor.fetchall()
    }


Method = Callable[[Portal, Params], Reply]


class Methods:
    """Methods by name."""

    def __init__(self) -> None:
        self._methods: dict[str, Method] = {}

    def on(self, *names: str) -> Callable[[Method], Method]:
        """Registers the decorated function under each name."""

        def register(method: Method) -> Method:
            for name in names:
                self._methods[name.lower()] = method
            return method

        return register

    def include(self, other: Methods) -> None:
        """Takes over the methods of `other`."""
        self._methods |= other._methods

    def find(self, name: str) -> Method:
        """The method of that name, whatever its case.

        Raises:
            RestError: 404 `ERROR_METHOD_NOT_FOUND`.
        """
        try:
            return self._methods[name.lower()]
        except KeyError:
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", status=404) from None

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._methods)


def integer(value: Any) -> int | None:
    """A whole number from what a caller sent (number or text), or None."""
    if isinstance(value, bool):
        return None
    try:
        return int(str(value).strip())
    except ValueError:
        return None


def mapping(params: Params, name: str) -> Params:
    """A parameter that should be an object; anything else counts as empty, as in PHP."""
    value = params.get(name)
    return value if isinstance(value, Mapping) else {}


def sequence(params: Params, name: str) -> list[Any]:
    """A parameter that should be a list; PHP takes an object's values and a lone value too."""
    value = params.get(name)
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, list):
        return value
    return [] if value in (None, "") else [value]


def card_id(params: Params) -> int:
    """The parameter `id` in either case.

    Raises:
        RestError: 400 when it is missing or no positive number.
    """
    card = integer(params.get("id", params.get("ID")))
    if card is None or card <= 0:
        raise RestError("", "ID is not defined or invalid.")
    return card
