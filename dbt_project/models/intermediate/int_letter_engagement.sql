{{ config(materialized='table', post_hook="{{ refresh_statistics(this) }}") }}

with letters as (

    select * from {{ ref('int_letters') }}

),

daily as (

    select * from {{ ref('int_engagement_daily') }}
    where letter_id is not null

),

bitrix_letters as (

    select * from {{ ref('stg_bitrix__letters') }}

),

message_fields as (

    select * from {{ ref('stg_bitrix__message_fields') }}
    where field_code = 'TRACK_MAIL'

),

-- what the service itself counts; some tell nothing else
reported as (

    select * from {{ ref('stg_esp__campaign_totals') }}

),

counted as (

    select
        letter_id,
        {%- for count in engagement_counts() %}
        sum({{ count }}) as {{ count }}{{ ',' if not loop.last }}
        {%- endfor %}

    from daily
    group by letter_id

),

untracked_letters as (

    select bitrix_letters.letter_number
    from bitrix_letters
    inner join message_fields
        on bitrix_letters.message_content_id = message_fields.message_content_id
    where message_fields.field_value = 'N'

),

accounts as (

    select
        source,
        {{ dbt.split_part('letter_id', "':'", 2) }} as account,
        sum(opened_count) as opened_count

    from daily
    where source <> 'bitrix'
    group by
        source,
        {{ dbt.split_part('letter_id', "':'", 2) }}

),

final as (

    select
        letters.letter_id,
        letters.source,
        {{ utc_date('letters.sent_at') }} as sent_on,
        counted.letter_id is not null as is_counted,
        -- an account whose letters were never opened by anybody does not tell of opens
        case
            when letters.source = 'bitrix'
                then untracked_letters.letter_number is null
            else coalesce(accounts.opened_count > 0, false) or reported.opened_count is not null
        end as is_open_tracked,
        {%- for count in engagement_counts() %}
        cast(coalesce(counted.{{ count }}, 0) as bigint) as {{ count }},
        {%- endfor %}
        {%- for count in [
            'sent_count', 'delivered_count', 'opened_count', 'clicked_count', 'bounced_count', 'unsubscribed_count',
            'complained_count'
        ] %}
        cast(reported.{{ count }} as bigint) as reported_{{ count }}{{ ',' if not loop.last }}
        {%- endfor %}

    from letters
    left join counted
        on letters.letter_id = counted.letter_id
    left join untracked_letters
        on letters.letter_number = untracked_letters.letter_number
            and letters.source = 'bitrix'
    left join accounts
        on letters.source = accounts.source
            and {{ dbt.split_part('letters.letter_id', "':'", 2) }} = accounts.account
    left join reported
        on letters.letter_id = reported.letter_id

)

select * from final
