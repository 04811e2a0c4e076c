"""The contract of every ESP adapter, for SendPulse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract.cases import EspContract
from tests.contract.sendpulse_service import NOW, SendPulseService, sendpulse_service

from lettertrail.esps.port import Contact, Delivery
from lettertrail.esps.sendpulse import SendPulse
from lettertrail.sandbox.esps.sendpulse import render


class TestSendPulse(EspContract):
    """Against the SendPulse sandbox."""

    timeless = frozenset({Contact})

    @pytest.fixture
    def service(self, tmp_path: Path) -> Iterator[SendPulseService]:
        """The small world."""
        with sendpulse_service(tmp_path) as running:
            yield running

    @pytest.fixture
    def empty_service(self, tmp_path: Path) -> Iterator[SendPulseService]:
        """A book without anybody."""
        with sendpulse_service(tmp_path, is_empty=True) as running:
            yield running

    def test_an_unknown_event_word_is_kept(self, service: SendPulseService) -> None:
        """Words come by webhook only: it is called unknown, and the payload still has it."""
        row = {"event": "teleported", "timestamp": 1, "email": service.subscribed, "task_id": 1}
        (sent,) = render("https://hooks.example/x", [row])
        (unknown,) = SendPulse.read_hook("marketing", Delivery("POST", sent.url, sent.headers, sent.body, NOW))
        assert (unknown.event_type, unknown.reason) == ("unknown", "teleported")
        assert unknown.payload == row
