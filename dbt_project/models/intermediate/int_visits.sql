{{ config(
    materialized='table',
    indexes=[{'columns': ['visit_id'], 'unique': true}, {'columns': ['person_id']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

with visits as (

    select * from {{ ref('int_visits_identified') }}

),

letter_links as (

    select * from {{ ref('int_letter_link') }}
    where entity_type = 'visit'
        and tier is not null

),

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

final as (

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

)

select * from final
