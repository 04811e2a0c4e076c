{%- set penalties = var('link_audit_penalties') %}
{%- set link_penalties = ['no_utm', 'missing_tag', 'wrong_letter_id', 'no_letter_id', 'untracked'] %}
{%- set counted = [
    'no_utm', 'missing_source', 'missing_medium', 'missing_campaign', 'missing_content', 'wrong_letter_id', 'no_letter_id',
    'untracked'
] %}

with letters as (

    select * from {{ ref('int_letters') }}

),

bodies as (

    select * from {{ ref('int_letter_bodies') }}

),

links as (

    select * from {{ ref('int_letter_links') }}

),

findings as (

    select * from {{ ref('int_link_findings') }}

),

letter_sources as (

    select * from {{ ref('letter_sources') }}

),

link_counts as (

    select
        letter_id,
        sum(case when link_kind = 'web' then 1 else 0 end) as link_count,
        max(case when link_kind = 'unsubscribe' then 1 else 0 end) as has_unsubscribe_link

    from links
    group by letter_id

),

finding_counts as (

    select
        letter_id,
        {%- for finding in counted %}
        sum(case when finding = '{{ finding }}' then 1 else 0 end) as {{ finding }}_count,
        {%- endfor %}
        -- a link that lacks several tags is one link at fault
        {%- for penalty in link_penalties %}
        count(distinct case when penalty = '{{ penalty }}' then link_id end) as {{ penalty }}_links{{ ',' if not loop.last }}
        {%- endfor %}

    from findings
    group by letter_id

),

facts as (

    select
        letters.letter_id,
        letters.source,
        letters.title,
        letters.first_sent_at,
        bodies.body is not null as is_body_known,
        coalesce(link_counts.link_count, 0) as link_count,
        {%- for finding in counted %}
        coalesce(finding_counts.{{ finding }}_count, 0) as {{ finding }}_count,
        {%- endfor %}
        {%- for penalty in link_penalties %}
        1.0 * coalesce(finding_counts.{{ penalty }}_links, 0) / nullif(link_counts.link_count, 0) as {{ penalty }}_share,
        {%- endfor %}
        -- without the HTML nobody knows: what the service lists are the links it counts
        case
            when letters.source in ('{{ var("adds_unsubscribe_link") | join("', '") }}') then true
            when bodies.body is not null then coalesce(link_counts.has_unsubscribe_link, 0) = 1
        end as has_unsubscribe_link,
        letter_sources.adds_list_unsubscribe as has_list_unsubscribe,
        {{ dbt.hash("coalesce(bodies.body, '') || ' ' || "
            ~ "coalesce(letters.utm_source, '') || ' ' || coalesce(letters.utm_medium, '') || ' ' || "
            ~ "coalesce(letters.utm_campaign, '') || ' ' || coalesce(letters.utm_content, '') || ' ' || "
            ~ "coalesce(cast(bodies.is_tracked as " ~ dbt.type_string() ~ "), '')") }} as content_version

    from letters
    inner join bodies
        on letters.letter_id = bodies.letter_id
    left join link_counts
        on letters.letter_id = link_counts.letter_id
    left join finding_counts
        on letters.letter_id = finding_counts.letter_id
    left join letter_sources
        on letters.source = letter_sources.source

),

final as (

    select
        facts.*,
        -- nothing to look at is no score of 100
        case
            when facts.is_body_known or facts.link_count > 0
                then cast(greatest(
                    0,
                    100
                    {%- for penalty in link_penalties %}
                    - {{ penalties[penalty] }} * coalesce(facts.{{ penalty }}_share, 0)
                    {%- endfor %}
                    - case when not facts.has_unsubscribe_link then {{ penalties['no_unsubscribe_link'] }} else 0 end
                    - case when not facts.has_list_unsubscribe then {{ penalties['no_list_unsubscribe'] }} else 0 end
                ) as numeric(5, 1))
        end as score

    from facts

)

select * from final
