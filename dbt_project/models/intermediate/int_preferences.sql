{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

{#
    A "no" of any source stands against every "yes": no source dates a choice, so no "yes" is known to be newer.
#}
with statements as (

    select * from {{ ref('int_preference_statements') }}

),

ranked as (

    select
        *,
        row_number() over (
            partition by person_id, category
            order by
                case state when 'unsubscribed' then 1 else 2 end,
                case when changed_at is null then 1 else 0 end,
                changed_at desc,
                source,
                evidence
        ) as strength

    from statements

),

final as (

    select
        person_id,
        category,
        state,
        source,
        evidence,
        changed_at

    from ranked
    where strength = 1

)

select * from final
