{{ config(materialized='view') }}

select
    link_id,
    entity_type,
    entity_id,
    letter_id,
    tier,
    evidence,
    matched_at,
    unmatched_reason

from {{ ref('int_letter_link') }}
where not is_gone
