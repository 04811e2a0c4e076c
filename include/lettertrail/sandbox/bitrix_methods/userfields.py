"""`crm.<entity>.userfield.*`: custom fields. Adding one is an `ALTER TABLE` of `b_uts_*` on the real site too."""

# ruff: noqa: S608  only names that were checked by a pattern are interpolated; values are always bound

from __future__ import annotations

import re
from typing import Any

from lettertrail.sandbox.bitrix_methods.fields import ENTITIES, Entity
from lettertrail.sandbox.bitrix_methods.portal import (
    Method,
    Methods,
    Params,
    Portal,
    Reply,
    RestError,
    Row,
    card_id,
    columns_of,
    integer,
    mapping,
    sequence,
)

PREFIX = "UF_CRM_"
MAX_NAME = 50
COLUMN_TYPES = {
    "integer": "int",
    "employee": "int",
    "boolean": "int",
    "enumeration": "int",
    "file": "int",
    "double": "double",
    "date": "date",
    "datetime": "datetime",
    "money": "varchar(200)",
    "string": "text",
    "url": "text",
    "address": "text",
    "crm": "text",
    "crm_status": "text",
    "iblock_section": "int",
    "iblock_element": "int",
}
FLAGS = ("MULTIPLE", "MANDATORY", "SHOW_FILTER", "SHOW_IN_LIST", "EDIT_IN_LIST", "IS_SEARCHABLE")
SHOWN_BY_DEFAULT = frozenset({"SHOW_IN_LIST", "EDIT_IN_LIST"})
LISTED = ("ID", "ENTITY_ID", "FIELD_NAME", "USER_TYPE_ID", "XML_ID", "SORT", *FLAGS)

methods = Methods()


