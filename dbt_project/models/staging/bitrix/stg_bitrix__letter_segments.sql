with source as (

    select * from {{ source('bitrix', 'b_sender_mailing_chain_group') }}

),

renamed as (

    select
        -- ids
        chain_id as letter_number,
        group_id as segment_id,

        -- booleans
        include = 1 as is_included

    from source
    where _deleted_at is null

)

select * from renamed
