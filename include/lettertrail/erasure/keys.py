"""Keyed pseudonyms: what stands for an erased address, and proof of it that nobody without the key can check.

HMAC-SHA-256 under LETTERTRAIL_ERASURE_KEY, which is kept outside the warehouse. A plain hash of an address is no
protection: addresses can be guessed and hashed by the million.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from lettertrail.errors import ConfigurationError
from lettertrail.esps.port import normalise_email

VARIABLE = "LETTERTRAIL_ERASURE_KEY"
LEAST_CHARACTERS = 32
DOMAIN = "erased.invalid"
"""A domain that can never exist (RFC 2606): no letter to a pseudonym leaves any server."""
REFERENCE_PREFIX = "key:"
REFERENCE = r"(bitrix:)?(contact|lead|user):[1-9][0-9]*|key:[0-9a-f]{32}"
"""A person without an address: a card, or the keyed hash of an address, a number or an identifier in the marts.

Not the identifier itself: that of somebody without a card is the MD5 of their address, which can be guessed.
"""
_PHONE = re.compile(r"\+?[0-9][0-9 ().-]{8,}")
PHONE_PREFIX = "+999"
"""A calling code that is assigned to nobody (ITU E.164)."""
PHONE_DIGITS = 10
"""The last digits of a number are compared: how country and trunk prefix are written differs."""


@dataclass(frozen=True, slots=True)
class ErasureKey:
    """The key under which the erased are recognised."""

    secret: bytes = field(repr=False)

    def email(self, address: str) -> str:
        """What stands for an address, always the same: `erased-<32 hex digits>@erased.invalid`."""
        return f"erased-{self.digest('email', normalise_email(address))[:32]}@{DOMAIN}"

    def phone(self, number: str) -> str:
        """What stands for a telephone number: 14 digits of a country that does not exist."""
        return f"{PHONE_PREFIX}{int(self.digest('phone', last_digits(number)), 16) % 10**11:011d}"

    def number(self, number: int) -> int:
        """What stands for a 64-bit number that is a plain hash of an address or a telephone number."""
        return int.from_bytes(bytes.fromhex(self.digest("number", str(number))[:16]), signed=True)

    def reference(self, identifier: str) -> str:
        """`key:<32 hex digits>`: names somebody without a card in params, to nobody but who holds the key.

        Args:
            identifier: an address, a telephone number or a `person_id` of the marts.
        """
        is_number = _PHONE.fullmatch(identifier.strip()) is not None
        spelled = last_digits(identifier) if is_number else normalise_email(identifier)
        return f"{REFERENCE_PREFIX}{self.digest('reference', spelled)[:32]}"

    def digest(self, kind: str, value: str) -> str:
        """64 hex digits; the kind keeps equal texts of different meaning apart."""
        return hmac.new(self.secret, f"{kind}\x1f{value}".encode(), hashlib.sha256).hexdigest()


def read_key(environ: Mapping[str, str]) -> ErasureKey:
    """The key from the environment.

    Raises:
        ConfigurationError: it is missing or too short to withstand guessing.
    """
    text = environ.get(VARIABLE, "").strip()
    if len(text) < LEAST_CHARACTERS:
        raise ConfigurationError(
            f"{VARIABLE} must hold at least {LEAST_CHARACTERS} random characters, always the same ones: without it "
            "nobody can be erased, nor those kept away who were"
        )
    return ErasureKey(text.encode())


def last_digits(number: str) -> str:
    """The digits by which numbers are compared."""
    return re.sub(r"\D", "", number)[-PHONE_DIGITS:]


def is_pseudonym(identifier: str) -> bool:
    """Whether an address or number stands for one that was erased."""
    return identifier.endswith(f"@{DOMAIN}") or identifier.startswith(PHONE_PREFIX)
