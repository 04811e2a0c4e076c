"""Twenty-four ways in which a plan goes wrong, and the stage they are played on: a real warehouse, real services.

Each begins from the same good state: two hundred and one members that we added, and three strangers that we did not. It
spoils something, one member unsubscribes, and both pushes run as they do every hour. `forbidden` says what must not
reach the service then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.audiences.fakes import Warehouse
from tests.contract.mailchimp_service import MailchimpService

from lettertrail.audiences.push import SyncResult
from lettertrail.audiences.segments import Segment
from lettertrail.audiences.state import Marks
from lettertrail.errors import BrakeApplied, ContractError
from lettertrail.esps.port import Record

CROWD = [f"crowd{number:03}@example.com" for number in range(427)]
MEMBERS = CROWD[:200]
OTHERS = CROWD[200:400]
STRANGERS = CROWD[400:403]
LEAVERS = CROWD[403:]
"""One for each kind: a member who unsubscribes just before."""

OPEN_COPY = """
insert into ops.copies (target, kind, run_id, columns, was_empty, planned_at, outcome, finished_at)
values ('raw_bitrix.b_sender_posting', %s, 'test', '', false, %s, %s, %s)
"""


@dataclass(slots=True)
class Stage:
    """One segment at one Mailchimp account, pushed once with success."""

    warehouse: Warehouse
    service: MailchimpService
    marks: Marks
    number: int

    @property
    def audience(self) -> str:
        return self.warehouse.segment.audience

    @property
    def leaver(self) -> str:
        """The member who unsubscribes in this kind."""
        return LEAVERS[self.number]

    def change(self, **changes: Any) -> None:
        """Changes what the segment's file says."""
        self.warehouse.segment = replace(self.warehouse.segment, **changes)

    def fill(self, people: list[str]) -> None:
        self.warehouse.fill_all(people)

    def members(self) -> set[str]:
        return set(self.service.adapter().members(self.audience))

    def push(self) -> list[SyncResult | Exception]:
        """Suppressions first, then the segment, as the DAGs do; what was raised is an answer too."""
        esp = self.service.adapter()
        return [
            _answer(lambda: self.warehouse.sync_suppressions(esp, marks=self.marks)),
            _answer(lambda: self.warehouse.sync_segment(esp, marks=self.marks)),
        ]

    def is_told(self, address: str) -> bool:
        """Whether the service refuses to mail somebody."""
        return self.service.status_of(address) == "unsubscribed"


@dataclass(frozen=True, slots=True)
class WrongPlan:
    """One of the kinds."""

    name: str
    spoil: Callable[[Stage], None]
    forbidden: tuple[str, ...]
    """`remove`, `add`: such calls must not reach the service."""
    says: str
    """A part of the reason that the ledger or the error gives."""
    knows_leavers: bool = True
    """Whether there is evidence left that could be pushed."""


def _answer(sync: Callable[[], SyncResult]) -> SyncResult | Exception:
    try:
        return sync()
    except (BrakeApplied, ContractError) as error:
        return error


@contextmanager
def staged(warehouse: Warehouse, service: MailchimpService, directory: Path, number: int) -> Iterator[Stage]:
    """A stage of its own for one kind: its audience, an empty ledger, good marts."""
    audience = f"kind{number}"
    warehouse.reset()
    warehouse.segment = Segment("seg_lapsed", "segments.seg_lapsed", audience, ("mailchimp",))
    stage = Stage(warehouse, service, Marks(directory / audience), number)
    esp = service.adapter()
    list(esp.add_members(audience, [Record(address, address) for address in STRANGERS]))
    warehouse.suppress("gone@example.com")
    stage.fill([*MEMBERS, stage.leaver])
    first = stage.push()
    assert all(isinstance(result, SyncResult) and not result.held for result in first), first
    assert stage.members() == {*MEMBERS, *STRANGERS, stage.leaver}
    yield stage


def leave(stage: Stage) -> None:
    """A member unsubscribes somewhere, just before the wrong plan."""
    stage.warehouse.suppress(stage.leaver)
    stage.warehouse.contact(stage.leaver)


