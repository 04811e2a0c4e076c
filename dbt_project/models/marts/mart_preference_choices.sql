with page_preferences as (

    select * from {{ ref('int_page_preferences') }}

),

preferences as (

    select * from {{ ref('dim_preference') }}
    where state <> 'unknown'

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

preference_names as (

    select * from {{ ref('preference_names') }}
    where kind = 'esp_group'

),

-- who chose on the page wants to find the same everywhere; of everybody else the ESPs know as much as we do
page_people as (

    select distinct person_id
    from page_preferences

),

final as (

    select
        people_emails.email,
        preference_names.source as esp,
        preference_names.name,
        -- two categories may have one name at an ESP: it takes both to want it
        min(case preferences.state when 'subscribed' then 1 else 0 end) = 1 as is_wanted

    from page_people
    inner join preferences
        on page_people.person_id = preferences.person_id
    inner join people_emails
        on page_people.person_id = people_emails.person_id
    inner join preference_names
        on preferences.category = preference_names.category
    group by
        people_emails.email,
        preference_names.source,
        preference_names.name

)

select * from final
