"""The exact requests that go to webhooks.

Bulk hooks send a JSON array each minute or every 100 events, SMTP hooks every half minute or 500 events. Nothing is
signed and nothing is asked beforehand.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime

from lettertrail.sandbox.esps.shell import Json, dump
from lettertrail.sandbox.hooks import HookRequest

BATCH = 100
SMTP_BATCH = 500


def render(url: str, rows: Iterable[Json], *, size: int = BATCH) -> Iterator[HookRequest]:
    """The requests that carry these rows, `size` at a time."""
    waiting = list(rows)
    for begin in range(0, len(waiting), size):
        body = dump(waiting[begin : begin + size]).encode()
        yield HookRequest("POST", url, {"content-type": "application/json"}, body)


def letter_happening(row: sqlite3.Row) -> Json:
    """One row of the SMTP stream, from a row of the store's `letter_happenings` joined with its letter."""
    shown: Json = {
        "event": row["word"],
        "timestamp": int(datetime.fromisoformat(row["at"]).timestamp()),
        "message_id": row["id"],
        "recipient": row["recipient"],
        "sender": row["sender"],
        "subject": row["subject"],
    }
    more: Json = json.loads(row["more"])
    return shown | more


def happening(row: sqlite3.Row) -> Json:
    """One row of the bulk stream, from a row of the store's `happenings`."""
    moment = int(datetime.fromisoformat(row["at"]).timestamp())
    shown: Json = {
        # Now a number, now text.
        "timestamp": moment if row["happening"] % 2 else str(moment),
        "event": row["word"],
        "email": row["email"],
    }
    if row["campaign_id"] is not None:
        shown["task_id"] = row["campaign_id"]
    more: Json = json.loads(row["more"])
    return shown | more
