{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    unlogged=false,
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#
    No source dates a choice: a record's time moves with any change to it. So for people who chose on the preference page it is
    written down what other records say, and from which build on. What is first seen at the build that first knows the
    page's choice was there before it; only what a record says differently later is a newer statement. It is the only record
    of that: a full refresh must not lose it.
#}
with page_preferences as (

    select * from {{ ref('int_page_preferences') }}

),

statements as (

    select * from {{ ref('int_preference_statements') }}

),

page_people as (

    select distinct person_id
    from page_preferences

),

seen as (

    select distinct
        statements.source,
        statements.evidence,
        statements.category,
        statements.state

    from statements
    inner join page_people
        on statements.person_id = page_people.person_id

    union all

    -- the build that first knows the choice
    select
        'preference_centre' as source,
        evidence,
        category,
        state

    from page_preferences

),

current_statements as (

    select
        source,
        evidence,
        category,
        -- of a group and a tag that contradict each other the one that counts
        max(state) as state,
        {{ run_at() }} as seen_from

    from seen
    group by
        source,
        evidence,
        category

),
{% if is_incremental() %}
known as (

    select
        source,
        evidence,
        category,
        state,
        row_number() over (
            partition by source, evidence, category
            order by seen_from desc
        ) as age

    from {{ this }}

),

final as (

    select current_statements.*
    from current_statements
    left join known
        on current_statements.source = known.source
            and current_statements.evidence = known.evidence
            and current_statements.category = known.category
            and known.age = 1
    where known.evidence is null
        or known.state <> current_statements.state

)
{% else %}
final as (

    select * from current_statements

)
{% endif %}
select * from final
