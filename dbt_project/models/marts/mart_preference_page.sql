{{ config(indexes=[{'columns': ['email'], 'unique': true}]) }}

with people_emails as (

    select * from {{ ref('int_people_emails') }}

),

preferences as (

    select * from {{ ref('dim_preference') }}
    where state = 'subscribed'

),

suppressions as (

    select * from {{ ref('dim_suppression') }}
    where scope = 'everything'

),

wanted as (

    select
        person_id,
        {{ dbt.listagg('category', "','", 'order by category') }} as wanted

    from preferences
    group by person_id

),

final as (

    select
        people_emails.email,
        people_emails.person_id,
        wanted.wanted,
        suppressions.email is not null as has_left,
        coalesce(suppressions.state in ({{ suppression_states_where('lifts') }}), true) as may_return,
        {{ run_at() }} as built_at

    from people_emails
    left join wanted
        on people_emails.person_id = wanted.person_id
    left join suppressions
        on people_emails.email = suppressions.email

)

select * from final
