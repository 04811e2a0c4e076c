{%- set counts = [
    'no_utm', 'missing_source', 'missing_medium', 'missing_campaign', 'missing_content', 'wrong_letter_id', 'no_letter_id',
    'untracked'
] %}

with audits as (

    select * from {{ ref('int_link_audits') }}

),

versions as (

    select * from {{ ref('int_link_audit_versions') }}

),

ordered_versions as (

    select
        letter_id,
        version_number,
        audited_at,
        lag(score) over (
            partition by letter_id
            order by version_number
        ) as previous_score,
        row_number() over (
            partition by letter_id
            order by version_number desc
        ) as recency

    from versions

),

final as (

    select
        audits.letter_id,
        audits.source,
        audits.title,
        audits.first_sent_at,
        audits.is_body_known,
        cast(audits.link_count as bigint) as link_count,
        {%- for count in counts %}
        cast(audits.{{ count }}_count as bigint) as {{ count }}_count,
        {%- endfor %}
        audits.has_unsubscribe_link,
        audits.has_list_unsubscribe,
        audits.score,
        ordered_versions.previous_score,
        cast(ordered_versions.version_number as integer) as version_number,
        ordered_versions.audited_at as version_since

    from audits
    left join ordered_versions
        on audits.letter_id = ordered_versions.letter_id
            and ordered_versions.recency = 1

)

select * from final
