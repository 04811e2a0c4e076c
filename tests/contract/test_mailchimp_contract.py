"""The contract of every ESP adapter, for Mailchimp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.cases import EspContract
from tests.contract.mailchimp_service import MailchimpService, mailchimp_service


class TestMailchimp(EspContract):
    """Against the Mailchimp sandbox."""

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[MailchimpService]:
        """The small world."""
        with mailchimp_service(tmp_path) as running:
            yield running

    @pytest.fixture
    def empty_service(self, tmp_path: Path) -> Iterator[MailchimpService]:
        """An audience without anybody."""
        with mailchimp_service(tmp_path, is_empty=True) as running:
            yield running
