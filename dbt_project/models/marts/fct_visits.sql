{{ config(materialized='view') }}

select
    visit_id,
    person_id,
    visited_at,
    channel,
    source,
    medium,
    campaign,
    content,
    referrer_host,
    advertising_source,
    letter_id,
    link_tier

from {{ ref('int_visits') }}
where not is_gone
