{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='visit_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['visit_id'], 'unique': true}, {'columns': ['person_id']}, {'columns': ['_built_at']}],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#- In an increment the visits are looked at that were read again, of which a signal or the link changed, or the name of the advertisement. -#}
-- depends_on: {{ ref('int_visits_parsed') }}, {{ ref('int_letter_signals') }}, {{ ref('int_visits_identified') }}, {{ ref('int_loads') }}
-- depends_on: {{ ref('stg_bitrix__entity_arrivals') }}, {{ ref('stg_bitrix__tracking_sources') }}, {{ ref('stg_bitrix__trace_cards') }}
-- depends_on: {{ ref('stg_bitrix__deals') }}, {{ ref('stg_bitrix__orders') }}, {{ ref('int_people_crm_cards') }}
{%- set since = incremental_since() %}
{%- set columns = [
    'person_id', 'visited_at', 'channel', 'source', 'medium', 'campaign', 'content', 'landing_url', 'referrer_host',
    'advertising_source', 'letter_id', 'link_tier', 'recipient_id',
] %}

{% if since -%}
with changed_sources as (

    select entity_id as tracking_source_id
    from {{ ref('stg_bitrix__entity_arrivals') }}
    where entity_type = 'tracking_source'
        and {{ only_new_loads(since) }}

),

touched as (

    select trace_id
    from {{ ref('int_visits_parsed') }}
    where _built_at > {{ since }}

    union

    select trace_id
    from {{ ref('int_visits_parsed') }}
    where {{ among('tracking_source_id', 'select tracking_source_id from changed_sources') }}

    {%- for changed in [ref('int_letter_signals'), ref('int_letter_link')] %}

    union

    select cast(entity_id as bigint)
    from {{ changed }}
    where entity_type = 'visit'
        and _built_at > {{ since }}
    {%- endfor %}

),

visits_to_read as (

    {{ identified_visits('select trace_id from touched') | indent(4) }}

),

visits as (

    select * from visits_to_read

),

letter_links as (

    select * from {{ ref('int_letter_link') }}
    where entity_type = 'visit'
        and tier is not null
        and not is_gone
        and {{ among('entity_id', 'select cast(trace_id as ' ~ dbt.type_string() ~ ') from touched') }}

),

held as (

    select * from {{ this }}
    where {{ among('visit_id', 'select cast(trace_id as ' ~ dbt.type_string() ~ ') from touched') }}

),
{%- else -%}
with visits as (

    select * from {{ ref('int_visits_identified') }}

),

letter_links as (

    select * from {{ ref('int_letter_link') }}
    where entity_type = 'visit'
        and tier is not null
        and not is_gone

),
{%- endif %}

channel_rules as (

    select * from {{ ref('channel_rules') }}

),

-- rules are held against each kind of visit once, not against each visit
kinds as (

    select distinct
        utm_medium,
        utm_source,
        click_id is not null as has_click_id,
        advertising_source,
        referrer_host

    from visits

),

matching_rules as (

    select
        kinds.*,
        channel_rules.channel,
        row_number() over (
            partition by
                kinds.utm_medium,
                kinds.utm_source,
                kinds.has_click_id,
                kinds.advertising_source,
                kinds.referrer_host
            order by channel_rules.priority
        ) as rule_rank

    from kinds
    inner join channel_rules
        on {{ matches_pattern(
            "case channel_rules.part"
            ~ " when 'medium' then kinds.utm_medium"
            ~ " when 'source' then kinds.utm_source"
            ~ " when 'click_id' then case when kinds.has_click_id then 'yes' end"
            ~ " when 'advertising' then kinds.advertising_source"
            ~ " when 'referrer' then kinds.referrer_host"
            ~ " end",
            'channel_rules.pattern'
        ) }}

),

described as (

    select
        cast(visits.trace_id as {{ dbt.type_string() }}) as visit_id,
        visits.person_id,
        visits.visited_at,
        case
            when letter_links.letter_id is not null then 'email'
            else coalesce(matching_rules.channel, 'direct')
        end as channel,
        visits.utm_source as source,
        visits.utm_medium as medium,
        visits.utm_campaign as campaign,
        visits.utm_content as content,
        visits.landing_url,
        visits.referrer_host,
        visits.advertising_source,
        letter_links.letter_id,
        letter_links.tier as link_tier,
        letter_links.recipient_id

    from visits
    left join letter_links
        on cast(visits.trace_id as {{ dbt.type_string() }}) = letter_links.entity_id
    left join matching_rules
        on matching_rules.rule_rank = 1
            and coalesce(visits.utm_medium, '') = coalesce(matching_rules.utm_medium, '')
            and coalesce(visits.utm_source, '') = coalesce(matching_rules.utm_source, '')
            and (visits.click_id is not null) = matching_rules.has_click_id
            and coalesce(visits.advertising_source, '') = coalesce(matching_rules.advertising_source, '')
            and coalesce(visits.referrer_host, '') = coalesce(matching_rules.referrer_host, '')

),

{{ changed_rows('described', 'visit_id', columns, held='held' if since else none) }}
