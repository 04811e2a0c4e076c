select
    conversion_id,
    conversion_type,
    source_id,
    person_id,
    converted_at,
    cast(amount as numeric(18, 2)) as amount

from {{ ref('int_conversions') }}
