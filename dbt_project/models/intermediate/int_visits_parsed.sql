{#
    Taking pages and tags apart is what costs time, so it is done once: traces are read again when a load brought them again.
    Everything here comes from the trace's own row.
#}
-- depends_on: {{ ref('int_loads') }}
{{ config(
    materialized='incremental',
    incremental_strategy='delete+insert',
    unique_key='trace_id',
    on_schema_change='fail',
    indexes=[{'columns': ['trace_id'], 'unique': true}, {'columns': ['tracking_source_id']}, {'columns': ['_built_at']}],
    post_hook="{{ refresh_statistics(this) }}"
) }}

{%- set utm_tags = ['utm_source', 'utm_medium', 'utm_campaign', 'utm_content', 'utm_term'] %}
{%- set since = incremental_since() %}
{%- set click_ids = ['gclid', 'yclid', 'fbclid', 'ymclid', 'msclkid'] %}

with traces as (

    select * from {{ ref('stg_bitrix__traces') }}
    where {{ only_new_loads(since) }}

),

pages as (

    select
        traces.trace_id,
        page.position,
        {{ json_text('page.value', ['URL']) }} as page_url,
        {{ url_query(json_text('page.value', ['URL'])) }} as page_query,
        {{ epoch_to_utc(json_text('page.value', ['DATE_INSERT'])) }} as seen_at,
        coalesce({{ json_text('page.value', ['IS_REF']) }}, 'false') in ('true', '1', 'Y') as is_referrer

    from traces
    {{ join_json_elements('traces.pages', 'page') }}

),

own_pages as (

    select
        trace_id,
        position,
        page_url,
        seen_at,
        {{ url_host('page_url') }} as page_host,
        {{ text_to_integer(query_parameter('page_query', 'bx_sender_conversion_id')) }} as recipient_id,
        {{ query_parameter('page_query', 'mc_cid') }} as mc_cid,
        {%- for tag in utm_tags %}
        {{ url_decode(query_parameter('page_query', tag)) }} as {{ tag }}{{ ',' if not loop.last }}
        {%- endfor %}

    from pages
    where not is_referrer
        and page_url is not null

),

-- the visit begins where a link led to: the last page with tags of any kind, else the first page
tagged_pages as (

    select
        *,
        coalesce(utm_source, utm_medium, utm_campaign) is not null or recipient_id is not null as is_tagged

    from own_pages

),

landings as (

    select
        *,
        row_number() over (
            partition by trace_id
            order by
                is_tagged desc,
                case when is_tagged then -position else position end
        ) as landing_rank

    from tagged_pages

),

referrers as (

    select
        trace_id,
        {{ url_host('page_url') }} as referrer_host,
        row_number() over (
            partition by trace_id
            order by position
        ) as referrer_rank

    from pages
    where is_referrer

),

listed_tags as (

    select
        trace_id,
        tracking_source_id,
        is_deleted,
        created_at,
        {{ epoch_to_utc(json_text('tags', ['ts'])) }} as tags_seen_at,
        {%- for tag in utm_tags %}
        nullif({{ json_text('tags', ['list', tag]) }}, '') as {{ tag }},
        {%- endfor %}
        coalesce(
            {%- for click_id in click_ids %}
            nullif({{ json_text('tags', ['list', click_id]) }}, ''),
            nullif({{ json_text('tags', [click_id]) }}, ''){{ ',' if not loop.last }}
            {%- endfor %}
        ) as click_id

    from traces

),

final as (

    select
        listed_tags.trace_id,
        listed_tags.created_at,
        -- a browser's clock may be wrong: no visit is later than what was made of it
        least(
            coalesce(
                case when landings.is_tagged then landings.seen_at end,
                listed_tags.tags_seen_at,
                landings.seen_at,
                listed_tags.created_at
            ),
            listed_tags.created_at
        ) as visited_at,
        landings.page_url as landing_url,
        -- a page of the site itself refers nobody
        case when referrers.referrer_host <> landings.page_host then referrers.referrer_host end as referrer_host,
        landings.recipient_id,
        landings.mc_cid,
        -- one set or the other: tags of two visits make no third one
        {%- for tag in utm_tags %}
        case
            when coalesce(landings.utm_source, landings.utm_medium, landings.utm_campaign) is not null then landings.{{ tag }}
            else listed_tags.{{ tag }}
        end as {{ tag }},
        {%- endfor %}
        listed_tags.click_id,
        listed_tags.tracking_source_id,
        listed_tags.is_deleted,
        {{ built_at() }} as _built_at

    from listed_tags
    left join landings
        on listed_tags.trace_id = landings.trace_id
            and landings.landing_rank = 1
    left join referrers
        on listed_tags.trace_id = referrers.trace_id
            and referrers.referrer_rank = 1

)

select * from final
