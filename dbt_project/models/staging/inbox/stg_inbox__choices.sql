with source as (

    select * from {{ source('inbox', 'choices') }}

),

renamed as (

    select
        -- ids
        choice_id,

        -- text
        {{ normalize_email('email') }} as email,
        way,
        wanted,
        offered,
        text_version,

        -- booleans
        cast(wanted as {{ dbt.type_string() }}) = '[]' as is_leaving,

        -- timestamps
        chosen_at

    from source

)

select * from renamed
