"""The SQL of planning and of keeping the push ledger. `%(name)s` are bound, never pasted.

`ops.acknowledged.value` says what a destination confirmed last about a record:

    suppressed            we suppressed it (only this is ever released)
    found                 it was suppressed already when we came
    member                it is in the audience; `member:<md5>` when attributes were sent along
    <action>_refused      it refused that action; asked again after a while or when the contact changed

A record that was released, or removed from an audience, has no row.
"""

from __future__ import annotations

TEMPORARY_TABLES = (
    """
    create temporary table if not exists planned (
        record_key    text not null,
        action        text not null,
        reason        text not null,
        has_evidence  boolean not null,
        is_ours       boolean not null default false,
        attributes    jsonb not null default '{}',
        value         text,
        held_because  text
    )
    """,
    """
    create temporary table if not exists judged (
        record_key   text not null,
        attributes   jsonb not null,
        value        text not null,
        state        text,
        is_held_out  boolean not null
    )
    """,
    """
    create temporary table if not exists confirmed (
        record_key    text primary key,
        value         text not null,
        confirmed_at  timestamptz not null
    )
    """,
    "create temporary table if not exists suppressed (record_key text primary key, state text not null)",
    "drop index if exists planned_order",
    "truncate planned, judged, confirmed, suppressed",
)

READ_CONFIRMED = """
insert into confirmed (record_key, value, confirmed_at)
select record_key, value, confirmed_at
from ops.acknowledged
where destination = %(destination)s and account = %(account)s and audience = %(audience)s
"""
READ_SUPPRESSED = """
insert into suppressed (record_key, state)
select email, min(state)
from marts.dim_suppression
where scope = 'everything'
group by email
"""

PLAN_ESP_SUPPRESSIONS = """
with

mailable as (

    -- the newest sighting of an address on any list of the account
    select lower(btrim(email)) as record_key, max(_loaded_at) as seen_at
    from raw_esp.contacts
    where esp = %(destination)s
        and account = %(account)s
        and status in ('subscribed', 'pending', 'unknown')
        and _deleted_at is null
    group by 1

)

insert into planned (record_key, action, reason, has_evidence, value)
select
    suppressed.record_key,
    'suppress',
    'suppressed: ' || suppressed.state,
    true,
    'suppressed'
from suppressed
inner join mailable using (record_key)
left join confirmed using (record_key)
where confirmed.record_key is null
    or mailable.seen_at > confirmed.confirmed_at
    or (confirmed.value = 'suppress_refused' and confirmed.confirmed_at < %(refused_before)s)
"""

PLAN_CRM_FLAGS = """
with

tried as (

    -- the last word about a record is a call whose answer we never saw
    select distinct on (record_key)
        record_key,
        action,
        outcome = 'retry_pending' and reason not like '%%; not sent yet' as is_unanswered
    from ops.sync_records
    where sync_run_id in (
        select sync_run_id
        from ops.sync_runs
        where destination = %(destination)s
            and account = %(account)s
            and audience = %(audience)s
            and not dry_run
    )
    order by record_key, sync_run_id desc

),

contacts as (

    select
        contact_id::text as record_key,
        is_marketing_allowed,
        coalesce(suppression_state, 'unknown') as state
    from marts.dim_crm_contact

)

insert into planned (record_key, action, reason, has_evidence, is_ours, value)
select
    contacts.record_key,
    'suppress',
    'suppressed: ' || contacts.state,
    true,
    coalesce(tried.is_unanswered and tried.action = 'suppress', false),
    'suppressed'
from contacts
left join confirmed using (record_key)
left join tried using (record_key)
where not contacts.is_marketing_allowed
    and (
        confirmed.record_key is null
        or (confirmed.value = 'suppress_refused' and confirmed.confirmed_at < %(refused_before)s)
    )

union all

select
    contacts.record_key,
    'release',
    'newer consent',
    false,
    true,
    null
from contacts
inner join confirmed using (record_key)
where contacts.is_marketing_allowed
    and (
        confirmed.value = 'suppressed'
        or (confirmed.value = 'release_refused' and confirmed.confirmed_at < %(refused_before)s)
    )
"""

