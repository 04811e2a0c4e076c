{%- set event_types = var('touch_event_types') -%}

with clicks as (

    select * from {{ ref('int_clicks_judged') }}

),

opens as (

    select * from {{ ref('int_opens_judged') }}

),

visits as (

    select * from {{ ref('int_visits') }}
    where not is_gone

),

letter_campaigns as (

    select * from {{ ref('int_letter_campaigns') }}

),

{%- for event_type, events in {'clicked': 'clicks', 'opened': 'opens'}.items() %}

{{ event_type }}_touches as (

    select
        {{ events }}.event_id as touch_event_id,
        {{ events }}.event_number,
        {{ events }}.source,
        {{ events }}.message_key,
        {{ events }}.letter_id,
        {{ events }}.person_id,
        {{ events }}.occurred_at as touched_at,
        '{{ event_type }}' as touch_type,
        'email' as channel,
        coalesce(letter_campaigns.campaign, {{ events }}.letter_id) as campaign,
        'recipient_id' as link_tier

    from {{ events }}
    left join letter_campaigns
        on {{ events }}.letter_id = letter_campaigns.letter_id
    where not {{ events }}.is_machine
        and {{ events }}.person_id is not null
        and {{ events }}.letter_id is not null
        and {{ 'true' if event_type in event_types else 'false' }}

),
{%- endfor %}

-- a visit that a letter brought is that letter's click, which is a touch already
visited_touches as (

    select
        'visit:' || visit_id as touch_event_id,
        cast(null as bigint) as event_number,
        'visit' as source,
        cast(null as {{ dbt.type_string() }}) as message_key,
        cast(null as {{ dbt.type_string() }}) as letter_id,
        person_id,
        visited_at as touched_at,
        'visited' as touch_type,
        channel,
        channel || ':' || coalesce(source, '') || '/' || coalesce(campaign, '') as campaign,
        cast(null as {{ dbt.type_string() }}) as link_tier

    from visits
    where channel <> 'email'
        and person_id is not null
        and {{ 'true' if 'visited' in event_types else 'false' }}

),

touches as (

    select * from clicked_touches
    union all
    select * from opened_touches
    union all
    select * from visited_touches

)

select * from touches
