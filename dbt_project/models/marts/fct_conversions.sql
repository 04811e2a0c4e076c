select
    conversion_id,
    conversion_type,
    source_id,
    person_id,
    converted_at,
    amount

from {{ ref('int_conversions') }}
