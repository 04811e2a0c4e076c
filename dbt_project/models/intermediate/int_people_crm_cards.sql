select
    kind as card_type,
    cast(identifier as bigint) as card_id,
    person_id

from {{ ref('int_identifiers_joined') }}
where kind in ('contact', 'lead')
