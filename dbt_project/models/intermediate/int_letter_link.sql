{#
    Tiers, strongest first. Each has a candidate per signal and letter; the best tier counts, within it the latest signal.

    In an increment the visits, leads, deals and orders are looked at of which a signal changed, the recipient a signal names, or the letter
    it was linked to; and where no letter is certain, all that have anything to go by when a letter changed, and those of people of whom a
    message did.
#}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='link_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[
        {'columns': ['link_id'], 'unique': true},
        {'columns': ['entity_id']},
        {'columns': ['letter_id']},
        {'columns': ['may_change']},
        {'columns': ['_built_at']},
    ],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}
-- depends_on: {{ ref('int_letter_tags') }}, {{ ref('int_messages_touched') }}, {{ ref('int_message_outcomes') }}
-- depends_on: {{ ref('int_person_engagement') }}, {{ ref('int_messages') }}

{%- set tiers = ['recipient_id', 'letter_id_in_utm', 'native_order', 'utm_email_time', 'utm_only'] %}
{%- set parameters = ['utm_content', 'utm_campaign', 'utm_term', 'mc_cid'] %}
{%- set window_seconds = var('letter_link_days') * 86400 %}
{%- set since = incremental_since() %}

{% if since -%}
with changed_letters as (

    select * from {{ ref('int_letter_tags') }}
    where _built_at > {{ since }}

),

touched_people as (

    select person_id
    from {{ ref('int_message_outcomes') }}
    where _built_at > {{ since }}

    union

    select person_id
    from {{ ref('int_person_engagement') }}
    where _built_at > {{ since }}

),

-- values that name a letter which changed: another letter may have been the best before
values_of_changed_letters as (

    select distinct
        parameter_values.parameter,
        parameter_values.parameter_value

    from (
        {% for parameter in parameters -%}
        select distinct
            '{{ parameter }}' as parameter,
            {{ parameter }} as parameter_value
        from {{ ref('int_letter_signals') }}
        where {{ parameter }} is not null
            and exists (select 1 from changed_letters)
        {{ 'union all' if not loop.last }}
        {% endfor %}
    ) as parameter_values
    inner join {{ ref('letter_id_patterns') }} as id_patterns
        on parameter_values.parameter = id_patterns.parameter
            and {{ matches_pattern('parameter_values.parameter_value', 'id_patterns.pattern') }}
    inner join changed_letters
        on id_patterns.source = changed_letters.source
            and {{ first_group('parameter_values.parameter_value', 'id_patterns.pattern') }} = changed_letters.letter_key

),

touched as (

    select
        entity_type,
        entity_id
    from {{ ref('int_letter_signals') }}
    where _built_at > {{ since }}

    union

    select
        entity_type,
        entity_id
    from {{ ref('int_letter_signals') }}
    where {{ among(
        'recipient_id',
        'select recipient_id from ' ~ ref('int_messages_touched') ~ ' where recipient_id is not null and _built_at > ' ~ since
    ) }}

    union

    select
        signals.entity_type,
        signals.entity_id
    from {{ ref('int_letter_signals') }} as signals
    inner join changed_letters
        on signals.letter_number = changed_letters.letter_number

    {%- for parameter in parameters %}

    union

    select
        signals.entity_type,
        signals.entity_id
    from {{ ref('int_letter_signals') }} as signals
    inner join values_of_changed_letters
        on values_of_changed_letters.parameter = '{{ parameter }}'
            and signals.{{ parameter }} = values_of_changed_letters.parameter_value
    {%- endfor %}

    union

    select
        entity_type,
        entity_id
    from {{ this }}
    where {{ among('letter_id', 'select letter_id from changed_letters') }}

    union

    select
        entity_type,
        entity_id
    from {{ this }}
    where may_change
        and exists (select 1 from changed_letters)

    union

    select
        links.entity_type,
        links.entity_id
    from {{ this }} as links
    inner join {{ ref('int_letter_signals') }} as signals
        on links.entity_type = signals.entity_type
            and links.entity_id = signals.entity_id
    inner join touched_people
        on signals.person_id = touched_people.person_id
    where links.may_change

),

signals as (

    select signals.*
    from {{ ref('int_letter_signals') }} as signals
    inner join touched
        on signals.entity_type = touched.entity_type
            and signals.entity_id = touched.entity_id
    where not signals.is_gone
        and {{ among('signals.entity_id', 'select entity_id from touched') }}

),

recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}
    where {{ among('recipient_id', 'select recipient_id from signals where recipient_id is not null') }}

),

held as (

    select links.*
    from {{ this }} as links
    inner join touched
        on links.entity_type = touched.entity_type
            and links.entity_id = touched.entity_id
    where {{ among('links.entity_id', 'select entity_id from touched') }}

),
{%- else -%}
with signals as (

    select * from {{ ref('int_letter_signals') }}
    where not is_gone

),

recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}

),
{%- endif %}

letters as (

    select
        *,
        -- a letter of the site that was never sent brought nobody; some ESPs do not say when they sent
        first_sent_at is not null or source <> 'bitrix' as may_be_sent

    from {{ ref('int_letters') }}

),

id_patterns as (

    select * from {{ ref('letter_id_patterns') }}

),

postings as (

    select * from {{ ref('stg_bitrix__postings') }}

),

recipient_signals as (

    select
        signals.signal_id,
        signals.entity_type,
        signals.entity_id,
        letters.letter_id,
        recipients.recipient_id,
        coalesce(recipients.sent_at <= signals.signal_at, true) as is_in_time

    from signals
    inner join recipients
        on signals.recipient_id = recipients.recipient_id
    left join postings
        on recipients.posting_id = postings.posting_id
    left join letters
        on postings.letter_number = letters.letter_number

),

