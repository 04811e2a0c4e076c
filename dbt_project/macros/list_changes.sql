{#-
    CTEs that end with `changes`: one row per address of the list with the month it joined and the month it left. They read the CTEs
    addresses, subscribers, contacts, preferred_emails and suppressions. mart_list_growth and mart_list_health count the same list.
-#}
{% macro list_change_ctes() -%}
appearances as (

    select email, created_at as appeared_at
    from addresses

    union all

    select email, coalesce(opted_in_at, changed_at)
    from subscribers

    union all

    select preferred_emails.preferred_email, contacts.created_at
    from contacts
    inner join preferred_emails
        on contacts.contact_id = preferred_emails.contact_id

),

joined_emails as (

    select
        email,
        min(appeared_at) as joined_at

    from appearances
    where appeared_at <= {{ run_at() }}
    group by email

),

-- nobody can leave before they joined: older evidence takes effect in the month of joining
changes as (

    select
        joined_emails.email,
        {{ utc_month('joined_emails.joined_at') }} as joined_month,
        case
            when suppressions.evidenced_at <= {{ run_at() }}
                then {{ utc_month('greatest(suppressions.evidenced_at, joined_emails.joined_at)') }}
        end as left_month,
        case suppressions.state
            when 'complaint' then 'complained'
            when 'hard_bounce' then 'bounced'
            else 'unsubscribed'
        end as way_out

    from joined_emails
    left join suppressions
        on joined_emails.email = suppressions.email

),
{%- endmacro %}
