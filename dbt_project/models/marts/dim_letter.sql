with letters as (

    select * from {{ ref('int_letters') }}

),

letter_segments as (

    select * from {{ ref('int_letter_segments') }}

),

letter_links as (

    select * from {{ ref('int_letter_links') }}

),

letter_costs as (

    select * from {{ ref('int_letter_costs') }}

),

audiences as (

    select
        letter_id,
        {{ dbt.listagg('segment_name', "', '", 'order by segment_name') }} as audience_segments,
        count(*) as audience_segment_count

    from letter_segments
    where is_included
    group by letter_id

),

link_counts as (

    select
        letter_id,
        count(*) as link_count

    from letter_links
    where link_kind = 'web'
    group by letter_id

),

final as (

    select
        letters.letter_id,
        letters.source,
        letters.letter_number,
        letters.campaign_id,
        letters.campaign_name,
        letters.title,
        letters.subject,
        cast(letters.posting_count as bigint) as posting_count,
        letters.first_sent_at,
        letters.last_sent_at,
        letters.sent_at,
        audiences.audience_segments,
        -- a letter to several segments has no one segment
        case when audiences.audience_segment_count = 1 then audiences.audience_segments end as audience_segment,
        cast(link_counts.link_count as bigint) as link_count,
        letters.utm_source,
        letters.utm_medium,
        letters.utm_campaign,
        letters.utm_content,
        letters.utm_term,
        letter_costs.cost,
        letter_costs.cost_currency,
        letter_costs.cost_basis

    from letters
    left join audiences
        on letters.letter_id = audiences.letter_id
    left join link_counts
        on letters.letter_id = link_counts.letter_id
    left join letter_costs
        on letters.letter_id = letter_costs.letter_id

)

select * from final
