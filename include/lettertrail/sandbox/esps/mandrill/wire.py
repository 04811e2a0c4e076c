"""How a Mandrill call looks: a JSON object with the key in it, and errors that go by their name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lettertrail.sandbox.esps.mandrill.store import MandrillStore

Json = dict[str, Any]

TIME = "%Y-%m-%d %H:%M:%S"
STATUSES = {
    "Invalid_Key": (401, -1),
    "PaymentRequired": (402, 10),
    "ValidationError": (422, -2),
    "RequestLimitExceeded": (429, -3),
    "GeneralError": (500, -99),
}
"""HTTP status and code by name; what begins with `Unknown_` is 404."""
CODES = {"Unknown_Message": 11, "Unknown_Subaccount": 12, "Unknown_Template": 5, "Unknown_Export": 13}


class Refusal(Exception):
    """An error answer: `{"status": "error", "code": -2, "name": "ValidationError", "message": …}`."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name)
        self.name = name
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that newer servers answer with; older ones answer 500 to everything."""
        return STATUSES.get(self.name, (404, 0))[0]

    def body(self) -> Json:
        """The JSON of the answer."""
        code = STATUSES[self.name][1] if self.name in STATUSES else CODES.get(self.name, -1)
        return {"status": "error", "code": code, "name": self.name, "message": self.message}


def invalid(message: str) -> Refusal:
    """A parameter that cannot be used."""
    return Refusal("ValidationError", f"Validation error: {message}")


@dataclass(frozen=True, slots=True)
class Call:
    """One call, already authenticated."""

    body: Mapping[str, Any] = field(repr=False)
    base_url: str = "http://localhost"
    """Where links in answers point to, without a path."""

    def text(self, name: str, default: str = "") -> str:
        """A text; null counts as missing.

        Raises:
            Refusal: when it is something else.
        """
        value = self.body.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise invalid(f'{{"{name}":"Please enter a string"}}')
        return value

    def required(self, name: str) -> str:
        """A text that is not empty.

        Raises:
            Refusal: when it is missing or something else.
        """
        value = self.text(name)
        if not value:
            raise invalid(f'{{"{name}":"Please enter a value"}}')
        return value

    def object(self, name: str) -> Json:
        """An object, empty when it is missing.

        Raises:
            Refusal: when it is something else.
        """
        value = self.body.get(name) or {}
        if not isinstance(value, dict):
            raise invalid(f'{{"{name}":"Please enter a struct"}}')
        return value

    def texts(self, name: str) -> list[str]:
        """An array of texts, empty when it is missing.

        Raises:
            Refusal: when it is something else.
        """
        value = self.body.get(name) or []
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid(f'{{"{name}":"Please enter an array"}}')
        return value

    def flag(self, name: str) -> bool:
        """A switch; missing is off."""
        return bool(self.body.get(name))

    def whole(self, name: str, default: int, *, maximum: int) -> int:
        """A positive whole number up to `maximum`.

        Raises:
            Refusal: when it is something else.
        """
        value = self.body.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or not 1 <= value <= maximum:
            raise invalid(f'{{"{name}":"Please enter a number from 1 to {maximum}"}}')
        return value

    def seconds(self, name: str, *, is_end: bool = False) -> int | None:
        """A time `YYYY-MM-DD[ HH:MM:SS]` in UTC as Unix seconds; a day at the end of a window counts in full.

        Raises:
            Refusal: when it is no time.
        """
        text = self.text(name)
        if not text:
            return None
        try:
            moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        except ValueError:
            raise invalid(f'{{"{name}":"Please enter a date"}}') from None
        return int(moment.timestamp()) + (86_399 if is_end and len(text) == 10 else 0)


Handler = Callable[["MandrillStore", Call], Any]


def utc_text(seconds: int) -> str:
    """The spelling of most times in answers."""
    return datetime.fromtimestamp(seconds, UTC).strftime(TIME)


def fine_text(seconds: int) -> str:
    """The spelling of some times in answers: with a fraction that has lost its last zeros."""
    return f"{utc_text(seconds)}.29848"
