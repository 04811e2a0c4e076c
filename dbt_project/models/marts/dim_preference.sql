with people as (

    select person_id from {{ ref('dim_person') }}

),

preferences as (

    select * from {{ ref('int_preferences') }}

),

categories as (

    {% for category in var('preference_categories') -%}
    select '{{ category }}' as category
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

final as (

    select
        people.person_id,
        categories.category,
        coalesce(preferences.state, 'unknown') as state,
        preferences.source,
        preferences.evidence,
        preferences.changed_at

    from people
    cross join categories
    left join preferences
        on people.person_id = preferences.person_id
            and categories.category = preferences.category

)

select * from final