-- patterns are held against each value once, not against each signal
parameter_values as (

    {% for parameter in parameters -%}
    select distinct
        '{{ parameter }}' as parameter,
        {{ parameter }} as parameter_value
    from signals
    where {{ parameter }} is not null
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

named_letters as (

    select
        parameter_values.parameter,
        parameter_values.parameter_value,
        letters.letter_id

    from parameter_values
    inner join id_patterns
        on parameter_values.parameter = id_patterns.parameter
            and {{ matches_pattern('parameter_values.parameter_value', 'id_patterns.pattern') }}
    left join letters
        on id_patterns.source = letters.source
            and {{ first_group('parameter_values.parameter_value', 'id_patterns.pattern') }} = letters.letter_key

),

-- a number in somebody else's advertisement is no letter: the other tags must be the letter's own
letter_id_signals as (

    {% for parameter in parameters -%}
    select
        signals.signal_id,
        letters.letter_id,
        '{{ parameter }}=' || signals.{{ parameter }} as evidence_tag,
        letters.may_be_sent and coalesce(letters.first_sent_at <= signals.signal_at, true) as is_in_time
    from signals
    inner join named_letters
        on named_letters.parameter = '{{ parameter }}'
            and signals.{{ parameter }} = named_letters.parameter_value
    inner join letters
        on named_letters.letter_id = letters.letter_id
    where coalesce(lower(signals.utm_source) = lower(letters.utm_source), true)
        and coalesce(lower(signals.utm_medium) = lower(letters.utm_medium), true)
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

native_signals as (

    select
        signals.signal_id,
        letters.letter_id,
        letters.may_be_sent and letters.first_sent_at <= signals.signal_at as is_in_time

    from signals
    inner join letters
        on signals.letter_number = letters.letter_number

),

certain_candidates as (

    select
        signal_id,
        letter_id,
        'recipient_id' as tier,
        'bx_sender_conversion_id=' || recipient_id as evidence_detail,
        recipient_id
    from recipient_signals
    where is_in_time
        and letter_id is not null
    union all
    select
        signal_id,
        letter_id,
        'letter_id_in_utm' as tier,
        evidence_tag as evidence_detail,
        cast(null as {{ dbt.type_bigint() }}) as recipient_id
    from letter_id_signals
    where is_in_time
    union all
    select
        signal_id,
        letter_id,
        'native_order' as tier,
        'sender_chain_source' as evidence_detail,
        cast(null as {{ dbt.type_bigint() }}) as recipient_id
    from native_signals
    where is_in_time

),

-- who came by a letter that is no more came by no other one, whatever letters have the same tags
unknown_letter_entities as (

    select distinct
        entity_type,
        entity_id

    from recipient_signals
    where is_in_time
        and letter_id is null

),

-- nobody asks what tags may mean where the letter is certain; that keeps the joins with messages small
certain_entities as (

    select
        signals.entity_type,
        signals.entity_id

    from certain_candidates
    inner join signals
        on certain_candidates.signal_id = signals.signal_id

    union

    select * from unknown_letter_entities

),

-- letters with exactly these tags; what one side does not have is no contradiction, but the campaign must be the same
tag_signals as (

    select
        signals.signal_id,
        signals.person_id,
        signals.signal_at,
        letters.letter_id,
        letters.may_be_sent and coalesce(letters.first_sent_at <= signals.signal_at, true) as is_in_time

    from signals
    inner join letters
        on lower(signals.utm_campaign) = lower(letters.utm_campaign)
    left join certain_entities
        on signals.entity_type = certain_entities.entity_type
            and signals.entity_id = certain_entities.entity_id
    where certain_entities.entity_id is null
        and coalesce(lower(signals.utm_source) = lower(letters.utm_source), true)
        and coalesce(lower(signals.utm_medium) = lower(letters.utm_medium), true)
        and coalesce(signals.utm_content = letters.utm_content, true)

),

messages as (

    {%- if since %}

    select * from {{ ref('int_message_outcomes') }}
    where {{ among('person_id', 'select person_id from tag_signals where person_id is not null') }}
    {%- else %}

    select * from {{ ref('int_messages') }}
    {%- endif %}

),

received_letters as (

    select
        tag_signals.signal_id,
        tag_signals.signal_at,
        tag_signals.letter_id,
        messages.message_id,
        messages.sent_at

    from tag_signals
    inner join messages
        on tag_signals.person_id = messages.person_id
            and tag_signals.letter_id = messages.letter_id
    where messages.sent_at <= tag_signals.signal_at

),

clicks as (

    select * from {{ ref('int_clicks_judged') }}
    {%- if since %}
    where {{ among('message_key', 'select message_id from received_letters') }}
    {%- endif %}

),

last_clicks as (

    select
        received_letters.signal_id,
        received_letters.message_id,
        max(clicks.occurred_at) as clicked_at

    from received_letters
    inner join clicks
        on received_letters.message_id = clicks.message_id
    where not clicks.is_machine
        and clicks.occurred_at <= received_letters.signal_at
    group by
        received_letters.signal_id,
        received_letters.message_id

),

recent_letters as (

    select
        received_letters.signal_id,
        received_letters.letter_id,
        received_letters.message_id,
        received_letters.sent_at,
        last_clicks.clicked_at

    from received_letters
    left join last_clicks
        on received_letters.signal_id = last_clicks.signal_id
            and received_letters.message_id = last_clicks.message_id
    where coalesce(last_clicks.clicked_at, received_letters.sent_at)
        >= {{ add_seconds('received_letters.signal_at', -window_seconds) }}

),

-- one letter of several with the same tags: the one clicked last; without clicks only one that was the only one received
email_signals as (

    select
        signal_id,
        letter_id,
        message_id,
        sent_at,
        clicked_at,
        row_number() over (
            partition by signal_id
            order by
                clicked_at desc nulls last,
                sent_at desc,
                message_id
        ) as letter_rank,
        min(letter_id) over (partition by signal_id) = max(letter_id) over (partition by signal_id) as is_only_letter

    from recent_letters

),

sole_letters as (

    select
        signal_id,
        min(letter_id) as letter_id

    from tag_signals
    where is_in_time
    group by signal_id
    having count(distinct letter_id) = 1

),

candidates as (

    select * from certain_candidates
    union all
    select
        signal_id,
        letter_id,
        'utm_email_time' as tier,
        case
            when clicked_at is not null then 'utm tags; clicked in message ' || message_id
            else 'utm tags; the only such letter received, message ' || message_id
        end as evidence_detail,
        cast(null as {{ dbt.type_bigint() }}) as recipient_id
    from email_signals
    where letter_rank = 1
        and (clicked_at is not null or is_only_letter)
    union all
    select
        signal_id,
        letter_id,
        'utm_only' as tier,
        'utm tags; the only letter with them' as evidence_detail,
        cast(null as {{ dbt.type_bigint() }}) as recipient_id
    from sole_letters

),

ranked_candidates as (

    select
        signals.entity_type,
        signals.entity_id,
        candidates.letter_id,
        candidates.tier,
        signals.evidence_row || ' ' || candidates.evidence_detail as evidence,
        candidates.recipient_id,
        signals.signal_at as matched_at,
        row_number() over (
            partition by
                signals.entity_type,
                signals.entity_id
            order by
                case candidates.tier
                    {%- for tier in tiers %}
                    when '{{ tier }}' then {{ loop.index }}
                    {%- endfor %}
                end,
                signals.signal_at desc,
                signals.evidence_row,
                candidates.letter_id
        ) as candidate_rank

    from candidates
    inner join signals
        on candidates.signal_id = signals.signal_id

),

-- what is said of a signal that led nowhere
signals_late as (

    select signal_id from recipient_signals where not is_in_time and letter_id is not null
    union
    select signal_id from letter_id_signals where not is_in_time
    union
    select signal_id from native_signals where not is_in_time
    union
    select signal_id from tag_signals where not is_in_time

),

signals_shared as (

    select signal_id
    from tag_signals
    where is_in_time
    group by signal_id
    having count(distinct letter_id) > 1

),

own_channels as (

    select distinct
        lower(utm_source) as utm_source,
        lower(utm_medium) as utm_medium

    from letters
    where utm_source is not null

),

signal_facts as (

    select
        signals.entity_type,
        signals.entity_id,
        max(case when signals.evidence_row is not null then 1 else 0 end) as has_signal,
        max(case when signals.has_tags then 1 else 0 end) as has_tags,
        max(case when signals.recipient_id is not null then 1 else 0 end) as has_recipient_id,
        max(case when signals.letter_number is not null then 1 else 0 end) as has_native_letter,
        max(case when signals_late.signal_id is not null then 1 else 0 end) as is_late,
        max(case when signals_shared.signal_id is not null then 1 else 0 end) as is_shared,
        max(case when own_channels.utm_source is not null then 1 else 0 end) as has_own_channel,
        max(case
            when signals.has_tags or signals.mc_cid is not null or signals.recipient_id is not null or signals.letter_number is not null
                then 1
            else 0
        end) as has_something_to_go_by

    from signals
    left join signals_late
        on signals.signal_id = signals_late.signal_id
    left join signals_shared
        on signals.signal_id = signals_shared.signal_id
    left join own_channels
        on lower(signals.utm_source) = own_channels.utm_source
            and coalesce(lower(signals.utm_medium), '') = coalesce(own_channels.utm_medium, '')
    group by
        signals.entity_type,
        signals.entity_id

),

links as (

    select
        signal_facts.entity_type || ':' || signal_facts.entity_id as link_id,
        signal_facts.entity_type,
        signal_facts.entity_id,
        ranked_candidates.letter_id,
        ranked_candidates.tier,
        ranked_candidates.evidence,
        ranked_candidates.recipient_id,
        ranked_candidates.matched_at,
        case
            when ranked_candidates.letter_id is not null then null
            when signal_facts.has_signal = 0 then 'no_visit_and_no_tags'
            when unknown_letter_entities.entity_id is not null then 'letter_is_unknown'
            when signal_facts.is_shared = 1 then 'several_letters_share_the_tags'
            when signal_facts.is_late = 1 then 'letter_was_sent_later'
            when signal_facts.has_recipient_id = 1 then 'recipient_is_unknown'
            when signal_facts.has_native_letter = 1 then 'letter_is_unknown'
            when signal_facts.has_tags = 0 then 'visit_without_tags'
            when signal_facts.has_own_channel = 1 then 'no_letter_has_the_tags'
            else 'tags_of_another_channel'
        end as unmatched_reason,
        coalesce(ranked_candidates.tier, '') not in ('recipient_id', 'letter_id_in_utm', 'native_order')
        and signal_facts.has_something_to_go_by = 1 as may_change

    from signal_facts
    left join ranked_candidates
        on signal_facts.entity_type = ranked_candidates.entity_type
            and signal_facts.entity_id = ranked_candidates.entity_id
            and ranked_candidates.candidate_rank = 1
    left join unknown_letter_entities
        on signal_facts.entity_type = unknown_letter_entities.entity_type
            and signal_facts.entity_id = unknown_letter_entities.entity_id

),

{{ changed_rows('links', 'link_id', [
    'entity_type', 'entity_id', 'letter_id', 'tier', 'evidence', 'recipient_id', 'matched_at', 'unmatched_reason', 'may_change'
], held='held' if since else none) }}
