select *

from {{ ref('fct_attribution_credits') }}
where touched_at is not null
    and not (
        false
        {%- for conversion_type, days in var('lookback_days').items() %}
        or (
            conversion_type = '{{ conversion_type }}'
            and touched_at >= {{ add_seconds('converted_at', -86400 * days) }}
        )
        {%- endfor %}
    )
