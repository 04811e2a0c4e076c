with letters as (

    select * from {{ ref('int_letters') }}

),

bitrix_letters as (

    select * from {{ ref('stg_bitrix__letters') }}

),

message_fields as (

    select * from {{ ref('stg_bitrix__message_fields') }}

),

esp_campaigns as (

    select * from {{ ref('stg_esp__campaigns') }}

),

contents as (

    select
        message_content_id,
        max(case when field_code = 'MESSAGE' then field_value end) as body,
        max(case when field_code = 'TRACK_MAIL' then field_value end) as track_mail

    from message_fields
    where field_code in ('MESSAGE', 'TRACK_MAIL')
    group by message_content_id

),

final as (

    select
        letters.letter_id,
        letters.source,
        coalesce(contents.body, bitrix_letters.legacy_body, esp_campaigns.body) as body,
        -- null: nobody says whether clicks are counted
        case contents.track_mail
            when 'Y' then true
            when 'N' then false
        end as is_tracked

    from letters
    left join bitrix_letters
        on letters.letter_number = bitrix_letters.letter_number
    left join contents
        on bitrix_letters.message_content_id = contents.message_content_id
    left join esp_campaigns
        on letters.letter_id = esp_campaigns.letter_id

)

select * from final
