"""`lettertrail.*`: what our handler adds to a self-hosted site (include/bitrix_site/), on the sample site's tables."""

from __future__ import annotations

import re
from typing import Any

from lettertrail.sandbox.bitrix_methods.portal import (
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    integer,
    sequence,
)

SCOPE = "lettertrail"
EMAIL = 1
MOST = 50
PAGE = 500

methods = Methods()


@methods.on("lettertrail.suppress")
def suppress(portal: Portal, params: Params) -> Reply:
    """Puts addresses on the sender module's blacklist."""
    emails = [str(email) for email in sequence(params, "emails")]
    if not 1 <= len(emails) <= MOST:
        raise RestError("ERROR_ARGUMENT", f"Give 1 to {MOST} emails.")
    with portal.database.transaction() as cursor:
        return Reply({"outcomes": {email: _suppress_one(portal, cursor, email.strip().lower()) for email in emails}})


def _suppress_one(portal: Portal, cursor: Any, email: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        return "rejected"
    cursor.execute(
        "select ID, BLACKLISTED from b_sender_contact where TYPE_ID = %s and CODE = %s for update", (EMAIL, email)
    )
    row = cursor.fetchone()
    if row is None:
        cursor.execute(
            "insert into b_sender_contact (TYPE_ID, CODE, BLACKLISTED, DATE_INSERT, DATE_UPDATE) "
            "values (%s, %s, 'Y', %s, %s)",
            (EMAIL, email, portal.now(), portal.now()),
        )
        return "applied"
    if row["BLACKLISTED"] == "Y":
        return "already_ok"
    cursor.execute("update b_sender_contact set BLACKLISTED = 'Y' where ID = %s", (row["ID"],))
    return "applied"


@methods.on("lettertrail.suppressed")
def suppressed(portal: Portal, params: Params) -> Reply:
    """The blacklisted addresses by id, a page at a time."""
    with portal.database.transaction() as cursor:
        cursor.execute(
            "select ID as id, CODE as email from b_sender_contact "
            "where TYPE_ID = %s and BLACKLISTED = 'Y' and ID > %s order by ID limit %s",
            (EMAIL, integer(params.get("after")) or 0, PAGE),
        )
        items = list(cursor.fetchall())
    return Reply({"items": items, "next": items[-1]["id"] if len(items) == PAGE else None})
