with addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}
    where email is not null
        and not is_deleted

),

subscribers as (

    select * from {{ ref('stg_esp__contacts') }}
    where email is not null
        and not is_deleted

),

contacts as (

    select * from {{ ref('stg_bitrix__contacts') }}

),

preferred_emails as (

    select
        contact_id,
        email as preferred_email

    from {{ ref('int_contact_emails_ranked') }}
    where preference = 1

),

suppressions as (

    select * from {{ ref('dim_suppression') }}
    where scope = 'everything'

),

people_emails as (

    select * from {{ ref('int_people_emails') }}

),

person_engagement as (

    select * from {{ ref('int_person_engagement') }}
    where not is_gone

),

growth as (

    select * from {{ ref('mart_list_growth') }}

),

{{ list_change_ctes() }}

members as (

    select
        changes.joined_month,
        changes.left_month,
        -- a letter may have come before the address was noted
        case
            when person_engagement.first_delivered_at is not null
                then {{ utc_month('greatest(person_engagement.first_delivered_at, joined_emails.joined_at)') }}
        end as mailed_month,
        {{ utc_month('person_engagement.first_engaged_at') }} as engaged_month

    from changes
    inner join joined_emails
        on changes.email = joined_emails.email
    left join people_emails
        on changes.email = people_emails.email
    left join person_engagement
        on people_emails.person_id = person_engagement.person_id

),

member_groups as (

    select
        joined_month,
        left_month,
        mailed_month,
        engaged_month,
        count(*) as address_count

    from members
    group by
        joined_month,
        left_month,
        mailed_month,
        engaged_month

),

monthly as (

    select
        growth.month,
        sum(case
            when member_groups.mailed_month <= growth.month
                then member_groups.address_count
            else 0
        end) as mailed_count,
        sum(case
            when member_groups.mailed_month <= growth.month
                and (member_groups.engaged_month is null or member_groups.engaged_month > growth.month)
                then member_groups.address_count
            else 0
        end) as never_engaged_count

    from growth
    left join member_groups
        on member_groups.joined_month <= growth.month
            and (member_groups.left_month is null or member_groups.left_month > growth.month)
    group by growth.month

),

-- of those on the list a year before, who has left since
yearly as (

    select
        growth.month,
        sum(member_groups.address_count) as year_ago_count,
        sum(case when member_groups.left_month <= growth.month then member_groups.address_count else 0 end) as lost_of_them_count

    from growth
    inner join member_groups
        on member_groups.joined_month <= {{ dbt.dateadd('month', -12, 'growth.month') }}
            and (
                member_groups.left_month is null
                or member_groups.left_month > {{ dbt.dateadd('month', -12, 'growth.month') }}
            )
    group by growth.month

),

balanced as (

    select
        month,
        joined,
        unsubscribed + bounced + complained as lost,
        unsubscribed,
        bounced,
        complained,
        active - joined + unsubscribed + bounced + complained as active_before,
        active

    from growth

),

final as (

    select
        balanced.month,
        cast(balanced.active_before as bigint) as active_before,
        balanced.joined,
        cast(balanced.lost as bigint) as lost,
        balanced.unsubscribed,
        balanced.bounced,
        balanced.complained,
        balanced.active,
        {{ rate('(balanced.joined - balanced.lost)', 'balanced.active_before') }} as growth_rate,
        {{ rate('balanced.lost', 'balanced.active_before') }} as loss_rate,
        {{ rate('yearly.lost_of_them_count', 'yearly.year_ago_count') }} as year_decay_rate,
        cast(monthly.mailed_count as bigint) as mailed_count,
        cast(monthly.never_engaged_count as bigint) as never_engaged_count,
        {{ rate('monthly.never_engaged_count', 'monthly.mailed_count') }} as never_engaged_rate

    from balanced
    left join monthly
        on balanced.month = monthly.month
    left join yearly
        on balanced.month = yearly.month

)

select * from final
