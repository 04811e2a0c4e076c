"""How a UniSender Go call looks: JSON in, JSON out, errors with a status and a code of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lettertrail.sandbox.esps.unisender_go.store import UnisenderGoStore

Json = dict[str, Any]

TIME = "%Y-%m-%d %H:%M:%S"


class Refusal(Exception):
    """An error answer: `{"status": "error", "code": 111, "message": …}` and whatever else is to be said."""

    def __init__(self, code: int, message: str, *, status: int = 400, more: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{status} {code}")
        self.code = code
        self.message = message
        self.status = status
        self.more = dict(more or {})

    def body(self) -> Json:
        """The JSON of the answer."""
        return {"status": "error", "code": self.code, "message": self.message} | self.more


def invalid(message: str) -> Refusal:
    """A parameter that cannot be used."""
    return Refusal(201, message)


@dataclass(frozen=True, slots=True)
class Call:
    """One call, already authenticated."""

    body: Json = field(repr=False)
    base_url: str = "http://localhost"
    """Where links in answers point to, without a path."""
    approved_headers: frozenset[str] = frozenset()
    """Lower-case names of mail headers that support has allowed."""

    def text(self, name: str, default: str = "") -> str:
        """A text.

        Raises:
            Refusal: when it is something else.
        """
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise invalid(f"Field '{name}' must be a string")
        return value

    def required(self, name: str) -> str:
        """A text that is not empty.

        Raises:
            Refusal: when it is missing or something else.
        """
        value = self.text(name)
        if not value:
            raise invalid(f"Field '{name}' is required")
        return value

    def object(self, name: str) -> Json:
        """An object, empty when it is missing.

        Raises:
            Refusal: when it is something else.
        """
        return as_object(self.body.get(name, {}), where=name)

    def whole(self, name: str, default: int, *, maximum: int) -> int:
        """A positive whole number up to `maximum`.

        Raises:
            Refusal: when it is something else.
        """
        value = self.body.get(name, default)
        if not isinstance(value, int) or not 1 <= value <= maximum:
            raise invalid(f"Field '{name}' must be an integer from 1 to {maximum}")
        return value

    def moment(self, name: str) -> str | None:
        """A time in UTC as the store spells it; None when it is missing.

        Raises:
            Refusal: when it is no time.
        """
        text = self.text(name)
        return as_time(text, where=name) if text else None


Handler = Callable[["UnisenderGoStore", Call], Json]


def as_object(value: Any, *, where: str) -> Json:
    """The value itself.

    Raises:
        Refusal: when it is no object.
    """
    if not isinstance(value, dict):
        raise invalid(f"Field '{where}' must be an object")
    return value


def as_time(text: str, *, where: str) -> str:
    """`2026-03-01 09:00:00`, the spelling of every time in answers; sorts as text.

    Raises:
        Refusal: when it is no time.
    """
    try:
        return datetime.fromisoformat(text).strftime(TIME)
    except ValueError:
        raise invalid(f"Field '{where}' must be a time YYYY-MM-DD hh:mm:ss in UTC") from None


def utc_text(moment: datetime) -> str:
    """The spelling of a time in answers."""
    return moment.astimezone(UTC).strftime(TIME)
