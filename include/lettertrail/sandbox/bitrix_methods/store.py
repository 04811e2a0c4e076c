"""Reading and writing cards, shared by the old `crm.contact.*` methods and by `crm.item.*`."""

# ruff: noqa: S608  only names read from the database's own catalogue are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_methods import events, history, links
from lettertrail.sandbox.bitrix_methods.conditions import Where
from lettertrail.sandbox.bitrix_methods.fields import (
    CONTACT,
    DEAL,
    LEAD,
    MULTI,
    READ_ONLY,
    UTM,
    Entity,
    Layout,
    layout_of,
)
from lettertrail.sandbox.bitrix_methods.portal import Column, Portal, RestError, Row, columns_of, integer

STAGES = {LEAD: "STATUS_ID", DEAL: "STAGE_ID"}
NAMES = ("LAST_NAME", "NAME", "SECOND_NAME")


def find(
    cursor: Any, layout: Layout, names: Sequence[str], where: Where, *, order: str, limit: int, offset: int
) -> list[Row]:
    """Cards with the named single-valued fields, as the database gives them; `ID` is always among them."""
    expressions = {"ID": "m.ID"}
    for name in names:
        expression = layout.expression(name)
        if expression is not None:
            expressions[name] = expression
    selected = ", ".join(f"{expression} as `{name}`" for name, expression in expressions.items())
    cursor.execute(
        f"select {selected} from {layout.source} where {where.sql()} order by {order} limit {limit} offset {offset}",
        where.values,
    )
    return list(cursor.fetchall())


def count(cursor: Any, layout: Layout, where: Where) -> int:
    """How many cards there are."""
    cursor.execute(f"select count(*) as number from {layout.source} where {where.sql()}", where.values)
    return int(cursor.fetchone()["number"])


def multi_fields(
    cursor: Any, entity: Entity, ids: Sequence[int], types: Sequence[str]
) -> dict[int, dict[str, list[dict[str, str]]]]:
    """E-mails, phones and the like of some cards: id → type → list of `{ID, VALUE_TYPE, VALUE, TYPE_ID}`."""
    found: dict[int, dict[str, list[dict[str, str]]]] = {card: {} for card in ids}
    if not ids or not types:
        return found
    cursor.execute(
        "select ID, ELEMENT_ID, TYPE_ID, VALUE_TYPE, VALUE from b_crm_field_multi where ENTITY_ID = %s "
        f"and ELEMENT_ID in ({_marks(ids)}) and TYPE_ID in ({_marks(types)}) order by ID",
        (entity.code, *ids, *types),
    )
    for row in cursor.fetchall():
        found[int(row["ELEMENT_ID"])].setdefault(row["TYPE_ID"], []).append(
            {
                "ID": str(row["ID"]),
                "VALUE_TYPE": row["VALUE_TYPE"],
                "VALUE": row["VALUE"],
                "TYPE_ID": row["TYPE_ID"],
            }
        )
    return found


def update(
    portal: Portal, cursor: Any, entity: Entity, card: int, fields: Mapping[str, Any], *, only_changes: bool
) -> bool:
    """Writes fields of a card and moves `DATE_MODIFY`; unknown and read-only fields are ignored.

    Args:
        only_changes: do nothing at all when every value is there already (`crm.item.update`); the others always save.

    Raises:
        RestError: 400 `Not found`.
    """
    layout = layout_of(cursor, entity)
    before = _card(cursor, layout, card)
    own, custom = _given(portal, layout, fields)
    utm = {name: str(fields[name] or "") for name in UTM if name in fields}
    multi = {name: fields[name] for name in MULTI if name in fields}
    if only_changes and not multi and not links.are_given(entity, fields):
        same = all(before.get(name) == value for name, value in {**own, **custom}.items())
        if same and all((before.get(name) or "") == value for name, value in utm.items()):
            return False
    own |= _consequences(portal, cursor, entity, before, own)
    own |= {"DATE_MODIFY": portal.now(), "MODIFY_BY_ID": portal.user_id}
    assignments = ", ".join(f"`{name}` = %s" for name in own)
    cursor.execute(f"update `{entity.table}` set {assignments} where ID = %s", (*own.values(), card))
    _write_aside(cursor, layout, card, fields, custom)
    stage = STAGES.get(entity, "ID")
    if own.get(stage, before[stage]) != before[stage]:
        history.write_move(portal, cursor, entity, card, row=before | own, before=before)
    events.emit(portal, cursor, f"ONCRM{entity.code}UPDATE", card)
    if entity is DEAL and own.get("CATEGORY_ID", before["CATEGORY_ID"]) != before["CATEGORY_ID"]:
        events.emit(portal, cursor, "ONCRMDEALMOVETOCATEGORY", card)
    return True


