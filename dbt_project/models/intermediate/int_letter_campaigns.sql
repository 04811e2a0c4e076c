with bitrix_letters as (

    select * from {{ ref('stg_bitrix__letters') }}

),

letters as (

    select * from {{ ref('int_letters') }}

),

keyed as (

    select
        letters.letter_id,
        case
            when bitrix_letters.campaign_id is not null
                then letters.source || ':' || bitrix_letters.campaign_id
            when nullif(letters.utm_campaign, '') is not null
                then letters.source || ':' || letters.utm_campaign
            else letters.letter_id
        end as campaign

    from letters
    left join bitrix_letters
        on letters.letter_number = bitrix_letters.letter_number
            and letters.source = 'bitrix'

)

select * from keyed
