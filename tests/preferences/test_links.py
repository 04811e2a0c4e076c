"""Links: only ours, only for what they were made for, and no address in them."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from tests.preferences.conftest import LINKS, SECRET, URL

from lettertrail.errors import ConfigurationError
from lettertrail.preferences.links import Links, read_links

NUMBER = UUID("0d9f6c0e-8e0f-4a43-9f0a-5f1f4b6f2d11")
NEWER = "n" * 32


def test_a_link_comes_back_as_its_number() -> None:
    """Always the same one, or segments would be sent again at every run."""
    token = LINKS.token("preferences", NUMBER)
    assert LINKS.read("preferences", token) == NUMBER
    assert LINKS.token("preferences", NUMBER) == token
    assert LINKS.url("unsubscribe", NUMBER) == f"{URL}/unsubscribe/{LINKS.token('unsubscribe', NUMBER)}"


def test_a_link_is_for_one_purpose() -> None:
    """The one in the header, which mail hosts see, cannot be used to consent."""
    assert LINKS.read("preferences", LINKS.token("unsubscribe", NUMBER)) is None
    assert LINKS.read("unsubscribe", LINKS.token("preferences", NUMBER)) is None


def test_no_change_to_a_token_goes_unnoticed() -> None:
    """Neither in the number nor in the signature, and a token has one spelling only."""
    token = LINKS.token("preferences", NUMBER)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for place in range(len(token)):
        for letter in letters.replace(token[place], ""):
            assert LINKS.read("preferences", token[:place] + letter + token[place + 1 :]) is None


@pytest.mark.parametrize(
    "token", ["", "x", "A" * 43, "A" * 44, "é" * 43, "\udcff" * 43, "=" * 43, "+" * 43, " " * 43, "A" * 100_000]
)
def test_garbage_is_no_link(token: str) -> None:
    """Whatever a path may hold."""
    assert LINKS.read("preferences", token) is None


def test_zeros_are_no_link() -> None:
    """What stands in for what no token can be."""
    assert LINKS.read("preferences", base64.urlsafe_b64encode(bytes(32)).decode()[:43]) is None


def test_secrets_can_be_changed() -> None:
    """The first one signs, all are accepted, and one that is taken out ends its links."""
    old = LINKS.token("preferences", NUMBER)
    both = Links((NEWER.encode(), SECRET.encode()), URL)
    alone = Links((NEWER.encode(),), URL)
    assert both.read("preferences", old) == NUMBER
    assert both.token("preferences", NUMBER) == alone.token("preferences", NUMBER) != old
    assert alone.read("preferences", old) is None
    assert both.fingerprint == alone.fingerprint != LINKS.fingerprint


def test_another_address_makes_links_anew() -> None:
    """Else letters would lead to where the inbox was."""
    assert Links(LINKS.secrets, "https://other.example.com").fingerprint != LINKS.fingerprint


def test_settings_are_read() -> None:
    """Blanks and empty parts do not count; a secret is never shown."""
    found = read_links({"LETTERTRAIL_LINK_SECRETS": f" {NEWER} , {SECRET},", "LETTERTRAIL_INBOX_URL": f"{URL}/"})
    assert found == Links((NEWER.encode(), SECRET.encode()), URL)
    assert NEWER not in repr(found)
    assert read_links({"LETTERTRAIL_LINK_SECRETS": " , "}) is None


@pytest.mark.parametrize(
    ("secrets", "url", "named"),
    [
        (f"{SECRET},short", URL, "LETTERTRAIL_LINK_SECRETS"),
        (SECRET, "hooks.example.com", "LETTERTRAIL_INBOX_URL"),
        (SECRET, "https://user:pass@hooks.example.com", "LETTERTRAIL_INBOX_URL"),
        (SECRET, f"{URL}?a=b", "LETTERTRAIL_INBOX_URL"),
    ],
)
def test_wrong_settings_are_named(secrets: str, url: str, named: str) -> None:
    """Without their values."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        read_links({"LETTERTRAIL_LINK_SECRETS": secrets, "LETTERTRAIL_INBOX_URL": url})
    assert "short" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_links_need_an_address() -> None:
    """Reading them does not."""
    links = Links((SECRET.encode(),), "")
    assert links.read("preferences", LINKS.token("preferences", NUMBER)) == NUMBER
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_INBOX_URL"):
        links.url("preferences", NUMBER)
