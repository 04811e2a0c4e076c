"""The role that pushes needs no more than it is given."""

from __future__ import annotations

from tests.audiences.fakes import FakeCrm, FakeDestination, Warehouse
from tests.audiences.test_published_segments import manifest, model
from tests.push_ledger import sync_role

from lettertrail.audiences.segments import publish


def test_lettertrail_sync_can_publish_plan_and_push(warehouse: Warehouse) -> None:
    """Everything from publishing to the last ledger row runs as lettertrail_sync."""
    warehouse.sync_dsn = sync_role(warehouse.dsn)
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com")
    warehouse.fill_segment("bob@example.com")
    warehouse.crm(c1=False)

    publish(manifest(model("seg_lapsed", {"to": ["mailchimp"]})), warehouse.sync_dsn, at=warehouse.now)
    mailchimp = FakeDestination()
    results = [
        warehouse.sync_suppressions(mailchimp),
        warehouse.sync_suppressions(FakeCrm()),
        warehouse.sync_segment(mailchimp),
    ]

    assert [result.applied for result in results] == [1, 1, 1]
    assert warehouse.unbalanced() == []
