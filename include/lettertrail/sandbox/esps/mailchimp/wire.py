"""How a Mailchimp call looks: the call, the answer, the errors, paging, projection, routing.

Nothing here knows a resource. Handlers are plain functions `(store, call) -> Answer`, so that an operation inside a
batch takes the same way as one that came over HTTP.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from lettertrail.sandbox.esps.mailchimp.store import MailchimpStore

Json = dict[str, Any]

DEFAULT_COUNT = 10
MAX_COUNT = 1000
ERROR_TYPE = "https://mailchimp.com/developer/marketing/docs/errors/"


class Problem(Exception):
    """An error answer; becomes `application/problem+json`."""

    def __init__(self, status: int, title: str, detail: str, *, errors: Iterable[Mapping[str, str]] = ()) -> None:
        super().__init__(f"{status} {title}")
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = [dict(error) for error in errors]

    def body(self) -> Json:
        """The body Mailchimp sends: `type, title, status, detail, instance`, and `errors` after a failed validation."""
        body: Json = {
            "type": ERROR_TYPE,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": str(uuid.uuid4()),
        }
        if self.errors:
            body["errors"] = self.errors
        return body


def not_found() -> Problem:
    """404, for an unknown path as well as for an unknown id."""
    return Problem(404, "Resource Not Found", "The requested resource could not be found.")


def bad_request(detail: str) -> Problem:
    """400 without field errors."""
    return Problem(400, "Bad Request", detail)


def invalid_resource(*errors: tuple[str, str]) -> Problem:
    """400 with one entry per `(field, message)`."""
    return Problem(
        400,
        "Invalid Resource",
        "The resource submitted could not be validated. For field-specific details, see the 'errors' array.",
        errors=[{"field": name, "message": message} for name, message in errors],
    )


@dataclass(frozen=True, slots=True)
class Call:
    """One request, already authenticated."""

    method: str
    path: str
    """Below `/3.0`, with a leading slash."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    base_url: str = "http://localhost/3.0"
    """Where links in answers point to."""
    names: Mapping[str, str] = field(default_factory=dict)
    """The values of the route's placeholders."""

    def fields(self) -> Json:
        """The body as an object.

        Raises:
            Problem: 400 when the body is missing or no JSON object.
        """
        if not isinstance(self.body, dict):
            raise invalid_resource(("", "Schema describes object, NULL found instead"))
        return self.body

    def flag(self, name: str) -> bool:
        """A boolean query parameter; absent means false."""
        return self.query.get(name, "").lower() in {"true", "1", "yes"}

    def whole(self, name: str, default: int, *, maximum: int | None = None) -> int:
        """A non-negative whole query parameter.

        Raises:
            Problem: 400 naming the parameter.
        """
        text = self.query.get(name, "")
        if not text:
            return default
        if not text.isdigit():
            raise invalid_resource((name, "Schema describes integer, string found instead"))
        if maximum is not None and int(text) > maximum:
            raise invalid_resource((name, f"Number is larger than the maximum of {maximum}"))
        return int(text)

    def page(self) -> tuple[int, int]:
        """`(count, offset)`; 10 rows from the start when nothing is said, at most 1000."""
        return self.whole("count", DEFAULT_COUNT, maximum=MAX_COUNT), self.whole("offset", 0)

    def moment(self, name: str) -> str | None:
        """A time parameter in the store's spelling.

        Raises:
            Problem: 400 naming the parameter when it is no time.
        """
        text = self.query.get(name, "")
        return to_utc_text(text, where=name) if text else None

    def sorting(self, allowed: Sequence[str], *, default: str, direction: str = "ASC") -> str:
        """An `order by` clause from `sort_field` and `sort_dir`; the fields are column names.

        Raises:
            Problem: 400 when a value is not among the allowed.
        """
        column = self.query.get("sort_field") or default
        if "sort_field" in self.query and column not in allowed:
            raise invalid_resource(("sort_field", "Value did not match any of the allowed options"))
        way = (self.query.get("sort_dir") or direction).upper()
        if way not in {"ASC", "DESC"}:
            raise invalid_resource(("sort_dir", "Value did not match any of the allowed options"))
        return f"{column} {way}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON body; 204 has none."""

    status: int = 200
    body: Json | None = None


