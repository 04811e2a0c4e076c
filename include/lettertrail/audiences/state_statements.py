"""The SQL of `state.py`: adopting what is there, and telling a loss or a roll-back of what the last push left."""

from __future__ import annotations

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
select distinct %(destination)s, %(account)s, %(audience)s, record_key, 'found', %(at)s::timestamptz
from adopted
"""

# Ours is what the ledger shows as made by a call of ours, and not taken back by a later one.
REBUILD = """
with

ours as (

    select distinct on (record_key) record_key, action
    from ops.sync_records
    inner join ops.sync_runs using (sync_run_id)
    where destination = %(destination)s
        and account = %(account)s
        and audience = %(audience)s
        and not dry_run
        and outcome = 'applied'
        and action <> 'update'
    order by record_key, sync_run_id desc

)

insert into ops.acknowledged (destination, account, audience, record_key, value, confirmed_at)
select distinct
    %(destination)s,
    %(account)s,
    %(audience)s,
    adopted.record_key,
    case ours.action when 'add' then 'member' when 'suppress' then 'suppressed' else 'found' end,
    %(at)s::timestamptz
from adopted
left join ours using (record_key)
"""
FORGET_ALL = """
delete from ops.acknowledged
where destination = %(destination)s and account = %(account)s and audience = %(audience)s
"""

READ_STATE = """
select
    state.records,
    state.records = actual.records and state.checksum = actual.checksum as is_intact,
    state.warehouse_id = ops.warehouse_id() as is_same_warehouse,
    state.doubted_because,
    state.restored_at,
    actual.records
from (
    select count(*) as records, coalesce(sum(ops.acknowledged_hash(record_key, value, fields)), 0) as checksum
    from ops.acknowledged
    where destination = %(destination)s and account = %(account)s and audience = %(audience)s
) as actual
left join ops.sync_states as state
    on state.destination = %(destination)s and state.account = %(account)s and state.audience = %(audience)s
"""
NOTE_STATE = """
insert into ops.sync_states as state (
    destination, account, audience, records, checksum, warehouse_id, doubted_because, restored_at, updated_at
)
select
    %(destination)s,
    %(account)s,
    %(audience)s,
    count(*),
    coalesce(sum(ops.acknowledged_hash(record_key, value, fields)), 0),
    ops.warehouse_id(),
    %(doubted_because)s,
    %(restored_at)s,
    %(at)s
from ops.acknowledged
where destination = %(destination)s and account = %(account)s and audience = %(audience)s
on conflict (destination, account, audience)
do update set
    records = excluded.records,
    checksum = excluded.checksum,
    warehouse_id = excluded.warehouse_id,
    doubted_because = excluded.doubted_because,
    restored_at = excluded.restored_at,
    updated_at = excluded.updated_at
"""
SUM_OF_KEYS = """
select count(*), coalesce(sum(ops.acknowledged_hash(record_key, value, fields)), 0)
from ops.acknowledged
where destination = %(destination)s
    and account = %(account)s
    and audience = %(audience)s
    and record_key = any(%(keys)s)
"""
MOVE_STATE = """
update ops.sync_states
set records = records + %(records)s, checksum = checksum + %(checksum)s, updated_at = %(at)s
where destination = %(destination)s and account = %(account)s and audience = %(audience)s
"""
TRUST_STATE = """
update ops.sync_states
set doubted_because = null, restored_at = null
where destination = %(destination)s and account = %(account)s and audience = %(audience)s
"""
# Below zero only where rows are known that the last push did not leave: then the state is doubted anyway.
FORGET_RECORDS = """
with

forgotten as (

    delete from ops.acknowledged
    where ctid = any(%(places)s::tid[])
    returning destination, account, audience, ops.acknowledged_hash(record_key, value, fields) as hash

),

sums as (

    select
        destination,
        account,
        audience,
        count(*) as records,
        sum(hash) as checksum
    from forgotten
    group by destination, account, audience

),

moved as (

    update ops.sync_states as state
    set records = greatest(state.records - sums.records, 0), checksum = state.checksum - sums.checksum
    from sums
    where (state.destination, state.account, state.audience) = (sums.destination, sums.account, sums.audience)

)

select coalesce(sum(records), 0) from sums
"""
IS_MARK_KNOWN = """
select exists (
    select
    from ops.sync_runs
    where sync_run_id = %(sync_run_id)s
        and destination = %(destination)s
        and account = %(account)s
        and audience = %(audience)s
        and started_at = %(started_at)s
        and (finished_at is not null or not %(is_finished)s)
)
"""
