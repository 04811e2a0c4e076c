-- one at a time: of the letters somebody opened, the newest
with engagement as (

    select * from {{ ref('int_person_engagement') }}
    where newest_letter_opened_at is not null
        and not is_gone

),

answers as (

    select * from {{ ref('int_person_answers') }}

),

people as (

    select * from {{ ref('dim_person') }}

),

suppressed_people as (

    select distinct person_id
    from {{ ref('dim_suppression') }}
    where scope = 'everything'

),

letters as (

    select * from {{ ref('dim_letter') }}

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

leads as (

    select * from {{ ref('stg_bitrix__leads') }}
    where status = 'in_progress'

),

people_crm_cards as (

    select * from {{ ref('int_people_crm_cards') }}
    where card_type = 'lead'

),

open_leads as (

    select
        people_crm_cards.person_id,
        max(leads.lead_id) as lead_id

    from leads
    inner join people_crm_cards
        on leads.lead_id = people_crm_cards.card_id
    group by people_crm_cards.person_id

),

-- the contact's card where there is one, else that of a lead still worked on
cards as (

    select
        people.person_id,
        case when people.bitrix_contact_id is not null then 'contact' else 'lead' end as card_type,
        coalesce(people.bitrix_contact_id, open_leads.lead_id) as card_id

    from people
    left join open_leads
        on people.person_id = open_leads.person_id
    where people.bitrix_contact_id is not null
        or open_leads.lead_id is not null

),

silent as (

    select
        engagement.person_id,
        engagement.newest_opened_letter_id as letter_id,
        engagement.newest_letter_opened_at as opened_at,
        engagement.newest_letter_last_opened_at as last_opened_at,
        cards.card_type,
        cards.card_id,
        coalesce(contacts.responsible_id, leads.responsible_id) as responsible_id

    from engagement
    inner join cards
        on engagement.person_id = cards.person_id
    left join contacts
        on cards.card_type = 'contact'
            and cards.card_id = contacts.contact_id
    left join leads
        on cards.card_type = 'lead'
            and cards.card_id = leads.lead_id
    left join answers
        on engagement.person_id = answers.person_id
    left join suppressed_people
        on engagement.person_id = suppressed_people.person_id
    where engagement.newest_letter_opened_at <= {{ add_seconds(run_at(), -86400 * var('silent_days')) }}
        and engagement.newest_letter_opened_at > {{ add_seconds(run_at(), -86400 * var('silent_max_days')) }}
        and (answers.last_answered_at is null or answers.last_answered_at < engagement.newest_letter_opened_at)
        and suppressed_people.person_id is null

),

final as (

    select
        silent.letter_id || ':' || silent.person_id as follow_up_id,
        silent.letter_id,
        coalesce(letters.title, letters.subject, silent.letter_id) as letter,
        letters.source as letter_source,
        letters.letter_number,
        silent.person_id,
        silent.card_type,
        cast(silent.card_id as bigint) as card_id,
        cast(silent.responsible_id as bigint) as responsible_id,
        silent.opened_at,
        -- who has just looked again first, then the newest
        row_number() over (
            partition by silent.responsible_id
            order by
                silent.last_opened_at desc,
                silent.person_id
        ) as place

    from silent
    inner join letters
        on silent.letter_id = letters.letter_id
    where silent.responsible_id is not null

)

select * from final
