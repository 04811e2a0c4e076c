-- What is no conversion any more has no open answer.
select distinct credits.conversion_id

from {{ ref('fct_attribution_credits') }} as credits
left join {{ ref('fct_conversions') }} as conversions
    on credits.conversion_id = conversions.conversion_id
        and credits.converted_at = conversions.converted_at
where conversions.conversion_id is null
