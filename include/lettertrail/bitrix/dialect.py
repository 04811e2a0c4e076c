"""What differs between the database servers a Bitrix site runs on; `sql.py` is what does not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lettertrail.bitrix.columns import Column

CONNECT_SECONDS = 5
LOCK_SECONDS = 30
"""How long a read waits behind a change of its table."""
IDLE_SECONDS = 300
"""After which the server itself closes a connection of ours that nobody uses."""

Row = tuple[Any, ...]
Query = Callable[[str], list[Row]]
"""Runs a statement and returns its rows."""
Kind = Literal["interrupted", "undecodable", "lost", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a statement failed, without anything of what it read."""

    kind: Kind
    """`interrupted`: ended or kept waiting from outside, worth repeating · `undecodable`: a value could not be read ·
    `lost`: the connection broke · `refused`: login or rights, for a person to mend · `failed`: anything else."""
    text: str


class Session(Protocol):
    """A connection that reads row by row. Whatever the driver raises, `Dialect.trouble` understands."""

    @property
    def id(self) -> int:
        """The server's number for it."""

    def rows(self, statement: str) -> list[Row]:
        """All rows of a statement."""

    def records(self, statement: str) -> list[dict[str, Any]]:
        """The same by column name."""

    def close(self) -> None:
        """Ends it."""


class Dialect(ABC):
    """One kind of server, and what is known of the one at hand."""

    kind: str
    codec = "utf-8"
    """How the bytes that `Column.raw` yields are text."""
    refused_hint: str
    """What to do when the account may not read something."""
    join_in_order = "join"
    """Joins a large table to a few keys, beginning with the keys."""

    @abstractmethod
    def open(self, *, statement_seconds: int) -> Session:
        """A read-only session in autocommit mode. Raises what the driver raises."""

    @abstractmethod
    def stream_settings(self, tag: str, *, statement_seconds: int) -> list[str]:
        """Statements that make a ConnectorX connection such a session."""

    @abstractmethod
    def tagged(self, statement: str, tag: str) -> str:
        """The statement, to be found again by `find`."""

    @abstractmethod
    def trouble(self, error: BaseException) -> Trouble:
        """What an error of the driver or of ConnectorX means."""

    # --- the catalogue ---

    @abstractmethod
    def columns(self, query: Query, table: str) -> list[Column]:
        """The columns of a table, in its order; empty when it is not there.

        Raises:
            ConfigurationError: it is there, and the account may read none of them.
        """

    @abstractmethod
    def row_bytes(self, table: str) -> str:
        """A statement for about how many bytes a row of the table takes; NULL when nobody has counted."""

    # --- expressions ---

    @abstractmethod
    def quote(self, name: str) -> str:
        """A quoted identifier. Raises ValueError on a name that no Bitrix table or column has."""

    @abstractmethod
    def number(self, expression: str) -> str:
        """As a signed whole number of 64 bits."""

    @abstractmethod
    def text(self, expression: str) -> str:
        """As text."""

    @abstractmethod
    def slice_number(self, expression: str, width: int) -> str:
        """A whole number divided by another, towards zero."""

    @abstractmethod
    def latest(self, expression: str) -> str:
        """Of a group, the latest time that exists, as `YYYY-MM-DD HH:MM:SS[.ffffff]`."""

    @abstractmethod
    def text_key(self, names: Sequence[str]) -> str:
        """60 bits of the MD5 over key columns, as the warehouse computes them over the copied values."""

    @abstractmethod
    def row_hash(self, columns: Sequence[Column]) -> str:
        """A whole number of 64 bits, never NULL; differs (but for chance) when any value differs."""

    # --- not being in the way ---

    @abstractmethod
    def find(self, session: Session, tag: str) -> int | None:
        """The number of the connection that runs the tagged statement."""

    @abstractmethod
    def is_in_the_way(self, session: Session, connection_id: int, tables: Collection[str]) -> bool:
        """Whether somebody waits for a lock that the connection holds by reading these tables."""

    @abstractmethod
    def cancel(self, session: Session, connection_id: int) -> None:
        """Ends the statement that a connection of our own account runs."""

    @abstractmethod
    def lag_seconds(self, session: Session) -> float | None:
        """How far a replica is behind; None on a primary, or when we may not know. Raises what the driver raises."""


def cut(text: str, *, secret: str) -> str:
    """A server's message, short and without the password."""
    first = text.strip().splitlines()[0] if text.strip() else "no message"
    return (first.replace(secret, "***") if secret else first)[:300]
