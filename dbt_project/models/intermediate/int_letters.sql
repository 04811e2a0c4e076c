with bitrix_letters as (

    select * from {{ ref('stg_bitrix__letters') }}

),

campaigns as (

    select * from {{ ref('stg_bitrix__campaigns') }}

),

postings as (

    select * from {{ ref('stg_bitrix__postings') }}

),

message_fields as (

    select * from {{ ref('stg_bitrix__message_fields') }}

),

message_utm_tags as (

    select * from {{ ref('stg_bitrix__message_utm_tags') }}

),

esp_campaigns as (

    select * from {{ ref('stg_esp__campaigns') }}

),

first_postings as (

    select
        letter_number,
        min(send_started_at) as sent_at

    from postings
    group by letter_number

),

subjects as (

    select
        message_content_id,
        field_value as subject

    from message_fields
    where field_code = 'SUBJECT'

),

link_params as (

    select
        message_content_id,
        field_value as link_params

    from message_fields
    where field_code = 'LINK_PARAMS'

),

utm_sets as (

    select
        message_content_id,
        {%- for tag in ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content'] %}
        max(case when tag = '{{ tag }}' then tag_value end) as {{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}

    from message_utm_tags
    group by message_content_id

),

bitrix_described as (

    select
        'bitrix:' || bitrix_letters.letter_number as letter_id,
        'bitrix' as source,
        bitrix_letters.letter_number,
        campaigns.campaign_name,
        bitrix_letters.title,
        coalesce(subjects.subject, bitrix_letters.legacy_subject) as subject,
        first_postings.sent_at,
        -- the parsed tags are what Bitrix appends to links; older letters have only the query string they came from
        {%- for tag in ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content'] %}
        replace(
            coalesce(
                utm_sets.{{ tag }},
                {{ query_parameter('coalesce(link_params.link_params, bitrix_letters.legacy_link_params)', tag) }}
            ),
            '%campaign%',
            coalesce(campaigns.campaign_name, '')
        ) as {{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}

    from bitrix_letters
    left join campaigns
        on bitrix_letters.campaign_id = campaigns.campaign_id
    left join first_postings
        on bitrix_letters.letter_number = first_postings.letter_number
    left join subjects
        on bitrix_letters.message_content_id = subjects.message_content_id
    left join link_params
        on bitrix_letters.message_content_id = link_params.message_content_id
    left join utm_sets
        on bitrix_letters.message_content_id = utm_sets.message_content_id
    where bitrix_letters.channel = 'mail'

),

esp_described as (

    select
        letter_id,
        esp as source,
        cast(null as integer) as letter_number,
        cast(null as {{ dbt.type_string() }}) as campaign_name,
        title,
        subject,
        sent_at,
        cast(null as {{ dbt.type_string() }}) as utm_source,
        cast(null as {{ dbt.type_string() }}) as utm_medium,
        utm_campaign,
        cast(null as {{ dbt.type_string() }}) as utm_content

    from esp_campaigns

),

letters as (

    select * from bitrix_described
    union all
    select * from esp_described

)

select * from letters
