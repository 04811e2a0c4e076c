{#-
    A webhook and a poll may tell the same thing; whoever counts letters need not care. Events of newsletters have no letter in
    the outbox, so none of them is here.
-#}
with events as (

    select * from {{ source('esp', 'events') }}
    where message_ref is not null
        and _deleted_at is null

),

letters as (

    select * from {{ ref('stg_relay__letters') }}
    where message_ref is not null

),

joined as (

    select
        letters.outbox_id,
        events.esp || ':' || events.account || ':' || events.external_id as event_id,
        events.event_type,
        events.occurred_at

    from events
    inner join letters
        on events.esp = letters.esp
            and events.account = letters.account
            and events.message_ref = letters.message_ref

)

select * from joined
