{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

{#
    A "no" of any source stands against every "yes": no other source dates a choice, so no "yes" is known to be newer. Only the
    preference page does: what was chosen there holds against all that records said before, and until one says otherwise.
#}
with statements as (

    select * from {{ ref('int_preference_statements') }}

),

page_preferences as (

    select * from {{ ref('int_page_preferences') }}

),

sightings as (

    select
        source,
        evidence,
        category,
        state,
        max(seen_from) as seen_from

    from {{ ref('int_preference_sightings') }}
    group by
        source,
        evidence,
        category,
        state

),

first_known as (

    select
        page_preferences.person_id,
        min(sightings.seen_from) as seen_from

    from page_preferences
    inner join sightings
        on page_preferences.evidence = sightings.evidence
    group by page_preferences.person_id

),

counted as (

    select statements.*
    from statements
    left join page_preferences
        on statements.person_id = page_preferences.person_id
            and statements.category = page_preferences.category
    left join first_known
        on statements.person_id = first_known.person_id
    left join sightings
        on statements.source = sightings.source
            and statements.evidence = sightings.evidence
            and statements.category = sightings.category
            and statements.state = sightings.state
    where page_preferences.person_id is null
        or (sightings.seen_from > page_preferences.chosen_at and sightings.seen_from > first_known.seen_from)

    union all

    select
        person_id,
        category,
        state,
        'preference_centre' as source,
        evidence,
        chosen_at as changed_at

    from page_preferences

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

    from counted

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
