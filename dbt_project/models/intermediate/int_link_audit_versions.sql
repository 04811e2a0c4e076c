{{ config(
    materialized='incremental',
    full_refresh=false,
    unlogged=false,
    on_schema_change='fail'
) }}

-- Bitrix and the ESPs keep no earlier contents, so what a letter scored before it was changed is known from here alone: rows
-- are added and never taken away, and a full refresh leaves them.
with audits as (

    select * from {{ ref('int_link_audits') }}

),

{% if is_incremental() -%}
newest_versions as (

    select
        letter_id,
        content_version,
        row_number() over (
            partition by letter_id
            order by version_number desc
        ) as recency,
        version_number

    from {{ this }}

),

{% endif -%}
final as (

    select
        audits.letter_id,
        audits.content_version,
        {%- if is_incremental() %}
        coalesce(newest_versions.version_number, 0) + 1 as version_number,
        {%- else %}
        1 as version_number,
        {%- endif %}
        audits.score,
        {{ run_at() }} as audited_at

    from audits
    {%- if is_incremental() %}
    left join newest_versions
        on audits.letter_id = newest_versions.letter_id
            and newest_versions.recency = 1
    where newest_versions.letter_id is null
        or newest_versions.content_version <> audits.content_version
    {%- endif %}

)

select * from final
