"""The role that pushes needs no more than it is given."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.audiences.fakes import FakeCrm, FakeDestination, Warehouse
from tests.audiences.test_published_segments import manifest, model

from lettertrail.audiences.segments import publish
from lettertrail.warehouse.roles import ROLES, apply_roles

PASSWORD = "not-a-secret"


def test_lettertrail_sync_can_publish_plan_and_push(warehouse: Warehouse) -> None:
    """Everything from publishing to the last ledger row runs as lettertrail_sync."""
    apply_roles(warehouse.dsn, dict.fromkeys(ROLES, PASSWORD))
    warehouse.suppress("ann@example.com")
    warehouse.contact("ann@example.com")
    warehouse.fill_segment("bob@example.com")
    warehouse.crm(c1=False)
    parts = urlsplit(warehouse.dsn)
    warehouse.sync_dsn = f"postgresql://lettertrail_sync:{PASSWORD}@{parts.hostname}:{parts.port}{parts.path}"

    publish(manifest(model("seg_lapsed", {"to": ["mailchimp"]})), warehouse.sync_dsn, at=warehouse.now)
    mailchimp = FakeDestination()
    results = [
        warehouse.sync_suppressions(mailchimp),
        warehouse.sync_suppressions(FakeCrm()),
        warehouse.sync_segment(mailchimp),
    ]

    assert [result.applied for result in results] == [1, 1, 1]
    assert warehouse.unbalanced() == []