def destructive(stage: Stage, plan: WrongPlan, lines: list[dict[str, Any]]) -> list[str]:
    """The calls of a journal that the kind forbids; taking somebody back as a subscriber is always one."""
    found = []
    for line in lines:
        body = _body(line)
        members = body.get("members") or []
        removed = set(body.get("members_to_remove") or ()) - {stage.leaver}
        if removed and "remove" in plan.forbidden:
            found.append(f"removes {len(removed)}")
        joins = body.get("members_to_add") or [one for one in members if stage.audience in one.get("tags", ())]
        if joins and "add" in plan.forbidden:
            found.append(f"adds {len(joins)}")
        if any(one.get("status") == "subscribed" for one in members):
            found.append("resubscribes")
    return found


def _body(line: dict[str, Any]) -> dict[str, Any]:
    body = line.get("body")
    found = json.loads(body) if isinstance(body, str) and body.startswith("{") else body
    return found if isinstance(found, dict) else {}


# --- amounts ---------------------------------------------------------------------------------------------------


def _empty(stage: Stage) -> None:
    stage.fill([])


def _halved(stage: Stage) -> None:
    stage.fill(MEMBERS[:100])


def _one_too_many(stage: Stage) -> None:
    stage.change(max_removed_rows=9)
    stage.fill(MEMBERS[:190])


def _doubled(stage: Stage) -> None:
    stage.fill(MEMBERS + OTHERS)


def _too_many_rows(stage: Stage) -> None:
    stage.change(max_added_rows=50)
    stage.fill(MEMBERS + OTHERS[:51])


def _replaced(stage: Stage) -> None:
    stage.fill(OTHERS)


def _held_out(stage: Stage) -> None:
    stage.change(holdout_pct=100.0)


def _blank(stage: Stage) -> None:
    stage.warehouse.execute("update segments.seg_lapsed set email = ' '")


def _other_mode(stage: Stage) -> None:
    stage.change(mode="upsert")
    stage.fill([*MEMBERS[:20], stage.leaver])
    stage.push()
    stage.change(mode="mirror")


# --- knowledge -------------------------------------------------------------------------------------------------


def _stale(stage: Stage) -> None:
    stage.fill(MEMBERS[:190] + OTHERS[:5])
    stage.warehouse.now += timedelta(hours=30)


def _unknown_age(stage: Stage) -> None:
    stage.fill(MEMBERS[:190] + OTHERS[:5])
    stage.warehouse.execute("delete from ops.segments")


def _no_suppressions(stage: Stage) -> None:
    stage.warehouse.execute("truncate marts.dim_suppression")
    stage.fill(MEMBERS[:190] + LEAVERS)


def _reloading(stage: Stage) -> None:
    stage.fill(MEMBERS[:190] + OTHERS[:5])
    stage.warehouse.execute(OPEN_COPY, ["reload", stage.warehouse.now, None, None])


def _reloaded_meanwhile(stage: Stage) -> None:
    stage.fill(MEMBERS[:190] + OTHERS[:5])
    built = stage.warehouse.now
    hour = timedelta(hours=1)
    stage.warehouse.execute(OPEN_COPY, ["reload", built - hour, "finished", built + hour])


def _first_copy(stage: Stage) -> None:
    stage.fill(MEMBERS[:190] + OTHERS[:5])
    stage.warehouse.execute(OPEN_COPY, ["first_copy", stage.warehouse.now, None, None])


def _no_mart(stage: Stage) -> None:
    stage.warehouse.execute("alter table marts.dim_suppression rename to dim_gone")


def _no_relation(stage: Stage) -> None:
    stage.change(relation="segments.seg_gone")


# --- state -----------------------------------------------------------------------------------------------------


def _confirmed_lost(stage: Stage) -> None:
    stage.fill(MEMBERS[:190])
    stage.warehouse.execute("truncate ops.acknowledged")


def _confirmed_edited(stage: Stage) -> None:
    """Strangers become ours by an edit: the plan would take them out, too."""
    stage.fill(MEMBERS[:190])
    stage.warehouse.execute("update ops.acknowledged set value = 'member' where value = 'found'")


