{#- A view of one table that stays in place from run to run, with the addresses that this does not show. -#}
{{ config(materialized='view') }}

with consent_events as (

    select * from {{ ref('int_consent_events') }}
    where not is_gone

),

final as (

    select
        consent_event_id,
        person_id,
        event_type,
        source,
        kind,
        occurred_at,
        is_time_known,
        covers_mailing,
        ends_suppression,
        cast(agreement_id as bigint) as agreement_id,
        agreement_name,
        text_version,
        is_text_version_certain,
        evidence

    from consent_events

)

select * from final
