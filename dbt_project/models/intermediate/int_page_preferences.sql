{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

{#
    What people chose on the preference page, the newest answer to each category. Who leaves altogether says nothing about
    categories: when they come back another way, their earlier choice holds.
#}
with choices as (

    select * from {{ ref('stg_inbox__choices') }}
    where way = 'page'
        and not is_leaving

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

categories as (

    {% for category in var('preference_categories') -%}
    select '{{ category }}' as category
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

ranked as (

    select
        people_emails.person_id,
        categories.category,
        {{ json_list_has('choices.wanted', 'categories.category') }} as is_wanted,
        'raw_inbox.choices:' || choices.choice_id as evidence,
        choices.chosen_at,
        row_number() over (
            partition by people_emails.person_id, categories.category
            order by choices.chosen_at desc, choices.choice_id desc
        ) as newness

    from choices
    inner join people_emails
        on choices.email = people_emails.email
    cross join categories
    where {{ json_list_has('choices.offered', 'categories.category') }}

),

final as (

    select
        person_id,
        category,
        case when is_wanted then 'subscribed' else 'unsubscribed' end as state,
        evidence,
        chosen_at

    from ranked
    where newness = 1

)

select * from final
