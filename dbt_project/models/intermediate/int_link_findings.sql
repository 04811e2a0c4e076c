{%- set needed_tags = ['source', 'medium', 'campaign', 'content'] %}

with links as (

    select * from {{ ref('int_letter_links') }}
    where link_kind = 'web'

),

with_tag_counts as (

    select
        *,
        {%- for tag in needed_tags %}
        case when utm_{{ tag }} is null then 0 else 1 end {{ '+' if not loop.last }}
        {%- endfor %} as tag_count

    from links

),

findings as (

    select
        letter_id,
        link_id,
        'no_utm' as finding
    from with_tag_counts
    where tag_count = 0
        and utm_term is null
    {%- for tag in needed_tags %}
    union all
    select
        letter_id,
        link_id,
        'missing_{{ tag }}' as finding
    from with_tag_counts
    where utm_{{ tag }} is null
        and (tag_count > 0 or utm_term is not null)
    {%- endfor %}
    union all
    select
        letter_id,
        link_id,
        'wrong_letter_id' as finding
    from with_tag_counts
    where not names_its_letter
    union all
    select
        letter_id,
        link_id,
        'no_letter_id' as finding
    from with_tag_counts
    where names_its_letter is null
    union all
    select
        letter_id,
        link_id,
        'untracked' as finding
    from with_tag_counts
    where not is_tracked

),

final as (

    select
        {{ dbt.concat(['findings.link_id', "':'", 'findings.finding']) }} as finding_id,
        findings.letter_id,
        findings.link_id,
        findings.finding,
        case when findings.finding like 'missing_%' then 'missing_tag' else findings.finding end as penalty,
        with_tag_counts.link_url,
        with_tag_counts.named_key

    from findings
    inner join with_tag_counts
        on findings.link_id = with_tag_counts.link_id

)

select * from final
