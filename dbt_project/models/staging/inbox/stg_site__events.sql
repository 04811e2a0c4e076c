with source as (

    select * from {{ source('site', 'site_events') }}

),

renamed as (

    select
        -- ids
        account || ':' || event_id as site_event_id,
        {%- for name in ['recipient_id', 'letter_id', 'fuser_id', 'basket_item_id'] %}
        {{ text_to_integer(json_text('data', [name])) }} as {{ name }},
        {%- endfor %}
        -- may hold letters: some shops number their orders so
        {{ json_text('data', ['order_id']) }} as order_id,

        -- text
        account,
        event_type,
        {{ normalize_email(json_text('data', ['email'])) }} as email,
        {{ json_text('data', ['status']) }} as order_status,
        {{ json_text('data', ['reason']) }} as reason,

        -- timestamps
        occurred_at

    from source

)

select * from renamed
