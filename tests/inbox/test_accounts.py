"""Which webhooks the environment says there are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.inbox.letters import TOKEN, URL
from tests.inbox.conftest import ACCOUNTS, webhooks

from lettertrail.errors import ConfigurationError
from lettertrail.inbox.accounts import Webhooks, read_webhooks


def read(accounts: object, url: str = URL) -> Webhooks:
    """From a text or what becomes one."""
    text = accounts if isinstance(accounts, str) else json.dumps(accounts)
    return read_webhooks({"LETTERTRAIL_INBOX_ACCOUNTS": text, "LETTERTRAIL_INBOX_URL": url})


def test_every_webhook_of_every_account(tmp_path: Path) -> None:
    """Also those of a second account of a service, and from a file."""
    found = {(webhook.account, webhook.kind) for webhook in webhooks()}
    assert found >= {("mailchimp", "marketing"), ("mailchimp", "transactional"), ("bitrix24", "events")}
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps({"mailchimp__b2b": {"token": TOKEN}}))
    assert {webhook.account for webhook in read(str(file))} == {"mailchimp__b2b"}
    assert list(read("")) == []


def test_all_parts_of_an_address_must_be_right() -> None:
    """And while a token changes, both are."""
    known = read({"mailchimp": {"token": [TOKEN, "another-token-of-ours"]}, "sendpulse": {"token": "x" * 16}})
    assert known.find("mailchimp", "marketing", TOKEN)
    assert known.find("mailchimp", "marketing", "another-token-of-ours")
    for account, kind, token in (
        ("mailchimp", "marketing", "x" * 16), ("sendpulse", "marketing", TOKEN), ("mailchimp", "events", TOKEN),
        ("mailchimp__b2b", "marketing", TOKEN), ("", "", ""), ("mailchimp", "marketing", ""),
    ):  # fmt: skip
        assert known.find(account, kind, token) is None


@pytest.mark.parametrize(
    ("accounts", "said"),
    [
        ("{not json", "neither JSON nor the path"),
        ("/no/such/file", "cannot be read"),
        ([1], "neither JSON|must hold an object|cannot be read"),
        ({"mailchimp": "x"}, "mailchimp must be an object"),
        ({"mailchimp": {}}, "mailchimp needs a token"),
        ({"mailchimp": {"token": "short"}}, "mailchimp needs a token of 16"),
        ({"mailchimp": {"token": "with a blank and / more"}}, "mailchimp needs a token"),
        ({"mailchimp": {"token": [TOKEN, 5]}}, "token of mailchimp must be a text"),
        ({"mailchimp": {"token": TOKEN, "secrets": {"marketing": [""]}}}, "secrets.marketing of mailchimp"),
        ({"mailchimp": {"token": TOKEN, "secrets": {"letters": ["k"]}}}, "mailchimp has no webhook 'letters'"),
        ({"mailchimp": {"token": TOKEN, "secrets": ["k"]}}, "secrets of mailchimp must be an object"),
        ({"mailchimp": {"token": TOKEN, "key": "k"}}, "unknown key 'key'"),
        ({"carrierpigeon": {"token": TOKEN}}, "no ESP adapter 'carrierpigeon'"),
    ],
)
def test_what_is_wrong_is_named(accounts: object, said: str) -> None:
    """When it starts, not when the first webhook is lost; and without the secrets."""
    with pytest.raises(ConfigurationError, match=said) as raised:
        read(accounts)
    assert TOKEN not in str(raised.value)


def test_an_address_that_is_signed_must_be_known() -> None:
    """Mandrill signs it; without the setting every one of its webhooks would look forged."""
    with pytest.raises(ConfigurationError, match="LETTERTRAIL_INBOX_URL is not set"):
        read(ACCOUNTS, url="")
