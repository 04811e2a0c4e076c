{#- The people who chose to read letters of a category, without those who want or get no regular letters any more; a segment's whole select. -#}
{% macro readers_of(category) -%}
with preferences as (

    select * from {{ ref('dim_preference') }}
    where category = '{{ category }}'
        and state = 'subscribed'

),

people as (

    select * from {{ ref('dim_person') }}
    where primary_email is not null

),

kept_back as (

    select distinct email
    from {{ ref('dim_suppression') }}
    where scope in ('{{ category }}', 'regular_letters')

),

readers as (

    select
        people.primary_email as email,
        people.person_id,
        people.first_name,
        people.last_name

    from preferences
    inner join people
        on preferences.person_id = people.person_id
    left join kept_back
        on people.primary_email = kept_back.email
    where kept_back.email is null

)

select * from readers
{%- endmacro %}
