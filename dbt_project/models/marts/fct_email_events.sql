{{ config(indexes=[{'columns': ['person_id', 'event_type']}]) }}

select
    event_id,
    source,
    letter_id,
    message_id,
    person_id,
    event_type,
    occurred_at,
    url,
    bounce_kind,
    is_machine,
    machine_rule,
    machine_reason

from {{ ref('int_email_events') }}
