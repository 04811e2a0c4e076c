"""The SQL of planning and of keeping the push ledger. `%(name)s` are bound, never pasted.

`ops.acknowledged.value` says what a destination confirmed last about a record:

    suppressed            we suppressed it (only this is ever released)
    member                we put it into the audience (only this is ever removed)
    found                 it was suppressed, or in the audience, already when we came: not ours to take back
    drifted               it confirmed a suppression, and an audit found it gone: asked for again
    <action>_refused      it refused that action; asked again after a while or when the contact changed

`fields` says the same of every attribute: a fingerprint of the value it confirmed, or `!` and the fingerprint of the
one it refused. A field that is not there is unknown and is sent. A record that was released, or removed from an
audience, has no row.
"""

from __future__ import annotations

from psycopg import sql

TEMPORARY_TABLES = (
    """
    create temporary table if not exists planned (
        record_key    text not null,
        action        text not null,
        reason        text not null,
        has_evidence  boolean not null,
        is_ours       boolean not null default false,
        is_new        boolean not null default true,
        attributes    jsonb not null default '{}',
        fields        jsonb not null default '{}',
        value         text,
        held_because  text
    )
    """,
    """
    create temporary table if not exists judged (
        record_key   text not null,
        person_id    text,
        attributes   jsonb not null,
        fields       jsonb not null,
        state        text,
        is_held_out  boolean not null
    )
    """,
    """
    create temporary table if not exists confirmed (
        record_key    text not null,
        value         text not null,
        fields        jsonb not null,
        confirmed_at  timestamptz not null
    )
    """,
    "create temporary table if not exists suppressed (record_key text not null, state text not null)",
    """
    create temporary table if not exists tried (
        record_key     text not null,
        action         text not null,
        is_unanswered  boolean not null,
        primary key (record_key, action)
    )
    """,
    "drop index if exists planned_order",
    "truncate planned, judged, confirmed, suppressed, tried",
)

READ_CONFIRMED = """
insert into confirmed (record_key, value, fields, confirmed_at)
select record_key, value, fields, confirmed_at
from ops.acknowledged
where destination = %(destination)s and account = %(account)s and audience = %(audience)s
"""
# Who must not be mailed: what the marts say, and who has left since they were built, as int_suppression_evidence will
# have it. Only fresh departures, and not of those who came back on their page: what a load brings up from long ago may
# have been followed by a consent, which is the models' to weigh. What stands for an erased address (docs/erasure.md) is
# known to no destination: told one, it would make it a contact.
READ_SUPPRESSED = """
insert into suppressed (record_key, state)
with

built as (

    select max(published_at) as built_at from ops.segments

),

departures as (

    select
        email,
        case event_type
            when 'complained' then 'complaint' when 'bounced' then 'hard_bounce' else 'unsubscribed'
        end as state,
        coalesce(occurred_at, _loaded_at) as left_at
    from raw_esp.events
    -- loads are few, and their rows are found by an index
    where _load_id = any(array(select load_id from ops.loads, built where finished_at > built_at))
        and _deleted_at is null
        and (event_type in ('unsubscribed', 'complained') or (event_type = 'bounced' and bounce_kind = 'hard'))

    union all

    select data ->> 'email', 'unsubscribed', occurred_at
    from raw_inbox.site_events, built
    where event_type = 'unsubscribe' and _loaded_at > built_at

    union all

    select email, 'unsubscribed', chosen_at
    from raw_inbox.choices, built
    where wanted = '[]' and chosen_at > built_at

),

everybody as (

    select email, state
    from marts.dim_suppression
    where scope = 'everything'

    union all

    select lower(btrim(departures.email)), departures.state
    from departures, built
    where departures.email like '%%_@_%%'
        and departures.left_at > built_at - interval '1 day'
        and not exists (
            select
            from raw_inbox.choices as later
            where later.email = lower(btrim(departures.email))
                and later.wanted <> '[]'
                and later.chosen_at > departures.left_at
        )

)

select email, min(state)
from everybody
where split_part(email, '@', 2) <> 'erased.invalid'
group by email
"""
# What earlier runs let through and did not bring to an end. `is_unanswered`: a call went out and we never saw its
# answer, so what is found done may well be our doing.
READ_TRIED = """
with

runs as (

    select sync_run_id, retry_pending
    from ops.sync_runs
    where destination = %(destination)s
        and account = %(account)s
        and audience = %(audience)s
        and not dry_run

)

insert into tried (record_key, action, is_unanswered)
select
    record.record_key,
    record.action,
    bool_or(record.reason not like '%%; not sent yet' and record.reason not like '%%; not attempted')
from ops.sync_records as record
inner join runs using (sync_run_id)
where runs.retry_pending > 0
    and record.outcome = 'retry_pending'
    and not exists (
        select
        from ops.sync_records as later
        inner join runs as later_runs using (sync_run_id)
        where later.record_key = record.record_key
            and later.sync_run_id > record.sync_run_id
            and later.outcome in ('applied', 'already_ok', 'rejected')
    )
group by record.record_key, record.action
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
left join mailable using (record_key)
left join confirmed using (record_key)
where (
    mailable.record_key is not null
    and (
        confirmed.record_key is null
        or mailable.seen_at > confirmed.confirmed_at
        or (confirmed.value = 'suppress_refused' and confirmed.confirmed_at < %(refused_before)s)
    )
)
    -- an audit saw it mailable, which no load has yet
    or confirmed.value = 'drifted'
"""

