{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with outcomes as (

    select * from {{ ref('int_message_outcomes') }}
    where person_id is not null

),

final as (

    select
        person_id,
        count(*) as attempted_count,
        sum(case when is_delivered then 1 else 0 end) as delivered_count,
        min(case when is_delivered then sent_at end) as first_delivered_at,
        max(case when is_delivered then sent_at end) as last_delivered_at,
        least(min(first_human_opened_at), min(first_human_clicked_at)) as first_engaged_at,
        greatest(max(last_human_opened_at), max(last_human_clicked_at)) as last_engaged_at,
        sum(case when is_sent then 1 else 0 end) as sent_count,
        min(case when is_sent then sent_at end) as first_sent_at,
        max(case when is_sent then sent_at end) as last_sent_at,
        max(last_human_opened_at) as last_opened_at,
        max(last_human_clicked_at) as last_clicked_at,
        least(min(sent_at), min(first_opened_at), min(first_clicked_at)) as first_event_at

    from outcomes
    group by person_id

)

select * from final
