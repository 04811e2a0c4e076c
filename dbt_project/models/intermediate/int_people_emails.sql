select
    identifier as email,
    person_id

from {{ ref('int_identifiers_joined') }}
where kind = 'email'