# The site's own lists hold everybody it may mail; whether it was told is known from its answers alone.
PLAN_SITE_SUPPRESSIONS = """
insert into planned (record_key, action, reason, has_evidence, is_ours, value)
select
    suppressed.record_key,
    'suppress',
    'suppressed: ' || suppressed.state,
    true,
    coalesce(tried.is_unanswered, false),
    'suppressed'
from suppressed
inner join marts.mart_site_addresses as mailable
    on suppressed.record_key = mailable.email
left join confirmed using (record_key)
left join tried on suppressed.record_key = tried.record_key and tried.action = 'suppress'
where confirmed.record_key is null
    or confirmed.value = 'drifted'
    or (confirmed.value = 'suppress_refused' and confirmed.confirmed_at < %(refused_before)s)
"""

PLAN_CRM_FLAGS = """
with

contacts as (

    select
        {key}::text as record_key,
        is_marketing_allowed,
        coalesce(suppression_state, 'unknown') as state
    from {relation}

)

insert into planned (record_key, action, reason, has_evidence, is_ours, value)
select
    contacts.record_key,
    'suppress',
    'suppressed: ' || contacts.state,
    true,
    coalesce(tried.is_unanswered, false),
    'suppressed'
from contacts
left join confirmed using (record_key)
left join tried on tried.record_key = contacts.record_key and tried.action = 'suppress'
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
insert into judged (record_key, person_id, attributes, fields, state, is_held_out)
with

people as (

    -- the byte order is enough to find what is alike, and several times quicker than a language's
    select distinct on (lower(btrim(person.email)) collate "C")
        lower(btrim(person.email)) as record_key,
        person.person_id::text as person_id,
        coalesce(person.person_id::text, lower(btrim(person.email))) as draw_key,
        to_jsonb(person) - 'email' - 'person_id' || coalesce(link.attributes, '{{}}') as attributes
    from {relation} as person
    left join (
        select
            email,
            jsonb_build_object('preferences_url', preferences_url, 'unsubscribe_url', unsubscribe_url) as attributes
        from ops.links
        where %(links)s and signed_with is not null
    ) as link on lower(btrim(person.email)) = link.email
    where btrim(person.email) <> '' and split_part(person.email, '@', 2) <> 'erased.invalid'
    order by lower(btrim(person.email)) collate "C", person.person_id

)

select
    people.record_key,
    people.person_id,
    people.attributes,
    {fields},
    suppressed.state,
    %(holdout)s > 0
    and ('x' || substr(md5(%(segment)s || ':' || people.draw_key), 1, 8))::bit(32)::bigint %% 10000 < %(holdout)s
from people
left join suppressed using (record_key)
"""

# Of a row of `desired` only the fields that differ from what `confirmed` knows to be there; a field nothing is known of
# is sent. Null where all is as it should be.
CHANGED_FIELDS = sql.SQL("""
cross join lateral (
    select
        jsonb_object_agg(field.key, desired.attributes -> field.key) as attributes,
        jsonb_object_agg(field.key, field.value) as fields
    from jsonb_each_text(desired.fields) as field
    where (confirmed.fields ->> field.key) is distinct from field.value
        and (
            (confirmed.fields ->> field.key) is distinct from '!' || field.value
            or confirmed.confirmed_at < %(refused_before)s
        )
) as changed
""")

