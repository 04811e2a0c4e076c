-- Cards of the erased, for pushes to the CRM, which may see nothing else of an erasure.

create function ops.erased_cards(card_type text) returns setof bigint
    language sql stable security definer
    set search_path = pg_catalog, pg_temp
as $$
    select distinct card::bigint
    from ops.erasures
    cross join lateral jsonb_array_elements_text(cards -> card_type) as card
$$;
revoke all on function ops.erased_cards from public;
comment on function ops.erased_cards is 'Numbers of the cards of people who were erased: contact, lead or user.';

comment on column ops.erasures.places is 'Table -> rows that were changed or deleted, each counted once.';
comment on column ops.erasures.approved_by is
    'Airflow''s number of the user who approved it, not the name, which may be an address. Where Airflow knows users by name '
    'only, what `scripts/lettertrail reference` says of that name.';