# The holdout draws the same people every time and other people for every segment. 10 000 steps: 0.01 percent.
JUDGE_PEOPLE = """
insert into judged (record_key, attributes, value, state, is_held_out)
with

people as (

    select distinct on (lower(btrim(person.email)))
        lower(btrim(person.email)) as record_key,
        coalesce(person.person_id::text, lower(btrim(person.email))) as draw_key,
        to_jsonb(person) - 'email' - 'person_id' as attributes
    from {relation} as person
    where btrim(person.email) <> ''
    order by lower(btrim(person.email)), person.person_id

)

select
    people.record_key,
    people.attributes,
    case
        when %(sends_attributes)s and people.attributes <> '{{}}' then 'member:' || md5(people.attributes::text)
        else 'member'
    end,
    suppressed.state,
    ('x' || substr(md5(%(segment)s || ':' || people.draw_key), 1, 8))::bit(32)::bigint %% 10000 < %(holdout)s
from people
left join suppressed using (record_key)
"""

PLAN_SEGMENT = """
with

members as (

    select * from confirmed where value <> 'add_refused'

),

desired as (

    select * from judged where state is null and not is_held_out

)

insert into planned (record_key, action, reason, has_evidence, attributes, value)
select
    desired.record_key,
    'add',
    case when confirmed.value like 'member%%' then 'attributes changed' else 'joined the segment' end,
    false,
    desired.attributes,
    desired.value
from desired
left join confirmed using (record_key)
where %(mode)s <> 'suppress_only'
    -- a destination that stopped taking attributes has nothing to be told about them
    and (
        confirmed.value is null
        or confirmed.value in ('add_refused', 'remove_refused')
        or (desired.value <> 'member' and confirmed.value <> desired.value)
    )
    and (confirmed.value is distinct from 'add_refused' or confirmed.confirmed_at < %(refused_before)s)

union all

select
    members.record_key,
    'remove',
    case
        when suppressed.state is not null then 'suppressed: ' || suppressed.state
        when judged.is_held_out then 'held out'
        else 'left the segment'
    end,
    suppressed.state is not null,
    '{}',
    null
from members
left join judged using (record_key)
left join suppressed using (record_key)
where (suppressed.state is not null or (%(mode)s = 'mirror' and (judged.record_key is null or judged.is_held_out)))
    and (members.value <> 'remove_refused' or members.confirmed_at < %(refused_before)s)
"""

COUNT_JUDGED = """
select
    count(*),
    count(*) filter (where state is not null),
    count(*) filter (where state is null and is_held_out)
from judged
"""
COUNT_MEMBERS = "select count(*) from confirmed where value <> 'add_refused'"
COUNT_OURS = "select count(*) from confirmed where value in ('suppressed', 'release_refused')"
COUNT_CONFIRMED = """
select count(*) from ops.acknowledged where audience = 'suppressions' and value in ('suppressed', 'found')
"""
COUNT_SUPPRESSION = "select count(*) from suppressed"

PLAN_LINES = """
select action, reason, has_evidence, count(*)
from planned
group by action, reason, has_evidence
order by action, reason
"""
PLAN_SAMPLE = """
select action, reason, left(encode(sha256(record_key::bytea), 'hex'), 12) as fingerprint
from planned
order by fingerprint
limit %s
"""

# --- the ledger of a push -------------------------------------------------------------------------------------

IS_FIRST_RUN = """
select
    not exists (
        select
        from ops.acknowledged
        where destination = %(destination)s and account = %(account)s and audience = %(audience)s
    )
    and not exists (
        select
        from ops.sync_runs
        where destination = %(destination)s and account = %(account)s and audience = %(audience)s
            and not dry_run
            and finished_at is not null
    )
"""

ADOPT = """
insert into ops.acknowledged (destination, account, audience, record_key, value, confirmed_at)
select distinct %(destination)s, %(account)s, %(audience)s, record_key, %(value)s, %(at)s::timestamptz
from adopted
on conflict do nothing
"""

