{%- set event_types = var('touch_event_types') -%}

with touches as (

    select
        event_id as touch_event_id,
        event_number,
        source,
        letter_id,
        person_id,
        occurred_at as touched_at

    from {{ ref('int_clicks_judged') }}
    where not is_machine
        and person_id is not null
        and letter_id is not null
        and {{ 'true' if 'clicked' in event_types else 'false' }}

    {%- if 'opened' in event_types %}

    union all

    select
        event_id as touch_event_id,
        event_number,
        source,
        letter_id,
        person_id,
        occurred_at as touched_at

    from {{ ref('int_opens_judged') }}
    where not is_machine
        and person_id is not null
        and letter_id is not null
    {%- endif %}

)

select * from touches
