"""Which fields a card has: `crm.<entity>.fields`, `crm.item.fields`, `crm.multifield.fields`."""

from __future__ import annotations

from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import ENTITIES, MULTI, READ_ONLY, UTM, Entity, Layout, layout_of
from lettertrail.sandbox.bitrix_methods.items import camel, entity_of
from lettertrail.sandbox.bitrix_methods.links import LINKS
from lettertrail.sandbox.bitrix_methods.portal import Method, Methods, Params, Portal, Reply, Row

TYPES = {
    "int": "integer",
    "bigint": "integer",
    "smallint": "integer",
    "tinyint": "integer",
    "decimal": "double",
    "double": "double",
    "datetime": "datetime",
    "timestamp": "datetime",
    "date": "date",
    "char": "char",
}

methods = Methods()


def _described(cursor: Any, layout: Layout) -> dict[str, Row]:
    """Name → description, the custom ones with their choices."""
    fields = {
        name: _field(TYPES.get(layout.type_of(name), "string"), name, is_read_only=name in READ_ONLY)
        for name in [*layout.visible, *UTM]
    }
    cursor.execute(
        "select ID, FIELD_NAME, USER_TYPE_ID, MULTIPLE, MANDATORY from b_user_field where ENTITY_ID = %s order by ID",
        (layout.entity.field_entity,),
    )
    for row in cursor.fetchall():
        described = _field(row["USER_TYPE_ID"], row["FIELD_NAME"]) | {"isDynamic": True}
        described |= {"isMultiple": row["MULTIPLE"] == "Y", "isRequired": row["MANDATORY"] == "Y"}
        if row["USER_TYPE_ID"] == "enumeration":
            cursor.execute("select ID, VALUE from b_user_field_enum where USER_FIELD_ID = %s order by ID", (row["ID"],))
            described["items"] = [{"ID": str(item["ID"]), "VALUE": item["VALUE"]} for item in cursor.fetchall()]
        fields[row["FIELD_NAME"]] = described
    return fields


def _field(kind: str, title: str, *, is_read_only: bool = False) -> Row:
    return {
        "type": kind,
        "isRequired": False,
        "isReadOnly": is_read_only,
        "isImmutable": False,
        "isMultiple": False,
        "isDynamic": False,
        "title": title,
    }


def _fields(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        with portal.database.transaction() as cursor:
            fields = _described(cursor, layout_of(cursor, entity))
        return Reply(fields | {name: _field("crm_multifield", name) | {"isMultiple": True} for name in MULTI})

    return answer


@methods.on("crm.item.fields")
def item_fields(portal: Portal, params: Params) -> Reply:
    """The same under the names of `crm.item.*`, with the old name beside."""
    entity = entity_of(params)
    with portal.database.transaction() as cursor:
        described = _described(cursor, layout_of(cursor, entity))
    fields = {camel(name): field | {"upperName": name} for name, field in described.items()}
    for link in LINKS:
        if link.owner is entity:
            other = f"{link.other.code}_IDS"
            fields[link.shown] = _field(f"crm_{link.other.code.lower()}", other) | {
                "isMultiple": True,
                "upperName": other,
            }
    fields["fm"] = _field("crm_multifield", "FM") | {"isMultiple": True, "upperName": "FM"}
    return Reply({"fields": fields})


@methods.on("crm.multifield.fields")
def multifield_fields(portal: Portal, params: Params) -> Reply:
    """What an e-mail or a phone of a card consists of."""
    kinds = {"ID": "integer", "TYPE_ID": "string", "VALUE_TYPE": "string", "VALUE": "string"}
    return Reply({name: _field(kind, name, is_read_only=name == "ID") for name, kind in kinds.items()})


for _entity in ENTITIES:
    methods.on(f"crm.{_entity.code.lower()}.fields")(_fields(_entity))