# A run that died left every record with an outcome; only the sums are missing.
CLOSE_RUNS = """
update ops.sync_runs as run
set applied = sums.applied,
    already_ok = sums.already_ok,
    rejected = sums.rejected,
    retry_pending = sums.retry_pending,
    held = sums.held,
    finished_at = %(at)s
from (
    select
        open_run.sync_run_id,
        count(*) filter (where record.outcome = 'applied') as applied,
        count(*) filter (where record.outcome = 'already_ok') as already_ok,
        count(*) filter (where record.outcome = 'rejected') as rejected,
        count(*) filter (where record.outcome = 'retry_pending') as retry_pending,
        count(*) filter (where record.outcome = 'held') as held
    from ops.sync_runs as open_run
    left join ops.sync_records as record using (sync_run_id)
    where open_run.finished_at is null
        and open_run.destination = %(destination)s
        and open_run.account = %(account)s
        and open_run.audience = %(audience)s
    group by open_run.sync_run_id
) as sums
where run.sync_run_id = sums.sync_run_id
"""

OPEN_RUN = """
insert into ops.sync_runs
    (run_id, destination, account, audience, dry_run, planned, brake_reason, started_at)
values
    (%(run_id)s, %(destination)s, %(account)s, %(audience)s, %(dry_run)s, %(planned)s, %(brake_reason)s, %(at)s)
returning sync_run_id
"""

HOLD = "update planned set held_because = %s where action = %s and not has_evidence and held_because is null"
# Written before the first call: from here on every record has an outcome, whatever happens to us.
RECORD_PLAN = """
insert into ops.sync_records (sync_run_id, record_key, action, outcome, reason, at)
select
    %(sync_run_id)s,
    record_key,
    action,
    case when held_because is null and not %(dry_run)s then 'retry_pending' else 'held' end,
    reason || '; ' || coalesce(held_because, case when %(dry_run)s then 'dry run' else 'not sent yet' end),
    %(at)s
from planned
"""

ORDER_PLAN = "create index planned_order on planned (action, has_evidence, record_key)"
GROUPS = """
select action, has_evidence
from planned
where held_because is null
group by action, has_evidence
order by array_position(array['suppress', 'remove', 'release', 'add'], action), has_evidence desc
"""
BATCH = """
select record_key, reason, is_ours, attributes, value
from planned
where action = %(action)s
    and has_evidence = %(has_evidence)s
    and record_key > %(after)s
    and held_because is null
order by record_key
limit %(size)s
"""

RECORD_OUTCOMES = """
update ops.sync_records as record
set outcome = answer.outcome, reason = answer.reason, evidence = answer.evidence, at = %(at)s
from unnest(%(keys)s::text[], %(outcomes)s::text[], %(reasons)s::text[], %(evidence)s::text[])
    as answer (record_key, outcome, reason, evidence)
where record.sync_run_id = %(sync_run_id)s
    and record.action = %(action)s
    and record.record_key = answer.record_key
"""

ACKNOWLEDGE = """
insert into ops.acknowledged (destination, account, audience, record_key, value, confirmed_at)
select %(destination)s, %(account)s, %(audience)s, record_key, value, %(at)s::timestamptz
from unnest(%(keys)s::text[], %(values)s::text[]) as answer (record_key, value)
on conflict (destination, account, audience, record_key)
do update set value = excluded.value, confirmed_at = excluded.confirmed_at
"""
FORGET = """
delete from ops.acknowledged
where destination = %(destination)s and account = %(account)s and audience = %(audience)s
    and record_key = any(%(keys)s)
"""

RECORD_CALL = """
insert into ops.sync_calls (sync_run_id, seq, method, path, status, records, at)
values (%s, %s, %s, %s, %s, %s, %s)
"""

RUN_COUNTS = """
select planned, applied, already_ok, rejected, retry_pending, held, brake_reason
from ops.sync_runs
where sync_run_id = %s
"""

MARTS_BUILT_AT = "select max(published_at) from ops.segments"
