-- Every visit, lead, deal and order of the source is in int_letter_link once, and nothing else is.
with entities as (

    select 'visit' as entity_type, count(*) as entity_count from {{ ref('stg_bitrix__traces') }} where not is_deleted
    union all
    select 'lead' as entity_type, count(*) as entity_count from {{ ref('stg_bitrix__leads') }}
    union all
    select 'deal' as entity_type, count(*) as entity_count from {{ ref('stg_bitrix__deals') }} where not is_recurring_template
    union all
    select 'order' as entity_type, count(*) as entity_count from {{ ref('stg_bitrix__orders') }}

),

links as (

    select
        entity_type,
        count(*) as link_count

    from {{ ref('int_letter_link') }}
    where not is_gone
    group by entity_type

)

select
    entities.entity_type,
    entities.entity_count,
    links.link_count

from entities
left join links
    on entities.entity_type = links.entity_type
where entities.entity_count <> coalesce(links.link_count, 0)
