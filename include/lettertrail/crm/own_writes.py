"""Which changes of CRM cards were our own (`ops.own_writes`): no news when the copy brings them back."""

from __future__ import annotations

from collections.abc import Mapping

from lettertrail.warehouse.connect import connect

_BEFORE = """
insert into ops.own_writes (card_type, card_id, changed_before)
select %(entity)s, card_id, changed
from unnest(%(cards)s::bigint[], %(changed)s::timestamptz[]) as card (card_id, changed)
on conflict (card_type, card_id) do update
set changed_before = case
        when ops.own_writes.changed_after = excluded.changed_before then ops.own_writes.changed_before
        else excluded.changed_before
    end,
    changed_after = null
"""
_AFTER = """
update ops.own_writes as own
set changed_after = card.changed
from unnest(%(cards)s::bigint[], %(changed)s::timestamptz[]) as card (card_id, changed)
where own.card_type = %(entity)s
    and own.card_id = card.card_id
    and own.changed_after is null
"""


class WarehouseOwnWrites:
    """`OwnWrites` in the warehouse, each step committed at once: it must survive a push that dies."""

    def __init__(self, warehouse_dsn: str) -> None:
        self._dsn = warehouse_dsn

    def before(self, entity: str, changed: Mapping[str, str | None]) -> None:
        """A card that nobody touched since our last write keeps the time from before that one."""
        self._note(_BEFORE, entity, changed)

    def after(self, entity: str, changed: Mapping[str, str | None]) -> None:
        """Cards with no write under way are left as they are."""
        self._note(_AFTER, entity, changed)

    def _note(self, statement: str, entity: str, changed: Mapping[str, str | None]) -> None:
        with connect(self._dsn, purpose="note own writes") as connection:
            values = {"entity": entity, "cards": list(map(int, changed)), "changed": list(changed.values())}
            connection.execute(statement, values)
