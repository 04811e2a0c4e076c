-- Letters of the relay belong to no newsletter, so they can move no figure of one.
with letter_events as (

    select * from {{ ref('stg_relay__letter_events') }}

),

email_events as (

    select * from {{ ref('fct_email_events') }}

)

select email_events.event_id

from email_events
inner join letter_events
    on email_events.event_id = letter_events.event_id
where email_events.letter_id is not null
    or email_events.message_id is not null