def add(portal: Portal, cursor: Any, entity: Entity, fields: Mapping[str, Any]) -> int:
    """Makes a card; gives its id."""
    layout = layout_of(cursor, entity)
    own, custom = _given(portal, layout, fields)
    own |= _consequences(portal, cursor, entity, {"STAGE_ID": None, "STATUS_ID": None}, own)
    now = portal.now()
    own |= {"DATE_CREATE": now, "DATE_MODIFY": now, "LAST_ACTIVITY_TIME": now}
    own |= {"CREATED_BY_ID": portal.user_id, "MODIFY_BY_ID": portal.user_id}
    own.setdefault("ASSIGNED_BY_ID", portal.user_id)
    known = {name: value for name, value in own.items() if name in layout.own}
    names = ", ".join(f"`{name}`" for name in known)
    cursor.execute(f"insert into `{entity.table}` ({names}) values ({_marks(list(known))})", tuple(known.values()))
    card = int(cursor.lastrowid)
    _write_aside(cursor, layout, card, fields, custom)
    if entity in STAGES:
        history.write_move(portal, cursor, entity, card, row=known, before=None)
    events.emit(portal, cursor, f"ONCRM{entity.code}ADD", card)
    return card


def _given(portal: Portal, layout: Layout, fields: Mapping[str, Any]) -> tuple[Row, Row]:
    """What was given for the card's own columns and for its custom ones, in the form they hold."""
    own = {
        name: to_stored(portal, value, layout.own[name])
        for name, value in fields.items()
        if name in layout.own and name not in READ_ONLY
    }
    custom = {
        name: php.serialize(_several(value))
        if name in layout.multiple
        else to_stored(portal, value, layout.custom[name])
        for name, value in fields.items()
        if name in layout.custom
    }
    return own, custom


def _several(value: Any) -> list[Any]:
    values = list(value.values()) if isinstance(value, Mapping) else value if isinstance(value, list) else [value]
    return [item for item in values if item not in (None, "")]


def _write_aside(cursor: Any, layout: Layout, card: int, fields: Mapping[str, Any], custom: Row) -> None:
    """What does not stand in the card's own row: custom fields, UTM tags, multi-fields, links."""
    entity = layout.entity
    _write_custom(cursor, entity, card, custom)
    for name in layout.multiple & custom.keys():
        _write_several(cursor, entity, card, name, _several(fields[name]))
    _write_utm(cursor, entity, card, {name: str(fields[name] or "") for name in UTM if name in fields})
    for name in MULTI:
        if name in fields:
            write_multi(cursor, entity, card, name, fields[name])
    links.write(cursor, entity, card, fields)


def _write_several(cursor: Any, entity: Entity, card: int, name: str, values: Sequence[Any]) -> None:
    """A row a value in `b_utm_*`, deleted and inserted again on each change (bitrix.md 2.10)."""
    if not columns_of(cursor, entity.utm):
        return
    cursor.execute(
        "select ID, USER_TYPE_ID from b_user_field where ENTITY_ID = %s and FIELD_NAME = %s",
        (entity.field_entity, name),
    )
    field = cursor.fetchone()
    cursor.execute(f"delete from {entity.utm} where VALUE_ID = %s and FIELD_ID = %s", (card, field["ID"]))
    column = {"enumeration": "VALUE_INT", "integer": "VALUE_INT", "double": "VALUE_DOUBLE"}.get(
        field["USER_TYPE_ID"], "VALUE"
    )
    cursor.executemany(
        f"insert into {entity.utm} (VALUE_ID, FIELD_ID, {column}) values (%s, %s, %s)",
        [(card, field["ID"], value) for value in values],
    )


