"""Reading and writing cards, shared by the old `crm.contact.*` methods and by `crm.item.*`."""

# ruff: noqa: S608  only names read from the database's own catalogue are interpolated; values are always bound

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import (
    CONTACT,
    DEAL,
    LEAD,
    MULTI,
    READ_ONLY,
    UTM,
    Entity,
    Layout,
    Where,
    layout_of,
)
from lettertrail.sandbox.bitrix_methods.portal import Column, Portal, RestError, Row, columns_of, integer

PAGE = 50
FINAL_HISTORY = {"S": 3, "F": 4}
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


def linked_contacts(cursor: Any, entity: Entity, ids: Sequence[int]) -> dict[int, list[int]]:
    """The contacts of deals and leads, the main one first."""
    found: dict[int, list[int]] = {card: [] for card in ids}
    if not ids or entity not in {DEAL, LEAD}:
        return found
    key = f"{entity.code}_ID"
    cursor.execute(
        f"select {key} as card, CONTACT_ID from b_crm_{entity.code.lower()}_contact where {key} in ({_marks(ids)}) "
        "order by IS_PRIMARY desc, SORT, CONTACT_ID",
        tuple(ids),
    )
    for row in cursor.fetchall():
        found[int(row["card"])].append(int(row["CONTACT_ID"]))
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
    own = {
        name: to_stored(portal, value, layout.own[name])
        for name, value in fields.items()
        if name in layout.own and name not in READ_ONLY
    }
    custom = {
        name: to_stored(portal, value, layout.custom[name]) for name, value in fields.items() if name in layout.custom
    }
    utm = {name: str(fields[name] or "") for name in UTM if name in fields}
    multi = {name: fields[name] for name in MULTI if name in fields}
    if only_changes and not multi:
        same = all(before.get(name) == value for name, value in {**own, **custom}.items())
        if same and all((before.get(name) or "") == value for name, value in utm.items()):
            return False
    own |= _consequences(portal, cursor, entity, before, own)
    own |= {"DATE_MODIFY": portal.now(), "MODIFY_BY_ID": portal.user_id}
    assignments = ", ".join(f"`{name}` = %s" for name in own)
    cursor.execute(f"update `{entity.table}` set {assignments} where ID = %s", (*own.values(), card))
    _write_custom(cursor, entity, card, custom)
    _write_utm(cursor, entity, card, utm)
    for name, values in multi.items():
        write_multi(cursor, entity, card, name, values)
    if entity is DEAL and own.get("STAGE_ID", before["STAGE_ID"]) != before["STAGE_ID"]:
        _write_history(portal, cursor, card, before | own)
    return True


def add(portal: Portal, cursor: Any, entity: Entity, fields: Mapping[str, Any]) -> int:
    """Makes a card; gives its id."""
    layout = layout_of(cursor, entity)
    own = {
        name: to_stored(portal, value, layout.own[name])
        for name, value in fields.items()
        if name in layout.own and name not in READ_ONLY
    }
    own |= _consequences(portal, cursor, entity, {"STAGE_ID": None, "STATUS_ID": None}, own)
    now = portal.now()
    own |= {"DATE_CREATE": now, "DATE_MODIFY": now, "LAST_ACTIVITY_TIME": now}
    own |= {"CREATED_BY_ID": portal.user_id, "MODIFY_BY_ID": portal.user_id}
    own.setdefault("ASSIGNED_BY_ID", portal.user_id)
    known = {name: value for name, value in own.items() if name in layout.own}
    names = ", ".join(f"`{name}`" for name in known)
    cursor.execute(f"insert into `{entity.table}` ({names}) values ({_marks(list(known))})", tuple(known.values()))
    card = int(cursor.lastrowid)
    custom = {
        name: to_stored(portal, value, layout.custom[name]) for name, value in fields.items() if name in layout.custom
    }
    _write_custom(cursor, entity, card, custom)
    _write_utm(cursor, entity, card, {name: str(fields[name] or "") for name in UTM if name in fields})
    for name in MULTI:
        if name in fields:
            write_multi(cursor, entity, card, name, fields[name])
    if entity is DEAL:
        _write_history(portal, cursor, card, known, created=True)
    return card


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
            moment = portal.local(str(value))
            return moment.date() if moment is not None else None
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


def _consequences(portal: Portal, cursor: Any, entity: Entity, before: Row, own: Row) -> Row:
    """What Bitrix works out by itself when certain fields change: full name, stage semantics, closing."""
    effects: Row = {}
    if entity in {CONTACT, LEAD} and any(name in own for name in NAMES):
        merged = before | own
        words = [str(merged[name]) for name in ("NAME", "LAST_NAME") if merged.get(name)]
        effects["FULL_NAME"] = " ".join(words)
    field = {LEAD: "STATUS_ID", DEAL: "STAGE_ID"}.get(entity)
    if field is None:
        return effects
    default = own.setdefault(field, "NEW") if before.get(field) is None else own.get(field)
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


def _write_history(portal: Portal, cursor: Any, deal: int, card: Row, *, created: bool = False) -> None:
    """One row of `b_crm_deal_stage_history`: 1 created, 2 moved, 3 won, 4 lost."""
    now, semantics = portal.now(), str(card.get("STAGE_SEMANTIC_ID") or "P")
    closes = card.get("CLOSEDATE")
    row: Row = {
        "TYPE_ID": 1 if created else FINAL_HISTORY.get(semantics, 2),
        "OWNER_ID": deal,
        "CREATED_TIME": now,
        "CREATED_DATE": now.date(),
        "EFFECTIVE_DATE": now.date(),
        "START_DATE": _day(card.get("BEGINDATE")) or now.date(),
        "END_DATE": _day(closes) or now.date() + timedelta(days=7),
        "RESPONSIBLE_ID": card.get("ASSIGNED_BY_ID") or portal.user_id,
        "CATEGORY_ID": card.get("CATEGORY_ID") or 0,
        "STAGE_SEMANTIC_ID": semantics,
        "STAGE_ID": card.get("STAGE_ID"),
        "IS_LOST": "Y" if semantics == "F" else "N",
    }
    names = ", ".join(row)
    cursor.execute(f"insert into b_crm_deal_stage_history ({names}) values ({_marks(list(row))})", tuple(row.values()))


def _day(value: Any) -> date | None:
    return value.date() if isinstance(value, datetime) else None


def _marks(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))
