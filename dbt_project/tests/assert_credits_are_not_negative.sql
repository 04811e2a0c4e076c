-- No touch earns less than nothing or more than the conversion.
select *

from {{ ref('fct_attribution_credits') }}
where credit < 0
    or credit > 1
