select * from {{ ref('int_bitrix_messages') }}
union all
select * from {{ ref('int_esp_messages') }}
