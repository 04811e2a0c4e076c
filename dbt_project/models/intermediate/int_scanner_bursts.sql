{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with clicks as (

    select * from {{ ref('int_clicks') }}

),

-- a person who follows one link cannot be a burst; this leaves few messages for the self-join
messages_with_several_links as (

    select message_id
    from clicks
    where message_id is not null
    group by message_id
    having count(distinct url) >= least({{ var('scanner_links') }}, {{ var('scanner_click_links') }})

),

candidates as (

    select distinct
        clicks.message_id,
        clicks.sent_at,
        clicks.occurred_at,
        clicks.url

    from clicks
    inner join messages_with_several_links
        on clicks.message_id = messages_with_several_links.message_id

),

windows as (

    select
        starts.message_id,
        starts.sent_at,
        starts.occurred_at as started_at,
        max(candidates.occurred_at) as ended_at,
        count(distinct candidates.url) as link_count

    from (select distinct message_id, sent_at, occurred_at from candidates) as starts
    inner join candidates
        on starts.message_id = candidates.message_id
            and candidates.occurred_at >= starts.occurred_at
            and candidates.occurred_at <= {{ add_seconds('starts.occurred_at', var('scanner_window_seconds')) }}
    group by
        starts.message_id,
        starts.sent_at,
        starts.occurred_at

),

bursts as (

    select
        message_id,
        started_at,
        ended_at,
        link_count,
        case
            when link_count >= {{ var('scanner_links') }}
                then 'scanner_many_links'
            else 'scanner_instant_links'
        end as machine_rule

    from windows
    where link_count >= {{ var('scanner_links') }}
        or (
            link_count >= {{ var('scanner_click_links') }}
            and started_at <= {{ add_seconds('sent_at', var('scanner_click_seconds')) }}
        )

)

select * from bursts
