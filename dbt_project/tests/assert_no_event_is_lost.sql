-- Every open and click of the source is one event, every attempted message exactly one sent or bounced event of Bitrix.
with expected as (

    select 'bitrix' as source, 'opened' as event_type, count(*) as row_count
    from {{ ref('stg_bitrix__opens') }}

    union all

    select 'bitrix', 'clicked', count(*)
    from {{ ref('stg_bitrix__clicks') }}

    union all

    select 'bitrix', 'unsubscribed', count(*)
    from {{ ref('stg_bitrix__unsubscribes') }}
    where not is_deleted

    union all

    select 'bitrix', 'complained', count(*)
    from {{ ref('stg_bitrix__abuse_reports') }}
    where not is_deleted

    union all

    select esp, event_type, count(*)
    from {{ ref('stg_esp__events') }}
    where event_type <> 'unknown'
        and not is_deleted
    group by esp, event_type

),

found as (

    select
        source,
        event_type,
        count(*) as row_count

    from {{ ref('fct_email_events') }}
    group by source, event_type

)

select
    expected.*,
    found.row_count as found_count

from expected
left join found
    on expected.source = found.source
        and expected.event_type = found.event_type
where expected.row_count <> coalesce(found.row_count, 0)
