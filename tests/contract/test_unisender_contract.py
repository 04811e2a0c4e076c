"""The contract of every ESP adapter, for UniSender."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.cases import EspContract
from tests.contract.unisender_service import UnisenderService, unisender_service


class TestUnisender(EspContract):
    """Against the UniSender sandbox."""

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[UnisenderService]:
        """The small world."""
        with unisender_service(tmp_path) as running:
            yield running

    @pytest.fixture
    def empty_service(self, tmp_path: Path) -> Iterator[UnisenderService]:
        """A list without anybody."""
        with unisender_service(tmp_path, is_empty=True) as running:
            yield running
