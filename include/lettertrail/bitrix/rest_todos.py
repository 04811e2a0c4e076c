"""To-dos on CRM cards, made through REST once each.

`crm.activity.todo.add` has no key of the caller's and is not idempotent (bitrix.md 6.5). So every to-do carries a mark
of ours in its text, the card is searched for that mark before anything is added, and an addition whose answer was
lost is never repeated blindly: it is looked for, by this run or the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from lettertrail.bitrix.rest import BATCH, BitrixRest, refusal
from lettertrail.bulk import Verdict, outcomes, push
from lettertrail.esps.port import Call, Endpoint, Outcome, Record

TYPE_IDS = {"lead": 1, "contact": 3}
"""`ownerTypeId` by card type (bitrix.md 2.1)."""


@dataclass(frozen=True, slots=True)
class Todo:
    """One to-do. Times are aware."""

    mark: str
    """Unique; part of the text."""
    card_type: str
    card_id: int
    responsible_id: int
    """`b_user.ID`."""
    deadline: datetime
    title: str
    text: str
    """BBCode; the mark is put behind it."""


class BitrixTodos:
    """The to-dos of one portal."""

    def __init__(self, rest: BitrixRest) -> None:
        self.name = rest.name
        self.account = rest.account
        self.endpoints = {"add_bare": (Endpoint("POST /batch of crm.activity.todo.add", BATCH),)}
        """What a plan would call; see `Esp.endpoints`."""
        self._rest = rest

    def add(self, todos: Sequence[Todo]) -> Iterator[Outcome]:
        """One outcome per to-do, by its mark; one that is there is `already_ok`, also when it was done since."""
        by_mark = {todo.mark: todo for todo in todos}
        records = [Record(mark, "") for mark in by_mark]
        yield from outcomes("bitrix to-dos", records, self._add(by_mark), target=lambda record: record.key)

    def calls(self) -> list[Call]:
        """The write calls made since this was last asked."""
        return self._rest.calls()

    def _add(self, todos: Mapping[str, Todo]) -> Iterator[tuple[str, Verdict]]:
        there = self._there(list(todos.values()))
        yield from ((mark, ("already_ok", None)) for mark in todos if mark in there)

        def send(bulk: Sequence[str]) -> dict[str, Verdict]:
            commands = {f"t{number}": _command(todos[mark]) for number, mark in enumerate(bulk)}
            done, failed = self._rest.batch(commands, write=True, idempotent=False)
            verdicts: dict[str, Verdict] = {}
            for number, mark in enumerate(bulk):
                answer = done.get(f"t{number}")
                if isinstance(answer, Mapping) and answer.get("id"):
                    verdicts[mark] = ("applied", f"to-do {answer['id']}")
                elif f"t{number}" in failed:
                    verdicts[mark] = refusal(failed[f"t{number}"])
            return verdicts

        def settled(bulk: Sequence[str]) -> set[str]:
            return self._there([todos[mark] for mark in bulk])

        missing = [mark for mark in todos if mark not in there]
        yield from push(missing, send, settled, bulk=BATCH, unmentioned="applied", otherwise="not made")

    def _there(self, todos: Sequence[Todo]) -> set[str]:
        """The marks of those that are on their cards."""
        commands = {
            f"s{number}": "crm.activity.list"
            f"?filter[OWNER_TYPE_ID]={TYPE_IDS[todo.card_type]}&filter[OWNER_ID]={todo.card_id}"
            f"&filter[PROVIDER_ID]=CRM_TODO&filter[%25DESCRIPTION]={todo.mark}"
            "&select[]=ID&select[]=DESCRIPTION&order[ID]=DESC&start=-1"
            for number, todo in enumerate(todos)
        }
        found = self._rest.listings(commands)
        return {
            todo.mark
            for number, todo in enumerate(todos)
            if any(todo.mark in str(row.get("DESCRIPTION") or "") for row in found[f"s{number}"])
        }


def _command(todo: Todo) -> str:
    values = {
        "ownerTypeId": TYPE_IDS[todo.card_type],
        "ownerId": todo.card_id,
        "responsibleId": todo.responsible_id,
        "deadline": todo.deadline.isoformat(timespec="seconds"),
        "title": todo.title,
        "description": f"{todo.text}\n{todo.mark}",
    }
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in values.items())
    return f"crm.activity.todo.add?{query}"
