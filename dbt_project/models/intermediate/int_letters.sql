{{ config(
    materialized='table',
    indexes=[{'columns': ['letter_id'], 'unique': true}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set utm_tags = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term'] %}

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

esp_totals as (

    select * from {{ ref('stg_esp__campaign_totals') }}

),

letter_postings as (

    select
        letter_number,
        count(*) as posting_count,
        min(send_started_at) as first_sent_at,
        max(send_started_at) as last_sent_at,
        sum(sent_count) as sent_count

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
        {%- for tag in utm_tags %}
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
        cast(bitrix_letters.letter_number as {{ dbt.type_string() }}) as letter_key,
        cast(bitrix_letters.campaign_id as {{ dbt.type_string() }}) as campaign_id,
        campaigns.campaign_name,
        bitrix_letters.title,
        coalesce(subjects.subject, bitrix_letters.legacy_subject) as subject,
        letter_postings.posting_count,
        letter_postings.first_sent_at,
        letter_postings.first_sent_at as sent_at,
        letter_postings.last_sent_at,
        letter_postings.sent_count,
        -- the parsed tags are what Bitrix appends to links; older letters have only the query string they came from
        {%- set query = 'coalesce(link_params.link_params, bitrix_letters.legacy_link_params)' %}
        {%- for tag in utm_tags %}
        replace(
            coalesce(
                utm_sets.{{ tag }},
                {{ url_decode(query_parameter(query, tag)) }}
            ),
            '%campaign%',
            coalesce(campaigns.campaign_name, '')
        ) as {{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}

    from bitrix_letters
    left join campaigns
        on bitrix_letters.campaign_id = campaigns.campaign_id
    left join letter_postings
        on bitrix_letters.letter_number = letter_postings.letter_number
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
        esp_campaigns.letter_id,
        esp_campaigns.esp as source,
        cast(null as integer) as letter_number,
        esp_campaigns.campaign_id as letter_key,
        cast(null as {{ dbt.type_string() }}) as campaign_id,
        cast(null as {{ dbt.type_string() }}) as campaign_name,
        esp_campaigns.title,
        esp_campaigns.subject,
        -- an ESP's campaign is one run
        case when esp_campaigns.sent_at is not null then 1 end as posting_count,
        esp_campaigns.sent_at as first_sent_at,
        esp_campaigns.sent_at,
        esp_campaigns.sent_at as last_sent_at,
        coalesce(esp_totals.sent_count, esp_campaigns.sent_count) as sent_count,
        cast(null as {{ dbt.type_string() }}) as utm_source,
        cast(null as {{ dbt.type_string() }}) as utm_medium,
        esp_campaigns.utm_campaign,
        cast(null as {{ dbt.type_string() }}) as utm_content,
        cast(null as {{ dbt.type_string() }}) as utm_term

    from esp_campaigns
    left join esp_totals
        on esp_campaigns.letter_id = esp_totals.letter_id

),

letters as (

    select * from bitrix_described
    union all
    select * from esp_described

)

select * from letters
