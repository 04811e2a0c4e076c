"""What services can say of a letter whose answer was lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.contract.esputnik_service import esputnik_service
from tests.contract.sendpulse_service import NOW, sendpulse_service

from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import Letter

LETTER = Letter("k1", "person1@example.com", "Your order 7", "shop@sandbox.example", text="Thanks")


def test_sendpulse_is_searched_by_recipient_subject_and_time(tmp_path: Path) -> None:
    """No key comes back: letters that belong to others, with another subject or from before are not taken for it."""
    with sendpulse_service(tmp_path) as service:
        esp = service.adapter()
        assert esp.traced_after is not None
        assert esp.trace(LETTER, since=NOW, known=set()) is None
        (other,) = esp.send([LETTER])
        list(esp.send([replace(LETTER, subject="Your order 8"), replace(LETTER, to="person2@example.com")]))
        assert other.message_ref is not None
        assert esp.trace(LETTER, since=NOW, known={other.message_ref}) is None
        service.fault("drop_after_write", method="POST", path="^/smtp/emails$")
        (lost,) = esp.send([LETTER])
        assert lost.status == "unknown"
        found = esp.trace(LETTER, since=NOW, known={other.message_ref})
        assert found not in {None, other.message_ref}
        assert esp.trace(LETTER, since=NOW + timedelta(minutes=3), known=set()) is None


def test_esputnik_refuses_the_same_letter_for_a_minute(tmp_path: Path) -> None:
    """So asking again tells that it was taken; by itself the service cannot be asked."""
    with esputnik_service(tmp_path) as service:
        esp = service.adapter()
        assert esp.guards_repeats == timedelta(minutes=1)
        service.fault("drop_after_write", method="POST", path="^/api/v1/message/email$|^/v1/message/email$")
        (lost,) = esp.send([LETTER])
        (again,) = esp.send([LETTER])
        assert (lost.status, again.status, again.reason) == ("unknown", "accepted", "taken a moment ago")
        with pytest.raises(ConfigurationError):
            esp.trace(LETTER, since=NOW, known=set())
