select *

from {{ ref('fct_attribution_credits') }}
where touched_at > converted_at
