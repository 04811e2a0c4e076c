"""What the brake held is put to a person: one question per audience and action, answered once.

An approval is a ceiling, not a command. The next push plans anew and lets through at most what was approved; more than
that is held again and asked again. Nothing here holds an address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from lettertrail.audiences.plan import Target
from lettertrail.audiences.shown import as_markdown
from lettertrail.errors import ConfigurationError
from lettertrail.warehouse.connect import Connection, connect

WAIT = timedelta(hours=12)
"""How long a question waits for its answer."""
VALID = timedelta(hours=24)
"""How long an approval may be used; also how long a refusal keeps the same question from being asked again."""

HELD = """
with

latest as (

    select distinct on (destination, account, audience)
        sync_run_id, destination, account, audience, plan, started_at
    from ops.sync_runs
    where not dry_run and finished_at is not null
    order by destination, account, audience, sync_run_id desc

)

select
    latest.sync_run_id,
    latest.destination,
    latest.account,
    latest.audience,
    hold ->> 'action',
    (hold ->> 'records')::bigint,
    (hold ->> 'out_of')::bigint,
    hold ->> 'why',
    latest.plan
from latest
cross join lateral jsonb_array_elements(latest.plan -> 'holds') as hold
where (hold ->> 'can_be_approved')::boolean
    and not exists (
        select
        from ops.approvals as asked
        where asked.destination = latest.destination
            and asked.account = latest.account
            and asked.audience = latest.audience
            and asked.action = hold ->> 'action'
            and asked.expires_at > %(at)s
            and (
                asked.answer is null
                or asked.ceiling - asked.spent >= (hold ->> 'records')::bigint
            )
    )
order by latest.destination, latest.account, latest.audience, hold ->> 'action'
"""
ASK = """
insert into ops.approvals
    (sync_run_id, destination, account, audience, action, ceiling, out_of, why, asked_at, expires_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
returning approval_id
"""
ANSWER = """
update ops.approvals
set answer = %(answer)s, answered_at = %(at)s, answered_by = %(by)s, expires_at = %(until)s
where approval_id = %(approval_id)s and answer is null
"""
GRANTED = """
select distinct on (action) action, approval_id, ceiling - spent
from ops.approvals
where destination = %(destination)s
    and account = %(account)s
    and audience = %(audience)s
    and answer = 'approved'
    and expires_at > %(at)s
order by action, approval_id desc
"""
SPEND = "update ops.approvals set spent = least(ceiling, spent + %s) where approval_id = %s"


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked. Holds no address: it travels through XCom."""

    approval_id: int
    subject: str
    body: str
    """Markdown."""


@dataclass(frozen=True, slots=True)
class Grant:
    """An approval that may still be used."""

    approval_id: int
    left: int
    """At most so many records may go."""


def ask(warehouse_dsn: str, *, at: datetime) -> list[Question]:
    """Writes down and returns what has to be asked: held by the latest push, and not asked yet."""
    with connect(warehouse_dsn, purpose="ask about held records") as connection:
        # two runs must not ask the same
        connection.execute("select pg_advisory_xact_lock(hashtextextended('lettertrail approvals', 0))")
        return [_ask(connection, row, at) for row in connection.execute(HELD, {"at": at}).fetchall()]


def answer(warehouse_dsn: str, approval_id: int, *, is_approved: bool, by: str | None, at: datetime) -> None:
    """Keeps the answer; `by` None means that nobody gave one in time.

    Raises:
        ConfigurationError: there is no such question, or it was answered before.
    """
    told = "unanswered" if by is None else "approved" if is_approved else "declined"
    values = {"approval_id": approval_id, "answer": told, "by": by, "at": at, "until": at + VALID}
    with connect(warehouse_dsn, purpose="answer about held records") as connection:
        if connection.execute(ANSWER, values).rowcount != 1:
            raise ConfigurationError(f"question {approval_id} is not open any more; look at ops.approvals")


def granted(connection: Connection, target: Target, *, at: datetime) -> dict[str, Grant]:
    """The approvals of a target that may be used now, by action."""
    rows = connection.execute(GRANTED, {**target.as_values(), "at": at})
    return {action: Grant(approval_id, left) for action, approval_id, left in rows}


def spend(connection: Connection, approval_id: int, records: int) -> None:
    """Takes records that were answered for off an approval."""
    connection.execute(SPEND, [records, approval_id])


def _ask(connection: Connection, row: tuple[object, ...], at: datetime) -> Question:
    *held, plan = row
    asked = connection.execute(ASK, [*held, at, at + WAIT]).fetchone()
    assert asked is not None
    assert isinstance(plan, dict)
    _, _, account, audience, action, records, out_of, _ = held
    subject = f"{account} {audience}: {action} {records} of {out_of} records?"
    body = (
        f"{as_markdown(plan)}\n\nApproving lets at most **{records}** records through, within {VALID} from the answer. "
        "The next push plans anew; if it then wants more, it is held and asked again."
    )
    return Question(int(asked[0]), subject, body)
