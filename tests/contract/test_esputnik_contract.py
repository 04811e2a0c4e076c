"""The contract of every ESP adapter, for eSputnik."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.cases import EspContract
from tests.contract.esputnik_service import EsputnikService, esputnik_service

from lettertrail.esps.port import Campaign, Contact


class TestEsputnik(EspContract):
    """Against the eSputnik sandbox."""

    timeless = frozenset({Campaign, Contact})

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[EsputnikService]:
        """The small world."""
        with esputnik_service(tmp_path) as running:
            yield running

    @pytest.fixture
    def empty_service(self, tmp_path: Path) -> Iterator[EsputnikService]:
        """A group without anybody."""
        with esputnik_service(tmp_path, is_empty=True) as running:
            yield running
