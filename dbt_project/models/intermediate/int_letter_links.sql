{{ config(
    materialized='table',
    indexes=[{'columns': ['letter_id']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set utm_tags = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term'] %}

with letters as (

    select * from {{ ref('int_letters') }}

),

bodies as (

    select * from {{ ref('int_letter_bodies') }}

),

service_links as (

    select * from {{ ref('stg_esp__links') }}

),

letter_sources as (

    select * from {{ ref('letter_sources') }}

),

id_patterns as (

    select * from {{ ref('letter_id_patterns') }}

),

links_in_bodies as (

    select
        bodies.letter_id,
        bodies.is_tracked,
        trim({{ decode_html_entities('link.href') }}) as link_url,
        link.position

    from bodies
    {{ join_html_links('bodies.body', 'link') }}

),

-- where nobody hands out the HTML, the service's list of links is what there is; it holds those it counts clicks of
links_of_services as (

    select
        service_links.letter_id,
        true as is_tracked,
        trim(service_links.url) as link_url,
        row_number() over (
            partition by service_links.letter_id
            order by service_links.url
        ) as position

    from service_links
    inner join bodies
        on service_links.letter_id = bodies.letter_id
    where bodies.body is null

),

-- the service counts the clicks of those it lists
listed_links as (

    select distinct
        letter_id,
        trim(url) as link_url

    from service_links

),

all_links as (

    select
        *,
        'body' as known_from
    from links_in_bodies
    where link_url <> ''
    union all
    select
        *,
        'service' as known_from
    from links_of_services

),

distinct_links as (

    select
        letter_id,
        link_url,
        is_tracked,
        known_from,
        min(position) as first_position,
        count(*) as occurrence_count

    from all_links
    group by
        letter_id,
        link_url,
        is_tracked,
        known_from

),

with_kinds as (

    select
        distinct_links.letter_id,
        distinct_links.link_url,
        distinct_links.known_from,
        distinct_links.first_position,
        distinct_links.occurrence_count,
        case
            when distinct_links.is_tracked is null and listed_links.link_url is not null then true
            else distinct_links.is_tracked
        end as is_tracked,
        case
            when {{ matches_pattern('distinct_links.link_url', 'letter_sources.unsubscribe_pattern') }} then 'unsubscribe'
            when {{ matches_pattern('distinct_links.link_url', "'^(https?:)?//|^/'") }} then 'web'
            when {{ matches_pattern('distinct_links.link_url', "'^(mailto|tel|sms):'") }} then 'contact'
            else 'other'
        end as link_kind,
        -- Bitrix appends the letter's own tags to every link; an ESP that was given a campaign name does the same
        {%- for tag in utm_tags %}
        coalesce(
            {{ url_decode(query_parameter('distinct_links.link_url', tag)) }},
            letters.{{ tag }}
        ) as {{ tag }},
        {%- endfor %}
        {{ query_parameter('distinct_links.link_url', 'mc_cid') }} as mc_cid,
        letters.source,
        letters.letter_key

    from distinct_links
    inner join letters
        on distinct_links.letter_id = letters.letter_id
    left join letter_sources
        on letters.source = letter_sources.source
    left join listed_links
        on distinct_links.letter_id = listed_links.letter_id
            and distinct_links.link_url = listed_links.link_url

),

named_ids as (

    {% for parameter in ['utm_content', 'utm_campaign', 'utm_term', 'mc_cid'] -%}
    select
        with_kinds.letter_id,
        with_kinds.link_url,
        {{ first_group('with_kinds.' ~ parameter, 'id_patterns.pattern') }} as named_key
    from with_kinds
    inner join id_patterns
        on with_kinds.source = id_patterns.source
            and id_patterns.parameter = '{{ parameter }}'
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

-- a link that names its own letter anywhere names it right
link_ids as (

    select
        named_ids.letter_id,
        named_ids.link_url,
        max(case when named_ids.named_key = letters.letter_key then 1 else 0 end) = 1 as names_its_letter,
        max(named_ids.named_key) as named_key

    from named_ids
    inner join letters
        on named_ids.letter_id = letters.letter_id
    where named_ids.named_key is not null
    group by
        named_ids.letter_id,
        named_ids.link_url

),

final as (

    select
        with_kinds.letter_id,
        {{ dbt.hash("with_kinds.letter_id || ' ' || with_kinds.link_url") }} as link_id,
        with_kinds.link_url,
        with_kinds.known_from,
        with_kinds.first_position,
        with_kinds.occurrence_count,
        with_kinds.link_kind,
        with_kinds.is_tracked,
        {%- for tag in utm_tags %}
        with_kinds.{{ tag }},
        {%- endfor %}
        case when link_ids.names_its_letter then with_kinds.letter_key else link_ids.named_key end as named_key,
        -- true: this letter, false: another one, null: none
        link_ids.names_its_letter

    from with_kinds
    left join link_ids
        on with_kinds.letter_id = link_ids.letter_id
            and with_kinds.link_url = link_ids.link_url

)

select * from final
