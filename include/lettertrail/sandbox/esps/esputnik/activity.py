"""What recipients did: rows by cursor, once support has switched them on."""

from __future__ import annotations

from datetime import datetime, time

from lettertrail.sandbox.esps.esputnik.router import EsputnikRouter
from lettertrail.sandbox.esps.esputnik.store import ACTIVITY, EsputnikStore
from lettertrail.sandbox.esps.esputnik.wire import bad, said, whole
from lettertrail.sandbox.esps.shell import Answer, Call, key_of
from lettertrail.sandbox.esps.zoned import stored

router = EsputnikRouter()

USUAL_ROWS = 500
MOST_ROWS = 25_000
NOT_SWITCHED_ON = "ContactActivity is disabled for your organization. Please contact support to enable ContactActivity."


@router.on("GET", "/v2/contacts/activity")
def list_activity(store: EsputnikStore, call: Call) -> Answer:
    """Rows after `offset`, in the order in which they were written; `startindex` is passed over without a word.

    A row written late has a late offset and an early time.
    """
    if store.setting(ACTIVITY) == "off":
        raise said(400, NOT_SWITCHED_ON)
    begin, end = _moment(store, call, "dateFrom", time.min), _moment(store, call, "dateTo", time.max)
    query = call.query
    conditions = {
        '"offset" > ?': whole(call, "offset", 0),
        "at >= ?": begin,
        "at <= ?": end,
        "key = ?": key_of(query["email"]) if query.get("email") else None,
        "status = ?": query.get("activityStatus") or None,
        "exists (select 1 from json_each(tags) t where t.value = ?)": query.get("messageTag") or None,
        # The account sends no text messages.
        "? = ''": query.get("sms") or None,
    }
    asked = {sql: value for sql, value in conditions.items() if value is not None}
    rows = store.rows(
        f'select * from activity where {" and ".join(asked)} order by "offset" limit ?',  # noqa: S608
        *asked.values(),
        whole(call, "maxrows", USUAL_ROWS, least=1, most=MOST_ROWS),
    )
    return Answer([store.activity_row(row) for row in rows])


@router.on("GET", "/v2/contacts/messages")
def list_history(store: EsputnikStore, call: Call) -> Answer:
    """The letters one contact got (U: parameters and fields beyond the name of the call)."""
    key = key_of(call.query.get("email", ""))
    rows = store.rows(
        "select message_id, message_name, broadcast_id, min(at) as at from activity where key = ? "
        "group by message_id, broadcast_id order by at",
        key,
    )
    return Answer(
        [
            {
                "messageId": row["message_id"],
                "messageName": row["message_name"],
                "broadcastId": row["broadcast_id"],
                "sentDateTime": store.local(row["at"]),
            }
            for row in rows
        ]
    )


def _moment(store: EsputnikStore, call: Call, name: str, of_day: time) -> str | None:
    """A naive time of the account's zone, or a day, whose first or last moment is meant."""
    text = call.query.get(name, "")
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad(f"Invalid value of parameter {name}") from None
    if len(text) == len("2026-01-31"):
        moment = datetime.combine(moment.date(), of_day)
    return stored(moment.replace(tzinfo=moment.tzinfo or store.timezone))
