{#- Values of `b_user.EXTERNAL_AUTH_ID` that mark an account of a service and not of a person, as a list of SQL literals. -#}
{% macro service_accounts() -%}
    {%- set names = [
        'bot', 'email', 'imconnector', 'sale', 'saleanonymous', 'shop', 'replica', 'call', 'document_editor', '__controller',
    ] -%}
    '{{ names | join("', '") }}'
{%- endmacro %}
