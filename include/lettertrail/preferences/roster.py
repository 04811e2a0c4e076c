"""A link for everybody letters go to, ready to be put into letters.

Numbers are given once and for all; links are made from them by the newest secret, and made anew when it changes. So a
segment's attributes change, and are sent again, only then.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from lettertrail.clock import Clock
from lettertrail.errors import ContractError
from lettertrail.preferences.links import Links
from lettertrail.warehouse.connect import Connection, connect
from lettertrail.warehouse.session import transaction, translated_errors

_BATCH = 50_000
COLUMNS = ("email", "preferences_url", "unsubscribe_url")

_GIVE_NUMBERS = """
    insert into ops.links (email, made_at)
    select page.email, %(at)s
    from marts.mart_preference_page as page
    left join ops.links as known on page.email = known.email
    where known.email is null
    on conflict (email) do nothing
"""
_UNSIGNED = """
    select link_id from ops.links where signed_with is distinct from %(with)s and link_id > %(after)s
    order by link_id limit %(size)s
"""
_SIGN = """
    update ops.links as held
    set signed_with = %(with)s, preferences_url = made.preferences_url, unsubscribe_url = made.unsubscribe_url
    from unnest(%(numbers)s::uuid[], %(preferences)s::text[], %(unsubscribe)s::text[])
        as made (link_id, preferences_url, unsubscribe_url)
    where held.link_id = made.link_id
"""


@dataclass(frozen=True, slots=True)
class Signed:
    """What was done."""

    added: int
    """Addresses that had no link before."""
    signed: int
    """Links made, those of new addresses included."""


def sign_links(dsn: str, links: Links, *, clock: Clock) -> Signed:
    """Gives every address of `marts.mart_preference_page` its links. Killed anywhere, the next run goes on.

    Args:
        dsn: of the role lettertrail_sync.

    Raises:
        ConfigurationError: the public address is not known.
        ContractError: the marts were never built.
    """
    with connect(dsn, purpose="links", autocommit=True) as connection, translated_errors("links"):
        added = _give_numbers(connection, clock)
        signed = sum(_sign(connection, links, numbers) for numbers in _unsigned(connection, links))
    return Signed(added, signed)


def export_links(dsn: str, path: Path) -> int:
    """Writes all links as CSV, for whatever cannot be pushed to; only the owner of the file may read it."""
    with connect(dsn, purpose="links") as connection, translated_errors("links"):
        rows = connection.execute(
            "select email, preferences_url, unsubscribe_url from ops.links where signed_with is not null order by email"
        ).fetchall()
    path.touch(mode=0o600)
    path.chmod(0o600)  # it may have been there before
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return len(rows)


def _give_numbers(connection: Connection, clock: Clock) -> int:
    try:
        return connection.execute(_GIVE_NUMBERS, {"at": clock()}).rowcount
    except psycopg.errors.UndefinedTable:
        raise ContractError("marts.mart_preference_page is not there: build the marts first") from None


def _unsigned(connection: Connection, links: Links) -> Iterator[list[UUID]]:
    values: dict[str, Any] = {"with": links.fingerprint, "after": UUID(int=0), "size": _BATCH}
    while numbers := [number for (number,) in connection.execute(_UNSIGNED, values).fetchall()]:
        yield numbers
        values["after"] = numbers[-1]


def _sign(connection: Connection, links: Links, numbers: list[UUID]) -> int:
    values = {
        "with": links.fingerprint,
        "numbers": numbers,
        "preferences": [links.url("preferences", number) for number in numbers],
        "unsubscribe": [links.url("unsubscribe", number) for number in numbers],
    }
    with transaction(connection):
        return connection.execute(_SIGN, values).rowcount
