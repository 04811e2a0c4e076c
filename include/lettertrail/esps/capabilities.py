"""What each adapter can do, read from its class: the source of `docs/esps.md`.

    python -m lettertrail.esps.capabilities     writes the page anew

A method counts as a capability when the adapter has one of its own, so the page cannot promise what is not there. The
sections on limits, reading and writing are the adapter's own docstring.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lettertrail import esps
from lettertrail.esps.port import Esp, Hook, Signature
from lettertrail.settings import PROJECT_ROOT

PAGE = PROJECT_ROOT / "docs" / "esps.md"
READING: Mapping[str, str] = {
    "lists": "lists",
    "contacts": "contacts with status, tags and fields",
    "campaigns": "campaigns",
    "totals": "totals of a campaign",
    "links": "links of a campaign",
    "bodies": "the HTML of a letter",
    "events": "events of recipients",
    "start_exports": "by exports that are asked for and waited for",
}
WRITING: Mapping[str, str] = {
    "suppressed": "who is suppressed",
    "suppress": "suppress",
    "unsubscribe": "unsubscribe as the person's own wish, apart from suppressing",
    "upsert": "write custom fields in bulk",
    "set_preferences": "write preference categories",
    "erase": "erase",
    "members": "who is in an audience",
    "add_members": "add to an audience",
    "remove_members": "take out of an audience",
    "send": "send single letters",
}
MISSING: Mapping[str, str] = {
    "lists": "Lists cannot be read.",
    "totals": "The service gives no totals of a campaign; they are counted from events in the warehouse.",
    "links": "The service gives no links of a campaign; they are seen from clicks alone.",
    "bodies": "The service gives no HTML of letters: their links are audited as far as the service lists them.",
    "unsubscribe": "An opt-out by us and the person's own are booked alike.",
    "upsert": "Custom fields cannot be written by themselves.",
    "set_preferences": "There are no preference categories to write; use a list, tag or field.",
    "erase": "The service cannot erase by its interface; do it by hand.",
    "send": "Single letters cannot be sent.",
}
SIGNATURES: Mapping[Signature, str] = {
    "none": "not signed: the secret in the address must do",
    "hmac_sha256_time": "HMAC-SHA256 over time and body",
    "hmac_sha1_form": "HMAC-SHA1 over address and form",
    "md5_body": "MD5 over body and key",
}
CONNECTION = ("host", "login", "password")

_HEADING = re.compile(r"^(?P<name>[A-Z][a-z]+): +(?P<text>.*)$")


def can(adapter: type[Esp], method: str) -> bool:
    """Whether the adapter has this method of its own."""
    return getattr(adapter, method) is not getattr(Esp, method)


def notes(docstring: str) -> dict[str, str]:
    """The named paragraphs of an adapter's docstring: `Limits: …` and what is indented below."""
    found: dict[str, str] = {}
    name = None
    for line in docstring.splitlines():
        if heading := _HEADING.match(line):
            name = heading["name"]
            found[name] = heading["text"]
        elif name and line.startswith(" ") and line.strip():
            found[name] += f" {line.strip()}"
        else:
            name = None
    return found


def page(adapters: Sequence[type[Esp]]) -> str:
    """The page in Markdown."""
    blocks = [
        "# E-mail services",
        "Written by `python -m lettertrail.esps.capabilities` from the adapters themselves; do not edit it here.",
        "## What each can do",
        _matrix(adapters),
        "Creating contacts takes the option `add_missing` everywhere; nothing subscribes anybody who has left.",
    ]
    for adapter in adapters:
        blocks += _section(adapter)
    return "\n\n".join(blocks) + "\n"


def _matrix(adapters: Sequence[type[Esp]]) -> str:
    rows = [
        *(_row(f"read: {title}", (_mark(can(a, method)) for a in adapters)) for method, title in READING.items()),
        *(_row(f"write: {title}", (_mark(can(a, method)) for a in adapters)) for method, title in WRITING.items()),
        _row("attributes go along with a segment", (_mark(a.sends_attributes) for a in adapters)),
        _row("webhooks: marketing", (_hook(a.hooks.get("marketing")) for a in adapters)),
        _row("webhooks: single letters", (_hook(a.hooks.get("transactional")) for a in adapters)),
        _row("contacts in a call", (f"{a.bulk:_}".replace("_", " ") for a in adapters)),
        _row("calls a second", (_number(a.calls_per_second) for a in adapters)),
        _row("calls at once", (str(a.connections) for a in adapters)),
    ]
    return "\n".join([_row("", (a.title or a.name for a in adapters)), "|---" * (len(adapters) + 1) + "|", *rows])


def _section(adapter: type[Esp]) -> Iterator[str]:
    told = notes(inspect.getdoc(importlib.import_module(adapter.__module__)) or "")
    yield f"## {adapter.title or adapter.name}"
    yield f"Connection type and id: `{adapter.name}`; a second account is `{adapter.name}__<anything>`."
    yield "### Connecting"
    yield _form(adapter)
    if adapter.hooks:
        yield "\n".join(f"- Webhook `{kind}`: {_hook(hook)}." for kind, hook in adapter.hooks.items())
    if facts := [f"- {name}: {text}" for name, text in told.items() if name != "Options"]:
        yield "### Good to know"
        yield "\n".join(facts)
    if missing := [f"- {sentence}" for method, sentence in MISSING.items() if not can(adapter, method)]:
        yield "### What cannot be done"
        yield "\n".join(missing)


def _form(adapter: type[Esp]) -> str:
    examples = adapter.placeholders
    rows = [
        _row(name, (adapter.labels[name], _code(examples.get(name)))) for name in CONNECTION if name in adapter.labels
    ]
    for option in adapter.fields:
        secret = " (secret)" if option.is_secret else ""
        meaning = f"{option.title}{secret}. {option.description}"
        rows.append(_row(f"option `{option.name}`", (meaning, _code(examples.get(option.name)))))
    return "\n".join([_row("field", ("meaning", "example")), "|---|---|---|", *rows])


def _row(first: str, rest: Iterable[str]) -> str:
    return f"| {' | '.join([first, *rest])} |"


def _mark(is_so: bool) -> str:
    return "yes" if is_so else "–"


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _number(value: float | None) -> str:
    return "no limit" if value is None else f"{value:g}"


def _hook(hook: Hook | None) -> str:
    if hook is None:
        return "–"
    return SIGNATURES[hook.signature] + (", when the service signs" if hook.is_optional else "")


def current() -> str:
    """The page as the adapters of this package make it."""
    return page([esps.load(name) for name in esps.names()])


def main(path: Path = PAGE) -> int:
    """Writes the page; gives the exit status."""
    path.write_text(current(), encoding="utf-8")
    sys.stdout.write(f"{path} is written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
