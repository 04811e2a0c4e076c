"""Settings come from the environment, and a wrong one is named."""

from __future__ import annotations

import pytest

from lettertrail.errors import ConfigurationError
from lettertrail.settings import Settings


def test_defaults_are_safe() -> None:
    """An empty environment plans pushes but sends nothing."""
    settings = Settings.from_env({})
    assert settings.dry_run is True
    assert settings.allowed_hosts == ()
    assert settings.esp_accounts is None
    assert settings.bitrix_conn == "bitrix"
    assert settings.source_parallel == 2


def test_lists_are_split_and_trimmed() -> None:
    """Comma separated values may be spaced as people type them."""
    settings = Settings.from_env({"LETTERTRAIL_ESP_ACCOUNTS": " mailchimp, mailchimp__b2b ,"})
    assert settings.esp_accounts == ("mailchimp", "mailchimp__b2b")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LETTERTRAIL_DRY_RUN", "perhaps"),
        ("LETTERTRAIL_DRY_RUN", ""),
        ("LETTERTRAIL_SOURCE_TIMEZONE", "Moscow/Europe"),
        ("LETTERTRAIL_SOURCE_PARALLEL", "0"),
        ("LETTERTRAIL_SOURCE_PARALLEL", "two"),
    ],
)
def test_a_wrong_value_is_named(variable: str, value: str) -> None:
    """The message says which variable to mend."""
    with pytest.raises(ConfigurationError, match=variable):
        Settings.from_env({variable: value})
