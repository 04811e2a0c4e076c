{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='burst_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['burst_id'], 'unique': true}, {'columns': ['dispatch_key']}, {'columns': ['_built_at']}],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set since = incremental_since('verdict_version', verdict_version()) -%}
{%- set columns = [
    'dispatch_key', 'email_domain', 'started_at', 'ended_at', 'message_count', 'delivered_count', 'verdict'
] -%}

{#-
    A company's gateway follows a link of every copy it lets in, all at about one time; each copy alone looks like one person's click.
    What share of the domain's copies it takes to be one is a var, so that a large free mail host is none.
-#}
with touched_dispatches as (

    select distinct dispatch_key
    from {{ ref('int_messages_touched') }}
    where {{ newer_than(since) }}
        and dispatch_key is not null

),

clicks as (

    select * from {{ ref('int_clicks') }}
    where message_id is not null
        and email_domain is not null
        and dispatch_key is not null
    {%- if since %}
        and {{ among('dispatch_key', 'select dispatch_key from touched_dispatches') }}
    {%- endif %}

),

first_clicks as (

    select
        dispatch_key,
        email_domain,
        message_key,
        min(occurred_at) as clicked_at

    from clicks
    group by
        dispatch_key,
        email_domain,
        message_key

),

crowds as (

    select
        dispatch_key,
        email_domain

    from first_clicks
    group by
        dispatch_key,
        email_domain
    having count(*) >= {{ var('domain_burst_messages') }}

),

crowd_clicks as (

    select first_clicks.*
    from first_clicks
    inner join crowds
        on first_clicks.dispatch_key = crowds.dispatch_key
            and first_clicks.email_domain = crowds.email_domain

),

windows as (

    select
        dispatch_key,
        email_domain,
        clicked_at as started_at,
        {{ add_seconds('clicked_at', var('domain_burst_seconds')) }} as ended_at,
        {{ count_within('dispatch_key, email_domain', 'clicked_at', var('domain_burst_seconds')) }} as message_count

    from crowd_clicks

),

full_windows as (

    select distinct *
    from windows
    where message_count >= {{ var('domain_burst_messages') }}

),

messages as (

    select * from {{ ref('int_messages') }}
    where is_delivered
    {%- if since %}
        and {{ among('dispatch_key', 'select dispatch_key from full_windows') }}
    {%- endif %}

),

crowd_sizes as (

    select
        messages.dispatch_key,
        messages.email_domain,
        count(*) as delivered_count

    from messages
    inner join (select distinct dispatch_key, email_domain from full_windows) as full_crowds
        on messages.dispatch_key = full_crowds.dispatch_key
            and messages.email_domain = full_crowds.email_domain
    group by
        messages.dispatch_key,
        messages.email_domain

),

bursts as (

    select
        windows.dispatch_key || ' ' || windows.email_domain || ' ' || cast({{ epoch_seconds('windows.started_at') }} as bigint) as burst_id,
        windows.dispatch_key,
        windows.email_domain,
        windows.started_at,
        windows.ended_at,
        windows.message_count,
        crowd_sizes.delivered_count,
        case
            when windows.message_count >= {{ var('domain_burst_share') }} * crowd_sizes.delivered_count
                then 'machine'
            else 'doubtful'
        end as verdict

    from full_windows as windows
    inner join crowd_sizes
        on windows.dispatch_key = crowd_sizes.dispatch_key
            and windows.email_domain = crowd_sizes.email_domain
    where windows.message_count >= {{ var('domain_burst_doubtful_share') }} * crowd_sizes.delivered_count

),

{%- if is_incremental() %}

held as (

    select * from {{ this }}
    where dispatch_key is not null
    {%- if since %}
        and dispatch_key in (select dispatch_key from touched_dispatches)
    {%- endif %}

),
{%- endif %}

{{ changed_cte('bursts', 'burst_id', columns, held='held') }},

-- bursts are rare: a row that is none tells the next build since when to look
marked as (

    select * from changed

    union all

    select
        'built' as burst_id,
        {%- for column in columns %}
        null as {{ column }},
        {%- endfor %}
        true as is_gone

)

select
    marked.*,
    {{ verdict_version() }} as verdict_version,
    {{ built_at() }} as _built_at

from marked
