"""The page about the services says what the adapters do."""

from __future__ import annotations

from pathlib import Path

import pytest

from lettertrail.esps import capabilities, names
from lettertrail.esps.mailchimp import Mailchimp
from lettertrail.esps.port import ConnectionField, Esp, Hook


class Humble(Mailchimp):
    """A service that can do little."""

    name = "humble"
    title = "Humble"
    bulk = 3000
    calls_per_second = 0.5
    fields = (ConnectionField("token", "Token", "Ask the support", is_secret=True),)
    labels = {"password": "Secret"}  # noqa: RUF012
    placeholders = {"token": "t0k3n"}  # noqa: RUF012
    hooks = {"marketing": Hook("none", "json")}  # noqa: RUF012
    erase = Esp.erase
    send = Esp.send


def cells(page: str, first: str) -> list[str]:
    (row,) = [line for line in page.splitlines() if line.startswith(f"| {first} |")]
    return [cell.strip() for cell in row.strip("|").split("|")[1:]]


def test_the_page_in_the_repository_is_current() -> None:
    """Run `python -m lettertrail.esps.capabilities` after changing an adapter."""
    assert capabilities.PAGE.read_text(encoding="utf-8") == capabilities.current()


def test_every_adapter_has_a_section() -> None:
    """None is forgotten, and the writer itself is no adapter."""
    page = capabilities.current()
    assert "capabilities" not in names()
    for name in names():
        assert f"Connection type and id: `{name}`" in page


def test_what_a_class_does_not_override_it_cannot_do() -> None:
    """The matrix reads classes, not claims."""
    page = capabilities.page([Mailchimp, Humble])
    assert cells(page, "write: erase") == ["yes", "–"]
    assert cells(page, "write: send single letters") == ["yes", "–"]
    assert cells(page, "read: events of recipients") == ["yes", "yes"]
    humble = page[page.index("## Humble") :]
    assert "- The service cannot erase by its interface" in humble
    assert "- Single letters cannot be sent." in humble
    assert "erase by its interface" not in page[: page.index("## Humble")]


def test_limits_and_webhooks_are_shown() -> None:
    """Numbers and signatures of each."""
    page = capabilities.page([Mailchimp, Humble])
    assert cells(page, "contacts in a call") == ["500", "3 000"]
    assert cells(page, "calls a second") == ["no limit", "0.5"]
    assert cells(page, "webhooks: marketing") == [
        "HMAC-SHA256 over time and body, when the service signs",
        "not signed: the secret in the address must do",
    ]
    assert cells(page, "webhooks: single letters")[1] == "–"


def test_the_form_says_what_to_fill_in() -> None:
    """Only fields that are used, options with their examples, secrets as such."""
    page = capabilities.page([Humble])
    assert cells(page, "password") == ["Secret", ""]
    assert cells(page, "option `token`") == ["Token (secret). Ask the support", "`t0k3n`"]
    assert "| login |" not in page


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Title.\n\nLimits:  ten\n         at once.\nReading: all.\n", {"Limits": "ten at once.", "Reading": "all."}),
        ("Title.\n\nLimits: ten\n\nNo note: at all\n", {"Limits": "ten"}),
        ("", {}),
    ],
)
def test_notes_come_from_the_docstring(text: str, found: dict[str, str]) -> None:
    """Named paragraphs with what is indented below them."""
    assert capabilities.notes(text) == found


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    """To where it is asked."""
    assert capabilities.main(tmp_path / "esps.md") == 0
    assert (tmp_path / "esps.md").read_text(encoding="utf-8") == capabilities.current()
