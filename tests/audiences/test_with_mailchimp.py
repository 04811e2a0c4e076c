"""The whole way, from the copied contacts to the sandbox account, through the real adapter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tests.audiences.fakes import Warehouse
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service

from lettertrail.errors import TemporaryApiError
from lettertrail.warehouse.load_esp import load_account

ONE, TWO, THREE, FOUR, FIVE, SIX, _, EIGHT = (f"person{number}@example.com" for number in range(1, 9))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[MailchimpService]:
    """1, 3 and 8 are subscribed, 2 complained, 4 left, 5 is cleaned, 6 and 7 are not there."""
    with mailchimp_service(tmp_path) as running:
        yield running


def sync(warehouse: Warehouse, service: MailchimpService) -> list[int]:
    """One whole run: copy, suppress, push the segment; gives what was planned."""
    mailchimp = service.adapter()
    load_account(mailchimp, warehouse.dsn, run_id="run", clock=lambda: warehouse.now)
    return [warehouse.sync_suppressions(mailchimp).planned, warehouse.sync_segment(mailchimp).planned]


def test_unsubscribed_stay_unsubscribed_and_a_second_run_writes_nothing(
    warehouse: Warehouse, service: MailchimpService
) -> None:
    """Suppression and segment arrive, nobody comes back, and with nothing changed nothing is written."""
    warehouse.suppress(TWO, state="complaint")
    warehouse.suppress(THREE, FOUR, FIVE, SIX)
    warehouse.fill_segment(ONE, TWO, THREE, FOUR, FIVE, EIGHT)

    first = sync(warehouse, service)
    writes = len(service.writes())
    warehouse.later(hours=1)
    service.later(hours=1)
    second = sync(warehouse, service)

    assert first == [1, 2]
    assert second == [0, 0]
    assert writes > 0
    assert len(service.writes()) == writes
    assert service.status_of(TWO) == "unsubscribed"
    assert service.status_of(THREE) == "unsubscribed"
    assert service.status_of(FOUR) == "unsubscribed"
    assert service.status_of(FIVE) == "cleaned"
    assert service.status_of(SIX) is None
    assert set(service.adapter().members("lapsed")) == {ONE, EIGHT}
    assert '"subscribed"' not in json.dumps([line["body"] for line in service.writes()]).replace("\\", "")


def test_who_is_suppressed_later_leaves_the_audience(warehouse: Warehouse, service: MailchimpService) -> None:
    """An opt-out between two runs reaches both the contact and the segment."""
    warehouse.suppress(TWO, FOUR, FIVE)
    warehouse.fill_segment(ONE, THREE, EIGHT)
    sync(warehouse, service)
    warehouse.suppress(THREE)
    warehouse.later(hours=1)
    service.later(hours=1)

    sync(warehouse, service)

    assert service.status_of(THREE) == "unsubscribed"
    assert set(service.adapter().members("lapsed")) == {ONE, EIGHT}


def test_people_the_audience_lacks_are_refused_once(warehouse: Warehouse, service: MailchimpService) -> None:
    """The refusal is recorded with its reason and not asked for at every run."""
    warehouse.suppress(TWO, FOUR, FIVE)
    warehouse.fill_segment(ONE, SIX)
    assert sync(warehouse, service) == [0, 2]
    warehouse.later(hours=1)

    assert sync(warehouse, service) == [0, 0]
    (refused,) = warehouse.query("select record_key, reason from ops.sync_records where outcome = 'rejected'")
    assert refused == {"record_key": SIX, "reason": "joined the segment; not on the audience"}


def test_a_service_that_is_down_gets_the_rest_at_the_next_run(warehouse: Warehouse, service: MailchimpService) -> None:
    """Every write fails for a while: the record stays pending, the run fails, the next one completes it."""
    warehouse.suppress(ONE)
    mailchimp = service.adapter()
    load_account(mailchimp, warehouse.dsn, run_id="run", clock=lambda: warehouse.now)
    service.fault("refuse", status=503, method="POST", path="/lists", times=1_000)

    with pytest.raises(TemporaryApiError, match="1 of 1 records of suppressions wait for the next run"):
        warehouse.sync_suppressions(mailchimp)
    assert service.status_of(ONE) == "subscribed"
    requests.delete(f"{service.base}/_sandbox/faults", auth=("any", service.secret), timeout=5)

    assert sync(warehouse, service)[0] == 1
    assert service.status_of(ONE) == "unsubscribed"
    assert warehouse.acknowledged("suppressions")[ONE] == "suppressed"
    assert warehouse.unbalanced() == []
