"""To-dos for managers about people who opened a letter and did not answer: once per letter and person.

Who and when is `marts.mart_crm_follow_ups`. What was decided is written to `ops.follow_ups` before anything is called:
the durable key. A person who was joined with another since, and a card that had a to-do about the letter, count as
served. So that a mailing to many does not bury a manager, each gets so many new ones a day, in the order of `place`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from psycopg import sql

from lettertrail.audiences.brake import Limits
from lettertrail.audiences.plan import Plan, Target, plan_records
from lettertrail.audiences.push import SyncResult, sync_records
from lettertrail.audiences.state import Marks
from lettertrail.bitrix.rest import BitrixRest
from lettertrail.bitrix.rest_todos import BitrixTodos, Todo
from lettertrail.clock import Clock
from lettertrail.esps.port import Outcome, Record
from lettertrail.warehouse.connect import Connection

AUDIENCE = "follow_ups"
TIME_TO_ACT = timedelta(days=1)
LIMITS = Limits(tolerated_additions=1_000_000)
"""How many there may be is a matter of each manager's day, not of how many there were before."""

PLAN_FOLLOW_UPS = """
insert into planned (record_key, action, reason, has_evidence, is_ours, attributes, value)
with

wanted as (

    select
        'LT-' || left(encode(sha256(convert_to(follow_up.follow_up_id, 'UTF8')), 'hex'), 20) as follow_up_key,
        follow_up.*
    from marts.mart_crm_follow_ups as follow_up
    where not exists (
        select
        from (
            select 'contact' as card_type, ops.erased_cards('contact') as card_id
            union all
            select 'lead', ops.erased_cards('lead')
        ) as erased
        where (erased.card_type, erased.card_id) = (follow_up.card_type, follow_up.card_id)
    )

),

served as (

    select
        noted.follow_up_key,
        noted.letter_id,
        coalesce(redirect.person_id, noted.person_id) as person_id,
        noted.card_type,
        noted.card_id
    from ops.follow_ups as noted
    left join marts.dim_person_redirect as redirect
        on noted.person_id = redirect.old_person_id

),

given_today as (

    select responsible_id, count(*) as number
    from ops.follow_ups
    where noted_at > %(day_ago)s
    group by responsible_id

),

open as (

    select
        wanted.*,
        noted.follow_up_key is not null as is_noted,
        count(*) filter (where noted.follow_up_key is null) over (
            partition by wanted.responsible_id order by wanted.place
        ) + coalesce(given_today.number, 0) as number_today
    from wanted
    left join ops.follow_ups as noted on wanted.follow_up_key = noted.follow_up_key
    left join given_today on wanted.responsible_id = given_today.responsible_id
    left join confirmed on wanted.follow_up_key = confirmed.record_key
    where (
            confirmed.value is null
            or (confirmed.value = 'add_refused' and confirmed.confirmed_at < %(refused_before)s)
        )
        and not exists (
            select
            from served
            where served.letter_id = wanted.letter_id
                and served.follow_up_key <> wanted.follow_up_key
                and (
                    served.person_id = wanted.person_id
                    or (served.card_type = wanted.card_type and served.card_id = wanted.card_id)
                )
        )

)

select
    follow_up_key,
    'add',
    'opened and did not answer',
    false,
    true,
    jsonb_build_object(
        'letter_id', letter_id,
        'person_id', person_id,
        'letter', letter,
        'letter_number', letter_number,
        'card_type', card_type,
        'card_id', card_id,
        'responsible_id', responsible_id,
        'opened_at', opened_at
    ),
    'member'
from open
where is_noted or number_today <= %(per_day)s
"""
NOTE_FOLLOW_UPS = """
insert into ops.follow_ups
    (follow_up_key, letter_id, person_id, card_type, card_id, responsible_id, opened_at, noted_at)
select
    record_key,
    attributes ->> 'letter_id',
    attributes ->> 'person_id',
    attributes ->> 'card_type',
    (attributes ->> 'card_id')::bigint,
    (attributes ->> 'responsible_id')::bigint,
    (attributes ->> 'opened_at')::timestamptz,
    %(at)s
from planned
on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class FollowUps:
    """What a push of to-dos needs to know besides the portal."""

    per_day: int
    """New to-dos for one manager in 24 hours."""
    zone: ZoneInfo
    """In which the manager reads when the letter was opened."""
    dry_run: bool


def sync_follow_ups(
    options: FollowUps,
    rest: BitrixRest,
    warehouse_dsn: str,
    *,
    run_id: str,
    clock: Clock,
    release_brake: bool = False,
    marks: Marks | None = None,
) -> SyncResult:
    """Makes the to-dos that are due. `marks` as in `audiences.push.sync_suppressions`.

    Raises:
        BrakeApplied: the marts are too old to act on; nothing was made.
        ApiError: recorded; what was not confirmed is looked for and planned again by the next run.
        ContractError: a mart is missing.
        LedgerImbalance: the run's sums do not add up.
    """
    todos = BitrixTodos(rest)
    target = Target(todos.name, todos.account, AUDIENCE)

    def make_plan(connection: Connection, *, at: datetime) -> Plan:
        values = {"per_day": options.per_day, "day_ago": at - timedelta(days=1)}
        plan = plan_records(connection, target, sql.SQL(PLAN_FOLLOW_UPS).format(), values, at=at)
        if not options.dry_run:
            connection.execute(NOTE_FOLLOW_UPS, {"at": at})
        return plan

    def add(records: Sequence[Record]) -> Iterator[Outcome]:
        deadline = clock() + TIME_TO_ACT
        return todos.add([_todo(record, deadline, options.zone) for record in records])

    return sync_records(
        target,
        todos,
        {"add": add},
        warehouse_dsn,
        make_plan=make_plan,
        run_id=run_id,
        clock=clock,
        dry_run=options.dry_run,
        release_brake=release_brake,
        limits=LIMITS,
        marks=marks,
    )


def _todo(record: Record, deadline: datetime, zone: ZoneInfo) -> Todo:
    facts = record.attributes
    letter = str(facts["letter"]).replace("[", "(").replace("]", ")")
    opened = datetime.fromisoformat(facts["opened_at"]).astimezone(zone)
    lines = [
        f"Письмо «{letter}» открыто {opened:%d.%m.%Y}, ответа с тех пор нет.",
        f"Карточка: [URL=/crm/{facts['card_type']}/details/{facts['card_id']}/]открыть[/URL]",
    ]
    if facts["letter_number"] is not None:
        lines.append(f"Письмо: [URL=/marketing/letter/edit/{facts['letter_number']}/]открыть[/URL]")
    return Todo(
        mark=record.key,
        card_type=facts["card_type"],
        card_id=int(facts["card_id"]),
        responsible_id=int(facts["responsible_id"]),
        deadline=deadline,
        title=f"Нет ответа на письмо «{letter}»",
        text="\n".join(lines),
    )
