"""Who takes part in a segment's trial: written down when the first push that may send them begins.

Both sides are recorded, those drawn to be sent and those held out, with the moment from which their purchases count
(`marts.mart_segment_lift`). What happens later does not move anybody: who was to be sent stays on that side even if
the service refused the address, because whoever is taken off one side for what came after the draw makes the two sides
different people.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lettertrail.audiences.segments import Segment
from lettertrail.warehouse.connect import Connection

# Who is in the audience without our doing gets its letters on either side of the draw.
_RECORD = """
insert into ops.holdouts (segment, holdout_pct, person_id, is_held_out, assigned_at, sync_run_id)
select
    %(segment)s,
    %(holdout_pct)s,
    judged.person_id,
    judged.is_held_out,
    %(at)s,
    %(sync_run_id)s
from judged
left join confirmed using (record_key)
where judged.state is null
    and judged.person_id is not null
    and confirmed.value is distinct from 'found'
on conflict do nothing
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """A segment that holds a share of its people out."""

    segment: str
    holdout_pct: float

    def record(self, connection: Connection, *, sync_run_id: int, at: datetime) -> int:
        """Adds the people of the plan just made (temporary table `judged`) who are new to the trial; how many."""
        values = {"segment": self.segment, "holdout_pct": self.holdout_pct, "sync_run_id": sync_run_id, "at": at}
        return connection.execute(_RECORD, values).rowcount


def trial_of(segment: Segment) -> Trial | None:
    """None for a segment without a holdout, and for one that adds nobody."""
    if not segment.holdout_pct or segment.mode == "suppress_only":
        return None
    return Trial(segment.name, segment.holdout_pct)
