"""The question to a person, as an Airflow task that waits without a worker and keeps its own answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.exceptions import AirflowSkipException

from lettertrail.airflow.accounts import WAREHOUSE_SYNC
from lettertrail.audiences.approvals import WAIT, answer
from lettertrail.clock import system_clock
from lettertrail.errors import BrakeApplied

APPROVE = "Approve"
DECLINE = "Decline"


class _Question(HITLOperator):
    """Yes or no; nobody answering in time is no."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            options=[APPROVE, DECLINE], defaults=[DECLINE], multiple=False, response_timeout=WAIT, **options
        )

    def _answered(self, context: Any, event: Mapping[str, Any]) -> tuple[bool, str | None]:
        """Whether it was approved, and by whom; None when nobody answered."""
        given = super().execute_complete(context, dict(event))
        user = given["responded_by_user"]
        # The id, not the name: names of users may be addresses, and this ends in XCom and in the ledger.
        return given["chosen_options"] == [APPROVE], None if user is None else str(user["id"])


class HeldPlanQuestion(_Question):
    """Shows a held plan and waits for an answer; nobody answering in time is "not approved".

    Approved: the task succeeds, and its outlet starts the next push, which plans anew under the ceiling. Declined: it
    is skipped. Unanswered: it fails, so that whoever is called hears of it.
    """

    def __init__(self, *, approval_id: int, **options: Any) -> None:
        """`subject` and `body` say what is asked; `approval_id` is the row in `ops.approvals` that keeps the answer."""
        super().__init__(**options)
        self.approval_id = approval_id

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps the answer.

        Raises:
            BrakeApplied: nobody answered.
            AirflowSkipException: declined.
        """
        from lettertrail.airflow.connections import warehouse_dsn  # noqa: PLC0415  # parsing a DAG needs no clients

        is_approved, by = self._answered(context, event)
        answer(warehouse_dsn(WAREHOUSE_SYNC), self.approval_id, is_approved=is_approved, by=by, at=system_clock())
        if by is None:
            raise BrakeApplied(f"{self.subject} Nobody answered in {WAIT}, so the records stay held; see ops.approvals")
        if not is_approved:
            raise AirflowSkipException("declined: the records stay held")
        return {"approval_id": self.approval_id, "is_approved": True}


class ErasureQuestion(_Question):
    """Shows what an erasure would touch and waits for an answer; nobody answering in time is "not approved".

    `subject` and `body` say what is asked: counts, no names.
    """

    def execute_complete(self, context: Any, event: Mapping[str, Any]) -> dict[str, Any]:
        """Lets the erasure go on, or ends the run; gives who said yes, and when, for the proof.

        Raises:
            BrakeApplied: nobody answered.
            AirflowSkipException: declined.
        """
        is_approved, by = self._answered(context, event)
        if by is None:
            raise BrakeApplied(f"{self.subject} Nobody answered in {WAIT}, so nobody was erased; start it again")
        if not is_approved:
            raise AirflowSkipException("declined: nobody was erased")
        return {"approved_by": by, "approved_at": system_clock().isoformat()}
