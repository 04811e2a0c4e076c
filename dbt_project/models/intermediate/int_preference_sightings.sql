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

{{ newer_versions('current_statements', ['source', 'evidence', 'category'], 'state') }}

select * from final