PLAN_SEGMENT = sql.SQL("""
with

desired as (

    select * from judged where state is null and not is_held_out

)

insert into planned (record_key, action, reason, has_evidence, is_ours, is_new, attributes, fields, value)
select
    desired.record_key,
    'add',
    case
        when confirmed.value = 'add_refused' then 'asked again'
        when tried.record_key is not null then 'not confirmed yet'
        else 'joined the segment'
    end,
    false,
    coalesce(tried.is_unanswered, false) or confirmed.value is not distinct from 'remove_refused',
    tried.record_key is null,
    desired.attributes,
    desired.fields,
    'member'
from desired
left join confirmed using (record_key)
left join tried on tried.record_key = desired.record_key and tried.action = 'add'
where %(mode)s <> 'suppress_only'
    and (
        confirmed.value is null
        or confirmed.value = 'remove_refused'
        or (confirmed.value = 'add_refused' and confirmed.confirmed_at < %(refused_before)s)
    )

union all

select
    desired.record_key,
    'update',
    'fields changed',
    false,
    confirmed.value = 'member',
    true,
    changed.attributes,
    changed.fields,
    confirmed.value
from desired
inner join confirmed using (record_key)
{changed_fields}
where %(mode)s <> 'suppress_only'
    and confirmed.value in ('member', 'found')
    and not confirmed.fields @> desired.fields
    and changed.fields is not null

union all

-- never a membership that we only found
select
    confirmed.record_key,
    'remove',
    case
        when suppressed.state is not null then 'suppressed: ' || suppressed.state
        when judged.is_held_out then 'held out'
        else 'left the segment'
    end,
    suppressed.state is not null,
    true,
    true,
    '{{}}',
    '{{}}',
    null
from confirmed
left join judged using (record_key)
left join suppressed using (record_key)
where confirmed.value in ('member', 'remove_refused')
    and (suppressed.state is not null or (%(mode)s = 'mirror' and (judged.record_key is null or judged.is_held_out)))
    and (confirmed.value <> 'remove_refused' or confirmed.confirmed_at < %(refused_before)s)
""").format(changed_fields=CHANGED_FIELDS)

ATTRIBUTE_COLUMNS = """
select attname
from pg_catalog.pg_attribute
where attrelid = to_regclass(%s)
    and attnum > 0
    and not attisdropped
    and attname not in ('email', 'person_id')
order by attnum
"""

COUNT_JUDGED = """
select
    count(*),
    count(*) filter (where state is not null),
    count(*) filter (where state is null and is_held_out)
from judged
"""
COUNT_MEMBERS = """
select
    count(*) filter (where value in ('member', 'remove_refused')),
    count(*) filter (where value <> 'add_refused')
from confirmed
"""
COUNT_OURS = "select count(*) from confirmed where value in ('suppressed', 'release_refused')"
COUNT_CONFIRMED = """
select count(*) from ops.acknowledged where audience = 'suppressions' and value in ('suppressed', 'found')
"""
COUNT_SUPPRESSION = "select count(*) from suppressed"

PLAN_LINES = """
select action, reason, has_evidence, count(*), is_new
from planned
group by action, reason, has_evidence, is_new
order by action, reason, is_new
"""
# All rows of a segment bring the same columns; only an update brings some of them.
FIELD_SETS = """
select action, fields, count(*)
from (
    select
        action,
        case
            when fields = '{}' then array[]::text[]
            when action = 'update' then (select array_agg(field order by field) from jsonb_object_keys(fields) as field)
            else array['all']
        end as fields
    from planned
) as sets
group by action, fields
order by action, fields
"""
PLAN_SAMPLE = """
select action, reason, left(encode(sha256(record_key::bytea), 'hex'), 12) as fingerprint
from planned
order by fingerprint
limit %s
"""

# --- the ledger of a push -------------------------------------------------------------------------------------

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
    (run_id, destination, account, audience, dry_run, planned, brake_reason, plan, started_at)
values (
    %(run_id)s, %(destination)s, %(account)s, %(audience)s, %(dry_run)s, %(planned)s, %(brake_reason)s, %(plan)s, %(at)s
)
returning sync_run_id
"""

# What an earlier run was allowed to begin is brought to an end, unless the knowledge itself is in doubt.
HOLD = """
update planned
set held_because = %(why)s
where action = %(action)s and not has_evidence and held_because is null and (is_new or %(with_old)s)
"""
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
order by array_position(array['suppress', 'remove', 'release', 'add', 'update'], action), has_evidence desc
"""
BATCH = """
select record_key, reason, is_ours, attributes, fields, value
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
insert into ops.acknowledged as known (destination, account, audience, record_key, value, fields, confirmed_at)
select %(destination)s, %(account)s, %(audience)s, record_key, value, fields::jsonb, %(at)s::timestamptz
from unnest(%(keys)s::text[], %(values)s::text[], %(fields)s::text[]) as answer (record_key, value, fields)
on conflict (destination, account, audience, record_key)
do update set
    value = excluded.value, fields = known.fields || excluded.fields, confirmed_at = excluded.confirmed_at
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

OPEN_COPIES = """
select target, kind
from ops.copies
where outcome is null
    or (outcome = 'finished' and kind = 'reload' and planned_at < %(built_at)s and finished_at > %(built_at)s)
order by target
"""
