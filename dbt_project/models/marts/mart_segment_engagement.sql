with daily as (

    select * from {{ ref('int_engagement_daily') }}
    where letter_id is not null

),

letters as (

    select * from {{ ref('int_letter_engagement') }}

),

letter_segments as (

    select * from {{ ref('int_letter_segments') }}
    where is_included

),

-- a letter to several segments counts in each of them; Bitrix does not keep which segment a recipient came from
engaged as (

    select
        letter_segments.segment_key,
        letter_segments.segment_name,
        cast({{ dbt.date_trunc('quarter', 'coalesce(daily.sent_on, letters.sent_on)') }} as date) as quarter,
        letters.is_open_tracked,
        daily.letter_id,
        {%- for count in engagement_counts() %}
        daily.{{ count }}{{ ',' if not loop.last }}
        {%- endfor %}

    from daily
    inner join letters
        on daily.letter_id = letters.letter_id
    inner join letter_segments
        on daily.letter_id = letter_segments.letter_id

),

summed as (

    select
        segment_key,
        max(segment_name) as segment_name,
        quarter,
        count(distinct letter_id) as letter_count,
        {{ summed_engagement() }}

    from engaged
    where quarter is not null
    group by
        segment_key,
        quarter

),

final as (

    select
        segment_key,
        segment_name,
        {{ dbt.split_part('segment_key', "':'", 1) }} as source,
        quarter,
        letter_count,
        {%- for count in engagement_counts() %}
        {%- if not count.startswith('bounced_') or count == 'bounced_count' %}
        {{ count }},
        {%- endif %}
        {%- endfor %}
        tracked_count,
        {{ engagement_rates() }}

    from summed

)

select * from final
