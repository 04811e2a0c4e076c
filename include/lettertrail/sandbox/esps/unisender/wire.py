"""How a UniSender call looks: parameters as PHP reads them, the result or the error, always with status 200.

Nothing here knows a method. Handlers are plain functions `(store, call) -> result`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lettertrail.sandbox.esps.unisender.store import UnisenderStore

Json = dict[str, Any]

MAX_DIGITS = 18
TIME = "%Y-%m-%d %H:%M:%S"
LIMIT_OF_KEY = "api_call_limit_exceeded_for_api_key"
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


class Refusal(Exception):
    """An error answer: `{"error": text, "code": code}` with status 200."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


def invalid(text: str) -> Refusal:
    """A parameter that cannot be used."""
    return Refusal("invalid_arg", text)


def missing(text: str) -> Refusal:
    """Something that is not there."""
    return Refusal("object_not_found", text)


@dataclass(frozen=True, slots=True)
class Call:
    """One call, already authenticated."""

    params: Mapping[str, Any] = field(repr=False)
    """Nested: `fields[email]=…` is `{"fields": {"email": …}}`, `data[0][1]=…` is `{"data": {"0": {"1": …}}}`."""
    base_url: str = "http://localhost"
    """Where links in answers point to, without a path."""
    warnings: list[str] = field(default_factory=list)
    """Said in the answer beside the result."""

    def text(self, name: str, default: str = "") -> str:
        """A plain parameter.

        Raises:
            Refusal: `invalid_arg` when an array was given.
        """
        value = self.params.get(name, default)
        if not isinstance(value, str):
            raise invalid(f"Argument '{name}' must be a string")
        return value

    def required(self, name: str) -> str:
        """A plain parameter that must be there.

        Raises:
            Refusal: `invalid_arg`.
        """
        value = self.text(name)
        if not value:
            raise invalid(f"Argument '{name}' is required")
        return value

    def whole(self, name: str, default: int | None = None, *, maximum: int | None = None) -> int:
        """A whole number that is not negative; required when there is no default.

        Raises:
            Refusal: `invalid_arg`.
        """
        text = self.text(name)
        if not text and default is not None:
            return default
        if not is_number(text):
            raise invalid(f"Argument '{name}' must be an integer")
        if maximum is not None and int(text) > maximum:
            raise invalid(f"Argument '{name}' must not be greater than {maximum}")
        return int(text)

    def flag(self, name: str) -> bool:
        """A switch: 1 is on, 0 or nothing is off.

        Raises:
            Refusal: `invalid_arg`.
        """
        return self.whole(name, 0, maximum=1) == 1

    def moment(self, name: str) -> str | None:
        """A time `YYYY-MM-DD hh:mm[:ss]` or a day, in UTC, as the store spells it; None when it is missing.

        Raises:
            Refusal: `invalid_arg`.
        """
        text = self.text(name)
        return as_time(text, where=name) if text else None

    def array(self, name: str) -> list[Any]:
        """An array in the order of its indices; empty when it is missing.

        Raises:
            Refusal: `invalid_arg` when it is no array or has other keys than numbers.
        """
        value = self.params.get(name, {})
        if not isinstance(value, dict) or not all(key.isdecimal() for key in value):
            raise invalid(f"Argument '{name}' must be an array")
        return [value[key] for key in sorted(value, key=int)]

    def id_array(self, name: str) -> list[int]:
        """An array of ids.

        Raises:
            Refusal: `invalid_arg`.
        """
        values = self.array(name)
        if not all(isinstance(value, str) and is_number(value) for value in values):
            raise invalid(f"Argument '{name}' must be an array of ids")
        return [int(value) for value in values]

    def object(self, name: str) -> dict[str, str]:
        """An array with names for keys and plain values.

        Raises:
            Refusal: `invalid_arg`.
        """
        value = self.params.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise invalid(f"Argument '{name}' must be an array")
        return value

    def numbers(self, name: str) -> list[int]:
        """A list of ids separated by commas.

        Raises:
            Refusal: `invalid_arg`.
        """
        return ids(self.text(name), where=name)


Handler = Callable[["UnisenderStore", Call], Any]


def read_params(pairs: Iterable[tuple[str, str]]) -> Json:
    """Parameters nested as PHP does it: `a[]` counts on, `a[0][1]` nests, a later value replaces an earlier one."""
    params: Json = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        if match is None:
            params[name] = value
            continue
        keys = [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]
        place = params
        for key in keys[:-1]:
            below = place.get(_key(place, key))
            if not isinstance(below, dict):
                below = {}
                place[_key(place, key)] = below
            place = below
        place[_key(place, keys[-1])] = value
    return params


def _key(place: Json, key: str) -> str:
    return key or str(1 + max((int(known) for known in place if known.isdecimal()), default=-1))


def ids(text: str, *, where: str) -> list[int]:
    """Ids out of `1,2,3`.

    Raises:
        Refusal: `invalid_arg`.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(is_number(word) for word in words):
        raise invalid(f"Argument '{where}' must be a list of ids")
    return [int(word) for word in words]


def is_number(text: str) -> bool:
    """Whether it is a whole number that can be an id."""
    return text.isdecimal() and len(text) <= MAX_DIGITS


def words(text: str) -> list[str]:
    """Names out of `a,b`, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def as_time(text: str, *, where: str) -> str:
    """`2026-03-01 09:00:00`, the spelling of every time in answers; sorts as text.

    Raises:
        Refusal: `invalid_arg` when it is no time.
    """
    try:
        return datetime.fromisoformat(text).strftime(TIME)
    except ValueError:
        raise invalid(f"Argument '{where}' must be a time YYYY-MM-DD hh:mm:ss in UTC") from None


def utc_text(moment: datetime) -> str:
    """The spelling of a time in answers."""
    return moment.astimezone(UTC).strftime(TIME)


def to_bytes(value: Any) -> bytes:
    """JSON as PHP writes it: no blanks, other letters and slashes escaped."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()