def to_utc_text(text: str, *, where: str) -> str:
    """`2015-10-21T15:41:36+00:00` from any ISO 8601 spelling or `YYYY-MM-DD HH:MM:SS`; naive means UTC.

    A plus sign that a client left unescaped in the query arrives as a blank and is put back.

    Raises:
        Problem: 400 naming the field.
    """
    repaired = re.sub(r" (\d\d:?\d\d)$", r"+\1", text) if "T" in text else text
    try:
        moment = datetime.fromisoformat(repaired)
    except ValueError:
        raise invalid_resource((where, "This value is not a valid datetime.")) from None
    return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def utc_text(moment: datetime) -> str:
    """The spelling of every time in answers and in the store; sorts as text."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def to_bytes(body: Json) -> bytes:
    """Compact UTF-8 JSON."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def project(body: Json, query: Mapping[str, str]) -> Json:
    """Applies `fields` and `exclude_fields` (comma-separated, dot notation, through arrays)."""
    if wanted := _paths(query.get("fields", "")):
        body = _keep(body, wanted)
    if unwanted := _paths(query.get("exclude_fields", "")):
        body = _drop(body, unwanted)
    return body


def _paths(text: str) -> list[tuple[str, ...]]:
    return [tuple(path.strip().split(".")) for path in text.split(",") if path.strip()]


def _keep(value: Any, paths: list[tuple[str, ...]]) -> Any:
    if isinstance(value, list):
        return [_keep(item, paths) for item in value]
    if not isinstance(value, dict):
        return value
    kept: Json = {}
    for key, item in value.items():
        below = [path[1:] for path in paths if path[0] == key]
        if () in below:
            kept[key] = item
        elif below:
            kept[key] = _keep(item, below)
    return kept


def _drop(value: Any, paths: list[tuple[str, ...]]) -> Any:
    if isinstance(value, list):
        return [_drop(item, paths) for item in value]
    if not isinstance(value, dict):
        return value
    left: Json = {}
    for key, item in value.items():
        below = [path[1:] for path in paths if path[0] == key]
        if () not in below:
            left[key] = _drop(item, below) if below else item
    return left


Handler = Callable[["MailchimpStore", "Call"], "Answer"]


@dataclass(frozen=True, slots=True)
class Route:
    """A method, a path pattern and what answers it."""

    method: str
    pattern: re.Pattern[str]
    handler: Handler


class Router:
    """Finds the handler of a call. `{name}` in a path stands for one segment."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def on(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Registers the decorated handler."""
        pattern = re.compile("^" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path) + "/?$")

        def register(handler: Handler) -> Handler:
            self._routes.append(Route(method, pattern, handler))
            return handler

        return register

    def include(self, other: Router) -> None:
        """Takes over the routes of `other`."""
        self._routes.extend(other)

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def dispatch(self, store: MailchimpStore, call: Call) -> Answer:
        """Answers the call, with projection.

        Raises:
            Problem: 404 for an unknown path, 405 for a known path under another method, and what the handler raises.
        """
        known_path = False
        for route in self._routes:
            match = route.pattern.match(call.path)
            if match is None:
                continue
            known_path = True
            if route.method != call.method:
                continue
            names = {name: unquote(value) for name, value in match.groupdict().items()}
            answer = route.handler(store, Call(call.method, call.path, call.query, call.body, call.base_url, names))
            if answer.body is None:
                return answer
            return Answer(answer.status, project(answer.body, call.query))
        if known_path:
            raise Problem(405, "Method Not Allowed", "The requested method and resource are not compatible.")
        raise not_found()
