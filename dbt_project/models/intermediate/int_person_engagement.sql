{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='person_id',
    unlogged=false,
    on_schema_change='append_new_columns',
    indexes=[{'columns': ['person_id'], 'unique': true}, {'columns': ['_built_at']}],
    pre_hook="{{ plan_for_bulk(always=true) }}",
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#-
    In an increment the people are looked at of whom a message changed, or who are other people now. Whose a message was that is no more
    tell the recipient's row, which stays, and the hash of the address in the key of an ESP's message.
-#}
-- depends_on: {{ ref('int_message_changes') }}, {{ ref('stg_bitrix__recipients') }}, {{ ref('int_mailboxes') }}
-- depends_on: {{ ref('int_identifiers_joined') }}, {{ ref('int_identifiers') }}, {{ ref('int_identity_claims') }}
{%- set since = incremental_since() %}
{%- set columns = [
    'attempted_count', 'delivered_count', 'first_delivered_at', 'last_delivered_at', 'first_engaged_at', 'last_engaged_at',
    'sent_count', 'first_sent_at', 'last_sent_at', 'last_opened_at', 'last_clicked_at', 'first_event_at', 'first_letter_at',
    'first_letter_id', 'newest_opened_letter_id', 'newest_letter_opened_at', 'newest_letter_last_opened_at',
] %}

{% if since -%}
with changed_outcomes as (

    select
        message_key,
        person_id

    from {{ ref('int_message_outcomes') }}
    where _built_at > {{ since }}

),

messages_gone as (

    select
        changes.message_key,
        changes.recipient_id

    from {{ ref('int_message_changes') }} as changes
    left join changed_outcomes
        on changes.message_key = changed_outcomes.message_key
    where changes._built_at > {{ since }}
        and changed_outcomes.message_key is null

),

recipients_gone as (

    select
        address_id,
        crm_contact_id

    from {{ ref('stg_bitrix__recipients') }}
    where {{ among('recipient_id', 'select recipient_id from messages_gone where recipient_id is not null') }}

),

touched_people as (

    select person_id
    from changed_outcomes
    where person_id is not null

    union

    select person_id
    from {{ ref('int_mailboxes') }}
    where {{ among('address_id', 'select cast(address_id as bigint) from recipients_gone') }}
        and person_id is not null

    union

    select person_id
    from {{ ref('int_mailboxes') }}
    where {{ among('contact_id', 'select cast(crm_contact_id as bigint) from recipients_gone') }}

    union

    select person_id
    from {{ ref('int_identifiers_joined') }}
    where {{ among(
        'identifier_id',
        "select 'email:' || " ~ dbt.split_part('message_key', "':'", 4) ~ " from messages_gone where recipient_id is null"
    ) }}

    union

    {{ people_with_news(since) | indent(4) }}

),

outcomes as (

    select * from {{ ref('int_message_outcomes') }}
    where {{ among('person_id', 'select person_id from touched_people') }}

),

held as (

    select * from {{ this }}
    where {{ among('person_id', 'select person_id from touched_people') }}

),
{%- else -%}
with outcomes as (

    select * from {{ ref('int_message_outcomes') }}
    where person_id is not null

),
{%- endif %}

engagement as (

    select
        person_id,
        count(*) as attempted_count,
        sum(case when is_delivered then 1 else 0 end) as delivered_count,
        min(case when is_delivered then sent_at end) as first_delivered_at,
        max(case when is_delivered then sent_at end) as last_delivered_at,
        least(min(first_human_opened_at), min(first_human_clicked_at)) as first_engaged_at,
        greatest(max(last_human_opened_at), max(last_human_clicked_at)) as last_engaged_at,
        sum(case when is_sent then 1 else 0 end) as sent_count,
        min(case when is_sent then sent_at end) as first_sent_at,
        max(case when is_sent then sent_at end) as last_sent_at,
        max(last_human_opened_at) as last_opened_at,
        max(last_human_clicked_at) as last_clicked_at,
        least(min(sent_at), min(first_opened_at), min(first_clicked_at)) as first_event_at,
        min(case when is_sent and letter_id is not null then sent_at end) as first_letter_at

    from outcomes
    group by person_id

),

-- two letters of one second: one of them, and always the same
first_letters as (

    select
        engagement.person_id,
        min(outcomes.letter_id) as first_letter_id

    from engagement
    inner join outcomes
        on engagement.person_id = outcomes.person_id
            and engagement.first_letter_at = outcomes.sent_at
    where outcomes.is_sent
    group by engagement.person_id

),

opened_letters as (

    select
        person_id,
        letter_id,
        min(first_human_opened_at) as opened_at,
        max(last_human_opened_at) as last_opened_at

    from outcomes
    where letter_id is not null
        and first_human_opened_at is not null
    group by
        person_id,
        letter_id

),

opened_letters_ranked as (

    select
        *,
        row_number() over (
            partition by person_id
            order by
                opened_at desc,
                letter_id
        ) as place

    from opened_letters

),

people as (

    select
        engagement.*,
        first_letters.first_letter_id,
        opened_letters_ranked.letter_id as newest_opened_letter_id,
        opened_letters_ranked.opened_at as newest_letter_opened_at,
        opened_letters_ranked.last_opened_at as newest_letter_last_opened_at

    from engagement
    left join first_letters
        on engagement.person_id = first_letters.person_id
    left join opened_letters_ranked
        on engagement.person_id = opened_letters_ranked.person_id
            and opened_letters_ranked.place = 1

),

{{ changed_rows('people', 'person_id', columns, held='held' if since else none) }}