def _confirmed_older(stage: Stage) -> None:
    """One table was restored alone: it is older than the ledger beside it."""
    stage.warehouse.execute("drop table if exists public.backup; create table public.backup as table ops.acknowledged")
    stage.fill(MEMBERS[10:] + OTHERS[:20])
    stage.push()
    stage.warehouse.execute(
        "truncate ops.acknowledged; insert into ops.acknowledged table public.backup; drop table public.backup"
    )
    stage.fill(MEMBERS[20:])


def _set_back(stage: Stage) -> None:
    """The whole warehouse is as it was before the last push, and the machine remembers that push."""
    stage.warehouse.save()
    stage.fill(MEMBERS[10:] + OTHERS[:20])
    stage.push()
    stage.warehouse.restore()
    stage.fill(MEMBERS[:150])


def _wiped(stage: Stage) -> None:
    """A new warehouse that knows nothing, at accounts that are full of our people."""
    stage.warehouse.execute("truncate ops.acknowledged, ops.sync_states, ops.sync_runs cascade")
    stage.fill(MEMBERS[:50] + OTHERS[:20])


def _another_warehouse(stage: Stage) -> None:
    """A dump restored into another database: everything is there, and it is not the one that pushed."""
    stage.warehouse.execute("update ops.sync_states set warehouse_id = '7000000000000000000/16384'")
    stage.fill(MEMBERS[:190])


def _strangers(stage: Stage) -> None:
    """Everybody leaves, and a person has said yes: even then only ours go."""
    stage.change(max_removed_pct=0.0)
    stage.fill(MEMBERS[:199])


WRONG_PLANS = (
    WrongPlan("the segment is empty", _empty, ("remove",), "the segment is empty"),
    WrongPlan("half of the segment is missing", _halved, ("remove",), "over max_removed_pct 20"),
    WrongPlan("one more leaves than the limit in rows", _one_too_many, ("remove",), "over max_removed_rows 9"),
    WrongPlan("the segment has doubled", _doubled, ("add",), "over max_added_pct 50"),
    WrongPlan("one more joins than the limit in rows", _too_many_rows, ("add",), "over max_added_rows 50"),
    WrongPlan("the segment is full of other people", _replaced, ("remove", "add"), "over max_removed_pct 20"),
    WrongPlan("the holdout is everybody", _held_out, ("remove",), "over max_removed_pct 20"),
    WrongPlan("the addresses are blank", _blank, ("remove",), "the segment is empty"),
    WrongPlan("the mode became mirror over an old audience", _other_mode, ("remove",), "over max_removed_pct 20"),
    WrongPlan("the marts are old", _stale, ("remove", "add"), "the marts are 30 hours old"),
    WrongPlan("nobody knows how old the marts are", _unknown_age, ("remove", "add"), "nobody knows"),
    WrongPlan(
        "dim_suppression is empty", _no_suppressions, ("remove", "add"), "dim_suppression is empty", knows_leavers=False
    ),
    WrongPlan("a source table is being read again", _reloading, ("remove", "add"), "is being copied anew"),
    WrongPlan("it was while the marts were built", _reloaded_meanwhile, ("remove", "add"), "is being copied anew"),
    WrongPlan("a first copy is not finished", _first_copy, ("remove", "add"), "is being copied anew"),
    WrongPlan("a mart is missing", _no_mart, ("remove", "add"), "build the marts", knows_leavers=False),
    WrongPlan("the segment is missing", _no_relation, ("remove", "add"), "build the marts"),
    WrongPlan("what was confirmed is lost", _confirmed_lost, ("remove",), "read from the destination anew"),
    WrongPlan("what was confirmed was edited", _confirmed_edited, ("remove",), "not those the last push left"),
    WrongPlan("what was confirmed is older than the ledger", _confirmed_older, ("remove",), "the last push left"),
    WrongPlan("the whole warehouse was set back", _set_back, ("remove", "add"), "it was set back"),
    WrongPlan("the warehouse knows nothing", _wiped, ("remove", "add"), "it was set back"),
    WrongPlan("the warehouse is another one", _another_warehouse, ("remove", "add"), "restored or copied"),
    WrongPlan("one leaves where nobody may", _strangers, ("remove",), "over max_removed_pct 0"),
)
"""The kinds at an ESP; those at the CRM, where taking back is a release, are in the test beside them."""
