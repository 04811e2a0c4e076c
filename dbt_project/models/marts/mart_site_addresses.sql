{{ config(materialized='view') }}

with addresses as (

    select * from {{ ref('stg_bitrix__addresses') }}
    where email is not null
        and not is_deleted

),

final as (

    select email
    from addresses
    group by email
    having max(case when is_blacklisted then 1 else 0 end) = 0

)

select * from final
