{#- Which load last wrote or deleted an e-mail or phone of a card, or its country. -#}
select
    id as multi_field_id,
    _load_id
from {{ source('bitrix', 'b_crm_field_multi') }}

union all

select
    fm_id as multi_field_id,
    _load_id
from {{ source('bitrix', 'b_crm_field_multi_phone_country') }}
