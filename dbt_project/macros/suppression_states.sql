{#-
    The states of suppression, strongest first, in one place. `lifts`: a newer explicit consent ends it. `follows_person`: it
    is a statement of a person, so it holds for their other addresses; a dead mailbox says nothing about another mailbox.
    `inactive` is no statement at all: it never has the scope `everything`, and ends by itself with the next sign of life.
-#}
{% macro suppression_states() -%}
    {{ return([
        {'state': 'erased', 'lifts': false, 'follows_person': true},
        {'state': 'complaint', 'lifts': false, 'follows_person': true},
        {'state': 'hard_bounce', 'lifts': true, 'follows_person': false},
        {'state': 'unsubscribed', 'lifts': true, 'follows_person': true},
        {'state': 'no_consent', 'lifts': true, 'follows_person': true},
        {'state': 'inactive', 'lifts': false, 'follows_person': false},
    ]) }}
{%- endmacro %}

{#- `column`'s place in that list, 1 = strongest. -#}
{% macro suppression_rank(column) -%}
    case {{ column }}
        {%- for each in suppression_states() %}
        when '{{ each.state }}' then {{ loop.index }}
        {%- endfor %}
    end
{%- endmacro %}

{#- The states that have a property, as a list of SQL literals. -#}
{% macro suppression_states_where(property) -%}
    {%- set names = suppression_states() | selectattr(property) | map(attribute='state') | list -%}
    '{{ names | join("', '") }}'
{%- endmacro %}