def _card(cursor: Any, layout: Layout, card: int) -> Row:
    names = [*layout.own, *layout.custom, *UTM]
    where = Where()
    where.add("m.ID = %s", card)
    expressions = {name: layout.expression(name) or f"m.`{name}`" for name in names}
    selected = ", ".join(f"{expression} as `{name}`" for name, expression in expressions.items())
    cursor.execute(f"select {selected} from {layout.source} where m.ID = %s for update", (card,))
    row: Row | None = cursor.fetchone()
    if row is None:
        raise RestError("", "Not found")
    return row


def to_stored(portal: Portal, value: Any, column: Column) -> Any:  # noqa: PLR0911  one return a type
    """A caller's value in the form the column holds; what cannot be converted becomes NULL."""
    if value is None or value == "":
        return None if column.nullable or column.type not in {"varchar", "char", "text"} else ""
    if isinstance(value, bool):
        return int(value) if column.type in {"int", "tinyint", "smallint"} else "Y" if value else "N"
    match column.type:
        case "int" | "tinyint" | "smallint" | "bigint":
            words = {"Y": 1, "N": 0, "true": 1, "false": 0}
            return words.get(str(value), integer(value))
        case "datetime" | "timestamp":
            return portal.local(str(value))
        case "date":
            return _day(portal, str(value))
        case "decimal":
            try:
                return Decimal(str(value))
            except InvalidOperation:
                return None
        case "double" | "float":
            try:
                return float(value)
            except (TypeError, ValueError):
                return None
    return str(value)


def _day(portal: Portal, text: str) -> date | None:
    """A date given alone is that date in every zone."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        moment = portal.local(text)
        return moment.date() if moment is not None else None


def _consequences(portal: Portal, cursor: Any, entity: Entity, before: Row, own: Row) -> Row:
    """What Bitrix works out by itself when certain fields change: full name, stage semantics, closing."""
    effects: Row = {}
    if entity in {CONTACT, LEAD} and any(name in own for name in NAMES):
        merged = before | own
        words = [str(merged[name]) for name in ("NAME", "LAST_NAME") if merged.get(name)]
        effects["FULL_NAME"] = " ".join(words)
    field = STAGES.get(entity)
    if field is None:
        return effects
    funnel = own.get("CATEGORY_ID", before.get("CATEGORY_ID")) or 0
    first = f"C{funnel}:NEW" if entity is DEAL and funnel else "NEW"
    moves = entity is DEAL and "CATEGORY_ID" in own and own["CATEGORY_ID"] != before.get("CATEGORY_ID")
    # A new card, and one that moves to another funnel, starts at the first stage there.
    default = own.setdefault(field, first) if before.get(field) is None or moves else own.get(field)
    if default == before.get(field) or default is None:
        return effects
    semantics = _semantics(cursor, entity, str(default))
    now = portal.now()
    effects |= {"MOVED_TIME": now, "MOVED_BY_ID": portal.user_id}
    if entity is DEAL:
        effects |= {"STAGE_SEMANTIC_ID": semantics, "CLOSED": "N" if semantics == "P" else "Y"}
        effects["CLOSEDATE"] = now if semantics != "P" else own.get("CLOSEDATE", before.get("CLOSEDATE"))
    else:
        effects |= {"STATUS_SEMANTIC_ID": semantics, "DATE_CLOSED": None if semantics == "P" else now}
    return effects


def _semantics(cursor: Any, entity: Entity, stage: str) -> str:
    """P, S or F of a stage; a funnel's stages carry the prefix `C<funnel>:` and a dictionary of their own."""
    dictionary = "STATUS"
    if entity is DEAL:
        funnel = stage.partition(":")[0].removeprefix("C") if ":" in stage else ""
        dictionary = f"DEAL_STAGE_{funnel}" if funnel else "DEAL_STAGE"
    cursor.execute("select SEMANTICS from b_crm_status where ENTITY_ID = %s and STATUS_ID = %s", (dictionary, stage))
    row = cursor.fetchone()
    return str(row["SEMANTICS"] or "P") if row else "P"


def _write_custom(cursor: Any, entity: Entity, card: int, custom: Row) -> None:
    if not custom:
        return
    names = ", ".join(f"`{name}`" for name in custom)
    again = ", ".join(f"`{name}` = values(`{name}`)" for name in custom)
    cursor.execute(
        f"insert into `{entity.uts}` (VALUE_ID, {names}) values (%s, {_marks(list(custom))}) "
        f"on duplicate key update {again}",
        (card, *custom.values()),
    )


