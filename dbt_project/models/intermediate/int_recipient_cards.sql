{{ config(
    materialized='incremental',
    incremental_strategy='append',
    unlogged=false,
    indexes=[{'columns': ['address_id', 'card_type', 'card_id'], 'unique': true}, {'columns': ['card_id']}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#
    A recipient row is written once and never changes its address, so what was told stays told: rows are only added.
#}
-- depends_on: {{ ref('int_loads') }}
{%- set since = incremental_since() %}

with recipients as (

    select * from {{ ref('stg_bitrix__recipients') }}
    where address_id is not null
        and {{ only_new_loads(since) }}

),

told_together as (

    select distinct
        address_id,
        crm_contact_id,
        crm_lead_id,
        user_id

    from recipients

),

told as (

    select address_id, 'contact' as card_type, cast(crm_contact_id as bigint) as card_id from told_together
    where crm_contact_id is not null
    union
    select address_id, 'lead', crm_lead_id from told_together
    where crm_lead_id is not null
    union
    select address_id, 'user', user_id from told_together
    where user_id is not null

),

unseen as (

    select
        told.address_id,
        told.card_type,
        told.card_id,
        {{ built_at() }} as _built_at

    from told
    {%- if since %}
    left join {{ this }} as seen
        on told.address_id = seen.address_id
            and told.card_type = seen.card_type
            and told.card_id = seen.card_id
    where seen.address_id is null
    {%- endif %}

)

select * from unseen
