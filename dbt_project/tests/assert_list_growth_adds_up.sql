-- Active at the end of a month = active before + joined - lost, and never below zero.
with monthly as (

    select
        *,
        coalesce(lag(active) over (order by month), 0) as active_before

    from {{ ref('mart_list_growth') }}

)

select *

from monthly
where active <> active_before + joined - unsubscribed - bounced - complained
    or active < 0
