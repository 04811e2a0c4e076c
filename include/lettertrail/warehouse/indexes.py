"""Indexes of the raw tables beside their keys, for models that read what is new and what belongs to it.

What a load brought is found by `_load_id`. Loads only grow, so that index is BRIN: a few pages whatever the table
holds, and next to nothing to keep up while rows are copied.
"""

from __future__ import annotations

from psycopg import sql

from lettertrail.warehouse.connect import Connection

PAGES_PER_RANGE = 32
"""Pages that are read together for one new row among them; the default, 128, is for larger questions."""

ADDRESS = r"case when email like '%_@_%' then lower(btrim(email, E' \t\r\n\u00a0')) end"
"""An address as the dbt macro normalize_email makes it of a column `email`."""

LOOKUPS: dict[tuple[str, str], dict[str, str]] = {
    ("raw_bitrix", "b_sender_posting_recipient"): {"contact_id": "nullif(contact_id, 0)", "posting_id": "posting_id"},
    ("raw_bitrix", "b_sender_posting_read"): {"recipient_id": "nullif(recipient_id, 0)", "posting_id": "posting_id"},
    ("raw_bitrix", "b_sender_posting_click"): {"recipient_id": "nullif(recipient_id, 0)", "posting_id": "posting_id"},
    ("raw_bitrix", "b_sender_posting_unsub"): {"recipient_id": "nullif(recipient_id, 0)", "posting_id": "posting_id"},
    ("raw_bitrix", "b_crm_field_multi"): {"element_id": "element_id"},
    ("raw_bitrix", "b_crm_tracking_trace_entity"): {"trace_id": "trace_id", "entity_id": "entity_id"},
    ("raw_bitrix", "b_crm_utm"): {"entity_id": "entity_id"},
    ("raw_bitrix", "b_crm_deal"): {"lead_id": "nullif(lead_id, 0)", "contact_id": "nullif(contact_id, 0)"},
    ("raw_bitrix", "b_sale_order"): {"user_id": "nullif(user_id, 0)"},
    ("raw_esp", "contacts"): {"email": ADDRESS},
    ("raw_esp", "events"): {"email": ADDRESS},
}
"""Schema and table -> column -> how staging gives it to the models that look up a few rows by it."""

_LOADED = """
    select namespace.nspname, class.relname
    from pg_class as class
    join pg_namespace as namespace on namespace.oid = class.relnamespace
    join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attname = '_load_id'
    where namespace.nspname in ('raw_bitrix', 'raw_esp') and class.relkind = 'r' and not attribute.attisdropped
"""


def index_raw_tables(connection: Connection) -> list[str]:
    """Gives every raw table that is there the indexes it lacks; returns their names."""
    tables = connection.execute(_LOADED).fetchall()
    return [index for schema, table in sorted(tables) for index in index_raw_table(connection, schema, table)]


def index_raw_table(connection: Connection, schema: str, table: str) -> list[str]:
    """The same for one table. A column that an edition of Bitrix does not have needs no index."""
    there: list[tuple[str]] = connection.execute(
        "select indexname::text from pg_indexes where schemaname = %s and tablename = %s", [schema, table]
    ).fetchall()
    columns: list[tuple[str]] = connection.execute(
        "select attname::text from pg_attribute where attrelid = format('%%I.%%I', %s::text, %s::text)::regclass",
        [schema, table],
    ).fetchall()
    wanted = {
        f"{table}__load": sql.SQL("brin (_load_id) with (pages_per_range = {}, autosummarize = on)").format(
            sql.Literal(PAGES_PER_RANGE)
        )
    }
    for column, key in LOOKUPS.get((schema, table), {}).items():
        if (column,) in columns:
            wanted[f"{table}__{column}"] = sql.SQL("btree (({}))").format(sql.SQL(key))
    made = [name for name in wanted if (name,) not in there]
    for name in made:
        connection.execute(
            sql.SQL("create index {} on {} using {}").format(
                sql.Identifier(name), sql.Identifier(schema, table), wanted[name]
            )
        )
    return made
