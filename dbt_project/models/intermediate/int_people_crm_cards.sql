{{ config(
    materialized='table',
    indexes=[{'columns': ['card_id', 'card_type'], 'unique': true}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

select
    kind as card_type,
    cast(identifier as bigint) as card_id,
    person_id

from {{ ref('int_identifiers_joined') }}
where kind in ('contact', 'lead')
