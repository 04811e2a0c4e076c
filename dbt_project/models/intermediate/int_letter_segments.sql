with letters as (

    select * from {{ ref('int_letters') }}

),

letter_segments as (

    select * from {{ ref('stg_bitrix__letter_segments') }}

),

segments as (

    select * from {{ ref('stg_bitrix__segments') }}

),

esp_campaigns as (

    select * from {{ ref('stg_esp__campaigns') }}

),

esp_lists as (

    select * from {{ ref('stg_esp__lists') }}

),

bitrix_segments as (

    select
        letters.letter_id,
        'bitrix:' || letter_segments.segment_id as segment_key,
        -- a segment made inside a letter has no name that anybody gave it
        case
            when segments.is_made_for_one_letter then 'made for this letter'
            else coalesce(segments.segment_name, 'segment ' || letter_segments.segment_id)
        end as segment_name,
        letter_segments.is_included

    from letter_segments
    inner join letters
        on letter_segments.letter_number = letters.letter_number
    left join segments
        on letter_segments.segment_id = segments.segment_id

),

-- a letter of an ESP goes to a list of it
esp_segments as (

    select
        esp_campaigns.letter_id,
        esp_campaigns.esp || ':' || esp_campaigns.account || ':' || esp_campaigns.list_id as segment_key,
        coalesce(esp_lists.list_name, 'list ' || esp_campaigns.list_id) as segment_name,
        true as is_included

    from esp_campaigns
    left join esp_lists
        on esp_campaigns.esp = esp_lists.esp
            and esp_campaigns.account = esp_lists.account
            and esp_campaigns.list_id = esp_lists.list_id
    where esp_campaigns.list_id is not null

),

final as (

    select * from bitrix_segments
    union all
    select * from esp_segments

)

select * from final
