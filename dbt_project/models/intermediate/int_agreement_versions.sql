{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    unlogged=false,
    post_hook="{{ refresh_statistics(this) }}"
) }}

{#
    Bitrix edits an agreement in place and keeps no former text, and an acceptance does not say which text it was given to. So
    every text is written down here when it is first seen. It is the only record: a full refresh must not lose it.
#}
with agreements as (

    select * from {{ ref('stg_bitrix__consent_agreements') }}

),

current_texts as (

    select
        agreement_id,
        {{ dbt.hash("label_text || '|' || agreement_text") }} as text_version,
        label_text,
        agreement_text,
        {{ run_at() }} as seen_from

    from agreements

),

{{ newer_versions('current_texts', ['agreement_id'], 'text_version') }}

select * from final