def _add(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        fields = mapping(params, "fields")
        kind = str(fields.get("USER_TYPE_ID") or "")
        if not kind:
            raise RestError("", "The 'USER_TYPE_ID' field is required.")
        if kind not in COLUMN_TYPES:
            raise RestError("", "The user type is not found.")
        name = field_name(str(fields.get("FIELD_NAME") or ""))
        with portal.database.transaction() as cursor:
            if _find(cursor, entity, name) is not None or name in columns_of(cursor, entity.uts):
                raise RestError("", f"The field {name} of {entity.field_entity} already exists.")
            multiple = fields.get("MULTIPLE") == "Y"
            # MySQL commits an ALTER TABLE at once; the catalogue row comes after it, so that a failure leaves no
            # entry without a column.
            column = "text" if multiple else COLUMN_TYPES[kind]
            cursor.execute(f"alter table `{entity.uts}` add column `{name}` {column} null")
            number = _insert(cursor, entity, name, kind, fields)
            _write_labels(cursor, number, fields)
            _write_choices(cursor, number, fields)
        return Reply(number)

    return answer


def field_name(given: str) -> str:
    """The stored name: upper case, with the prefix, at most 50 characters.

    Raises:
        RestError: 400 for a name that breaks these rules.
    """
    name = given.upper()
    if not name:
        raise RestError("", "The 'FIELD_NAME' field is required.")
    if not name.startswith(PREFIX):
        name = PREFIX + name.removeprefix("UF_")
    if not re.fullmatch(r"[0-9A-Z_]+", name):
        raise RestError("", "The field name contains invalid characters. Available characters are: A-Z, 0-9 and _.")
    if len(name) > MAX_NAME:
        raise RestError("", f"The field name is too long (max {MAX_NAME} characters).")
    return name


def _insert(cursor: Any, entity: Entity, name: str, kind: str, fields: Params) -> int:
    row: Row = {
        "ENTITY_ID": entity.field_entity,
        "FIELD_NAME": name,
        "USER_TYPE_ID": kind,
        "XML_ID": fields.get("XML_ID"),
        "SORT": integer(fields.get("SORT", 100)) or 100,
    }
    for flag in FLAGS:
        row[flag] = _flag(fields.get(flag), default="Y" if flag in SHOWN_BY_DEFAULT else "N")
    names = ", ".join(row)
    marks = ", ".join(["%s"] * len(row))
    cursor.execute(f"insert into b_user_field ({names}) values ({marks})", tuple(row.values()))
    return int(cursor.lastrowid)


def _flag(value: Any, *, default: str) -> str:
    return value if value in {"Y", "N", "I", "E", "S"} else default


def _write_labels(cursor: Any, number: int, fields: Params) -> None:
    """`LABEL` is short for all three captions, in every language of the site."""
    general = fields.get("LABEL")
    captions = {
        name: str(fields.get(name) or general or "")
        for name in ("EDIT_FORM_LABEL", "LIST_COLUMN_LABEL", "LIST_FILTER_LABEL")
    }
    if not any(captions.values()):
        return
    for language in ("ru", "en"):
        cursor.execute(
            "replace into b_user_field_lang (USER_FIELD_ID, LANGUAGE_ID, EDIT_FORM_LABEL, LIST_COLUMN_LABEL, "
            "LIST_FILTER_LABEL) values (%s, %s, %s, %s, %s)",
            (number, language, *captions.values()),
        )


def _write_choices(cursor: Any, number: int, fields: Params) -> None:
    for position, item in enumerate(sequence(fields, "LIST")):
        if isinstance(item, dict) and item.get("VALUE"):
            cursor.execute(
                "insert into b_user_field_enum (USER_FIELD_ID, VALUE, DEF, SORT, XML_ID) values (%s, %s, %s, %s, %s)",
                (
                    number,
                    item["VALUE"],
                    _flag(item.get("DEF"), default="N"),
                    integer(item.get("SORT", 500)) or 500,
                    item.get("XML_ID") or f"{number}_{position}",
                ),
            )


def _find(cursor: Any, entity: Entity, name: str) -> Row | None:
    cursor.execute("select ID from b_user_field where ENTITY_ID = %s and FIELD_NAME = %s", (entity.field_entity, name))
    row: Row | None = cursor.fetchone()
    return row


def _list(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        conditions, values = ["ENTITY_ID = %s"], [entity.field_entity]
        for key, value in mapping(params, "filter").items():
            if key in LISTED:
                wanted = value if isinstance(value, list) else [value]
                conditions.append(f"{key} in ({', '.join(['%s'] * len(wanted))})")
                values.extend(wanted)
        order = [
            f"{key} {'desc' if str(way).lower() == 'desc' else 'asc'}"
            for key, way in mapping(params, "order").items()
            if key in LISTED
        ]
        with portal.database.transaction() as cursor:
            cursor.execute(
                f"select {', '.join(LISTED)} from b_user_field where {' and '.join(conditions)} "
                f"order by {', '.join([*order, 'ID'])}",
                values,
            )
            rows = cursor.fetchall()
            shown = [_shown(cursor, row) for row in rows]
        return Reply(shown, total=len(shown))

    return answer


def _shown(cursor: Any, row: Row) -> Row:
    shown: Row = {name: None if value is None else str(value) for name, value in row.items()}
    shown["SETTINGS"] = {}
    if row["USER_TYPE_ID"] == "boolean":
        shown["SETTINGS"] = {"DEFAULT_VALUE": 0, "DISPLAY": "CHECKBOX", "LABEL": ["", ""], "LABEL_CHECKBOX": ""}
    if row["USER_TYPE_ID"] == "enumeration":
        cursor.execute(
            "select ID, SORT, VALUE, DEF, XML_ID from b_user_field_enum where USER_FIELD_ID = %s order by SORT, ID",
            (row["ID"],),
        )
        shown["LIST"] = [{name: str(value) for name, value in item.items()} for item in cursor.fetchall()]
    return shown


def _get(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        with portal.database.transaction() as cursor:
            return Reply(_shown(cursor, _require(cursor, entity, params)))

    return answer


def _require(cursor: Any, entity: Entity, params: Params) -> Row:
    cursor.execute(
        f"select {', '.join(LISTED)} from b_user_field where ENTITY_ID = %s and ID = %s",
        (entity.field_entity, card_id(params)),
    )
    row: Row | None = cursor.fetchone()
    if row is None:
        raise RestError("ERROR_NOT_FOUND", "The entity with the specified ID is not found.")
    return row


def _update(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        fields = mapping(params, "fields")
        with portal.database.transaction() as cursor:
            row = _require(cursor, entity, params)
            # Name, type and multiplicity stay what they were at creation.
            changes: Row = {
                flag: _flag(fields[flag], default=row[flag]) for flag in FLAGS if flag in fields and flag != "MULTIPLE"
            }
            if "SORT" in fields:
                changes["SORT"] = integer(fields["SORT"]) or 100
            if "XML_ID" in fields:
                changes["XML_ID"] = fields["XML_ID"]
            if changes:
                assignments = ", ".join(f"{name} = %s" for name in changes)
                cursor.execute(f"update b_user_field set {assignments} where ID = %s", (*changes.values(), row["ID"]))
            _write_labels(cursor, row["ID"], fields)
        return Reply(True)

    return answer


def _delete(entity: Entity) -> Method:
    def answer(portal: Portal, params: Params) -> Reply:
        with portal.database.transaction() as cursor:
            row = _require(cursor, entity, params)
            cursor.execute(f"alter table `{entity.uts}` drop column if exists `{row['FIELD_NAME']}`")
            for table, key in (
                ("b_user_field_lang", "USER_FIELD_ID"),
                ("b_user_field_enum", "USER_FIELD_ID"),
                ("b_user_field", "ID"),
            ):
                cursor.execute(f"delete from {table} where {key} = %s", (row["ID"],))
        return Reply(True)

    return answer


for _entity in ENTITIES:
    _prefix = f"crm.{_entity.code.lower()}.userfield"
    for _verb, _factory in (("add", _add), ("list", _list), ("get", _get), ("update", _update), ("delete", _delete)):
        methods.on(f"{_prefix}.{_verb}")(_factory(_entity))
