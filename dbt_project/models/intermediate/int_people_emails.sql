{{ config(
    materialized='table',
    indexes=[{'columns': ['email'], 'unique': true}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

select
    identifier as email,
    person_id

from {{ ref('int_identifiers_joined') }}
where kind = 'email'
