{#- What takes a person out of silence: what they did besides opening, and anybody of the staff who spoke with them. -#}
with engagement as (

    select * from {{ ref('int_person_engagement') }}
    where last_clicked_at is not null
        and not is_gone

),

visits as (

    select * from {{ ref('int_visits') }}
    where person_id is not null
        and not is_gone

),

conversions as (

    select * from {{ ref('int_conversion_changes') }}
    where not is_gone
        and person_id is not null

),

activities as (

    select * from {{ ref('stg_bitrix__activities') }}
    -- a letter that a manager only wrote is no answer; a to-do or task is work to come
    where activity_type in ('call', 'meeting')
        or (activity_type = 'email' and direction = 'incoming')

),

activity_cards as (

    select * from {{ ref('stg_bitrix__activity_cards') }}

),

deals as (

    select * from {{ ref('int_deals') }}
    where person_id is not null

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type in ('contact', 'lead')

),

people_of_cards as (

    select card_type, card_id, person_id from people_crm_cards
    union all
    select 'deal' as card_type, deal_id as card_id, person_id from deals

),

spoken as (

    select
        people_of_cards.person_id,
        activities.created_at as answered_at

    from activities
    inner join activity_cards
        on activities.activity_id = activity_cards.activity_id
    inner join people_of_cards
        on activity_cards.card_type = people_of_cards.card_type
            and activity_cards.card_id = people_of_cards.card_id

),

answers as (

    select person_id, last_clicked_at as answered_at from engagement
    union all
    select person_id, visited_at from visits
    union all
    select person_id, converted_at from conversions
    union all
    select person_id, answered_at from spoken

),

final as (

    select
        person_id,
        max(answered_at) as last_answered_at

    from answers
    group by person_id

)

select * from final