def _write_utm(cursor: Any, entity: Entity, card: int, utm: Mapping[str, str]) -> None:
    for code, value in utm.items():
        if value:
            cursor.execute(
                "insert into b_crm_utm (ENTITY_TYPE_ID, ENTITY_ID, CODE, VALUE) values (%s, %s, %s, %s) "
                "on duplicate key update VALUE = values(VALUE)",
                (entity.type_id, card, code, value),
            )
        else:
            cursor.execute(
                "delete from b_crm_utm where ENTITY_TYPE_ID = %s and ENTITY_ID = %s and CODE = %s",
                (entity.type_id, card, code),
            )


def write_multi(cursor: Any, entity: Entity, card: int, kind: str, values: Any) -> None:
    """Changes entries with an `ID`, removes those with `DELETE` = `Y`, adds the others; then the derived flags."""
    items = list(values.values()) if isinstance(values, Mapping) else values if isinstance(values, list) else []
    for item in items:
        if not isinstance(item, Mapping):
            continue
        number = integer(item.get("ID")) if item.get("ID") not in (None, "") else None
        value, owner = str(item.get("VALUE") or ""), (entity.code, card, kind)
        if number is not None and (item.get("DELETE") == "Y" or ("VALUE" in item and not value)):
            cursor.execute(
                "delete from b_crm_field_multi where ENTITY_ID = %s and ELEMENT_ID = %s and TYPE_ID = %s and ID = %s",
                (*owner, number),
            )
        elif number is not None:
            _change_multi(cursor, owner, number, item)
        elif value:
            value_type = str(item.get("VALUE_TYPE") or "WORK")
            cursor.execute(
                "insert into b_crm_field_multi (ENTITY_ID, ELEMENT_ID, TYPE_ID, VALUE_TYPE, COMPLEX_ID, VALUE) "
                "values (%s, %s, %s, %s, %s, %s)",
                (*owner, value_type, f"{kind}_{value_type}", value),
            )
    if kind in {"EMAIL", "PHONE"} and f"HAS_{kind}" in columns_of(cursor, entity.table):
        cursor.execute(
            f"update `{entity.table}` set HAS_{kind} = if(exists (select 1 from b_crm_field_multi f "
            "where f.ENTITY_ID = %s and f.ELEMENT_ID = %s and f.TYPE_ID = %s), 'Y', 'N') where ID = %s",
            (entity.code, card, kind, card),
        )
        _rewrite_match_codes(cursor, entity, card, kind)


def _change_multi(cursor: Any, owner: tuple[str, int, str], number: int, item: Mapping[str, Any]) -> None:
    changes = {name: str(item[name]) for name in ("VALUE", "VALUE_TYPE") if name in item}
    if "VALUE_TYPE" in changes:
        changes["COMPLEX_ID"] = f"{owner[2]}_{changes['VALUE_TYPE']}"
    if changes:
        assignments = ", ".join(f"`{name}` = %s" for name in changes)
        cursor.execute(
            f"update b_crm_field_multi set {assignments} "
            "where ENTITY_ID = %s and ELEMENT_ID = %s and TYPE_ID = %s and ID = %s",
            (*changes.values(), *owner, number),
        )


def _rewrite_match_codes(cursor: Any, entity: Entity, card: int, kind: str) -> None:
    """`b_crm_dp_comm_mcd`: e-mails in lower case, phones in digits; deals are not in it."""
    if entity is DEAL:
        return
    cursor.execute(
        "delete from b_crm_dp_comm_mcd where ENTITY_TYPE_ID = %s and ENTITY_ID = %s and TYPE = %s",
        (entity.type_id, card, kind),
    )
    entries = multi_fields(cursor, entity, [card], [kind])[card].get(kind, [])
    for code in sorted({match_code(kind, entry["VALUE"]) for entry in entries}):
        cursor.execute(
            "insert into b_crm_dp_comm_mcd (ENTITY_TYPE_ID, ENTITY_ID, TYPE, VALUE) values (%s, %s, %s, %s)",
            (entity.type_id, card, kind, code),
        )


def match_code(kind: str, value: str) -> str:
    """The form in which duplicates are searched."""
    return value.strip().lower() if kind == "EMAIL" else "".join(sign for sign in value if sign.isdigit())


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
