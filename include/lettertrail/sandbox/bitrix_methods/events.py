"""Offline events: what applications asked to be told of, kept in the portal until they fetch it.

One row per event and object, with the time of the last change; a row that a process has taken no longer takes part, so
a change that comes while it is being handled makes a new one. The tables are those of Bitrix' own module `rest`.

    note(cursor, "ONCRMCONTACTUPDATE", 5, at=moment)     # for a change made straight in the database
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from lettertrail.sandbox.bitrix_methods.portal import Database, Portal

KINDS = ("CONTACT", "LEAD", "DEAL", "COMPANY", "ACTIVITY")
NAMES = (
    *(f"ONCRM{kind}{verb}" for kind in KINDS for verb in ("ADD", "UPDATE", "DELETE")),
    "ONCRMDEALMOVETOCATEGORY",
    *(f"ONCRM{kind}USERFIELD{verb}" for kind in KINDS[:4] for verb in ("ADD", "UPDATE", "DELETE", "SETENUMVALUES")),
    *(f"ONCRMDYNAMICITEM{verb}" for verb in ("ADD", "UPDATE", "DELETE")),
    "ONSALEORDERSAVED",
    "ONORDERENTITYSAVED",
    "ONORDERDELETED",
    "ONPAYMENTENTITYSAVED",
    "ONOFFLINEEVENT",
)

TABLES = (
    "create table if not exists b_rest_event ("
    "ID int not null auto_increment primary key, APP_ID varchar(100) not null, EVENT_NAME varchar(100) not null, "
    "EVENT_HANDLER varchar(255) not null default '', USER_ID int not null default 0, "
    "CONNECTOR_ID varchar(100) not null default '', "
    "unique key ux_rest_event (APP_ID, EVENT_NAME, EVENT_HANDLER, USER_ID, CONNECTOR_ID)) engine=InnoDB",
    "create table if not exists b_rest_event_offline ("
    "ID int not null auto_increment primary key, TIMESTAMP_X datetime not null, MESSAGE_ID varchar(100) not null, "
    "APP_ID varchar(100) not null, EVENT_NAME varchar(100) not null, EVENT_DATA text, EVENT_ADDITIONAL text, "
    "PROCESS_ID varchar(100) not null default '', CONNECTOR_ID varchar(100) not null default '', "
    "ERROR int not null default 0, "
    "unique key ux_rest_offline (MESSAGE_ID, APP_ID, CONNECTOR_ID, PROCESS_ID)) engine=InnoDB",
)


def prepare(database: Database) -> None:
    """Makes the two tables."""
    with database.transaction() as cursor:
        for statement in TABLES:
            cursor.execute(statement)


def emit(portal: Portal, cursor: Any, event: str, card: int) -> None:
    """Notes an event for every application that asked for it, except by the connector that made the change."""
    if not portal.has_events:
        return
    _note(cursor, event, card, at=portal.now(), user_id=portal.user_id, connector=portal.access.connector)


def note(cursor: Any, event: str, card: int, *, at: datetime) -> None:
    """Notes a change that was made past REST, on the pages of the site.

    Args:
        cursor: on the site's database; the row becomes visible with its transaction.
        at: the site's local time.
    """
    _note(cursor, event, card, at=at, user_id=0, connector="")


def _note(cursor: Any, event: str, card: int, *, at: datetime, user_id: int, connector: str) -> None:
    data = json.dumps({"FIELDS": {"ID": str(card)}})
    message = hashlib.md5(f"{event}|{data}".encode(), usedforsecurity=False).hexdigest()
    cursor.execute(
        "insert into b_rest_event_offline (TIMESTAMP_X, MESSAGE_ID, APP_ID, EVENT_NAME, EVENT_DATA, EVENT_ADDITIONAL, "
        "CONNECTOR_ID) select %s, %s, e.APP_ID, e.EVENT_NAME, %s, %s, e.CONNECTOR_ID from b_rest_event e "
        "where e.EVENT_NAME = %s and e.EVENT_HANDLER = '' and (e.CONNECTOR_ID = '' or e.CONNECTOR_ID <> %s) "
        "on duplicate key update TIMESTAMP_X = values(TIMESTAMP_X)",
        (at, message, data, json.dumps({"user_id": str(user_id)}) if user_id else None, event, connector),
    )
