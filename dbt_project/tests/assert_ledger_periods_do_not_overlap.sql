-- Of one credit no two answers hold at the same time.
with periods as (

    select
        credit_id,
        valid_from,
        valid_to,
        lead(valid_from) over (
            partition by credit_id
            order by valid_from
        ) as next_from

    from {{ ref('fct_attribution_ledger') }}
    where valid_to is null
        or valid_to > valid_from

)

select *
from periods
where next_from is not null
    and (valid_to is null or valid_to > next_from)
