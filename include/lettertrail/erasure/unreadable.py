"""Rows that could not be read are kept as the hex of their bytes, in which no search for a text finds anything."""

from __future__ import annotations

import re
from collections.abc import Mapping

from psycopg import sql

from lettertrail.erasure.search import Search
from lettertrail.warehouse.connect import Connection

UNREADABLE = "ops.quarantine"


def spelled_out(raw: Mapping[str, str]) -> str:
    """The bytes of `ops.quarantine.raw` as far as they are text."""
    return " ".join(bytes.fromhex(value).decode("utf-8", "replace") for value in raw.values())


def unreadable(connection: Connection, search: Search, condition: sql.Composable) -> list[str]:
    """Where rows lie (`ctid`) in whose bytes a strong token stands.

    Args:
        condition: of the rows that are looked at, named `each`.
    """
    rows = connection.execute(
        sql.SQL("select ctid::text, raw from ops.quarantine as each where raw is not null and {}").format(condition)
    )
    return [place for place, raw in rows if re.search(search.pattern, spelled_out(raw), re.IGNORECASE)]
