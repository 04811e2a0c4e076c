{#-
    Two fingerprints of one conversion differ when anything differs that its credits are made of: the conversion itself, the touches
    of its person, the first letter sent to them, and what the models are told by vars and the seed. They may also differ when the
    credits do not, for example by a touch after the conversion; fct_attribution_ledger compares the credits themselves.

    A conversion that is no longer one stays here as `is_gone`, because that is a change too. The rows say what changed when and
    cannot be made again, so neither a full refresh nor a crash may drop them.
-#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='conversion_id',
    full_refresh=false,
    on_schema_change='append_new_columns',
    unlogged=false,
    indexes=[{'columns': ['conversion_id'], 'unique': true}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set settings = local_md5(tojson([var('lookback_days'), attribution_models()], sort_keys=true)) -%}

with conversions as (

    select * from {{ ref('int_conversions') }}

),

touches as (

    select * from {{ ref('int_touches') }}

),

messages as (

    select * from {{ ref('int_messages') }}

),

position_shares as (

    select * from {{ ref('attribution_position_shares') }}

),

shares_known as (

    select {{ set_fingerprint(text_fingerprint(row_text(['model', 'position', 'share']))) }} as fingerprint
    from position_shares

),

people as (

    select distinct person_id
    from conversions
    where person_id is not null

),

person_touches as (

    select
        touches.person_id,
        min(touches.touched_at) as first_touched_at,
        {{ set_fingerprint(text_fingerprint(row_text([
            'touches.touch_event_id', 'touches.touched_at', 'touches.source', 'touches.event_number', 'touches.letter_id',
            'touches.touch_type', 'touches.channel', 'touches.campaign', 'touches.link_tier',
        ]))) }} as fingerprint

    from touches
    inner join people
        on touches.person_id = people.person_id
    group by touches.person_id

),

person_messages as (

    select
        messages.person_id,
        min(messages.sent_at) as first_sent_at

    from messages
    inner join people
        on messages.person_id = people.person_id
    group by messages.person_id

),

fingerprinted as (

    select
        conversions.conversion_id,
        {{ text_fingerprint(row_text([
            'conversions.person_id', 'conversions.converted_at', 'conversions.amount', 'conversions.lead_created_at',
            'conversions.deal_created_at', 'person_touches.fingerprint', 'person_messages.first_sent_at',
            'shares_known.fingerprint', "'" ~ settings ~ "'",
        ])) }} as fingerprint,
        person_messages.first_sent_at,
        person_touches.first_touched_at

    from conversions
    cross join shares_known
    left join person_touches
        on conversions.person_id = person_touches.person_id
    left join person_messages
        on conversions.person_id = person_messages.person_id

),

{{ changed_rows('fingerprinted', 'conversion_id', ['fingerprint', 'first_sent_at', 'first_touched_at']) }}
