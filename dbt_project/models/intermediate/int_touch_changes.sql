{#-
    A touch that goes to another person or gets another time is a new row, and the old one stays as `is_gone`: both people have to hear of
    it, also when the build that came between failed further down. What a row was before cannot be worked out again, so a full refresh
    does not drop the rows but compares them all.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='touch_key',
    full_refresh=false,
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[
        {'columns': ['touch_key'], 'unique': true},
        {'columns': ['person_id']},
        {'columns': ['message_key']},
        {'columns': ['_built_at']},
    ],
    post_hook="{{ refresh_statistics(this) }}"
) }}

-- depends_on: {{ ref('int_message_changes') }}, {{ ref('int_letter_campaigns') }}
{%- set event_types = var('touch_event_types') -%}
{%- set rules = "'" ~ local_md5(verdict_version() ~ tojson(event_types)) ~ "'" -%}
{%- set since = none if flags.FULL_REFRESH else incremental_since('rules', rules) %}

with touches as (

    select * from {{ ref('int_touches') }}

),

{%- if since %}

letter_campaigns as (

    select * from {{ ref('int_letter_campaigns') }}

),

-- the verdicts on a message's events change with the message; the campaign of a letter may change without it
changed_messages as (

    select message_key
    from {{ ref('int_message_changes') }}
    where _built_at > {{ since }}

    union

    select known.message_key
    from {{ this }} as known
    left join letter_campaigns
        on known.letter_id = letter_campaigns.letter_id
    where known.touch_type <> 'visited'
        and not known.is_gone
        and known.campaign <> coalesce(letter_campaigns.campaign, known.letter_id)

),

looked_at as (

    select * from touches
    where {{ among('message_key', 'select message_key from changed_messages') }}
    {%- if 'visited' in event_types %}

    union all

    select * from touches
    where touch_type = 'visited'
    {%- endif %}

),

held as (

    select * from {{ this }}
    where {{ among('message_key', 'select message_key from changed_messages') }}
    {%- if 'visited' in event_types %}

    union all

    select * from {{ this }}
    where touch_type = 'visited'
    {%- endif %}

),
{%- else %}

looked_at as (

    select * from touches

),
{%- endif %}

keyed as (

    select
        touch_event_id || '|' || person_id || '|' || {{ seconds_between("cast('1970-01-01 00:00:00+00' as " ~ timestamp_utc_type() ~ ")", 'touched_at') }} as touch_key,
        touch_event_id,
        event_number,
        source,
        message_key,
        letter_id,
        person_id,
        touched_at,
        touch_type,
        channel,
        campaign,
        link_tier,
        {{ rules }} as rules

    from looked_at

),

{{ changed_rows(
    'keyed',
    'touch_key',
    [
        'touch_event_id', 'event_number', 'source', 'message_key', 'letter_id', 'person_id', 'touched_at', 'touch_type', 'channel',
        'campaign', 'link_tier', 'rules',
    ],
    held='held' if since else none
) }}
