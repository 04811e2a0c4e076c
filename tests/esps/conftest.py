"""A running Mailchimp sandbox for the tests of its adapter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[MailchimpService]:
    """The small world."""
    with mailchimp_service(tmp_path) as running:
        yield running
