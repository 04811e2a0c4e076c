"""docs/cloud.md says what the code does."""

from __future__ import annotations

import pytest

from lettertrail.bitrix import cloud, cloud_auth, cloud_docs
from lettertrail.bitrix.catalog import load_catalog
from lettertrail.bitrix.cloud_feeds import FEEDS
from lettertrail.bitrix.cloud_tables import TABLES
from lettertrail.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "cloud.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("part", [cloud_docs.tables, cloud_docs.absent], ids=["tables", "absent"])
def test_the_tables_of_the_page_are_those_of_the_code(part: object) -> None:
    """`python -m lettertrail.bitrix.cloud_docs` prints them anew."""
    assert callable(part)
    assert part(load_catalog()) in PAGE


def test_every_table_of_the_catalogue_is_on_the_page() -> None:
    """Given or not, with the reason."""
    assert [entry.name for entry in load_catalog() if f"`{entry.name}`" not in PAGE] == []


def test_scopes_and_figures_are_those_of_the_code() -> None:
    """Whoever makes the webhook reads them here."""
    assert [feed.scope for feed in FEEDS.values() if f"| `{feed.scope}` |" not in PAGE] == []
    assert f"{cloud.WHOLE_BELOW:,}" in PAGE
    assert f"default {cloud_auth.OPERATING_SECONDS:.0f}" in PAGE
    assert f"less {cloud.ID_TAIL} |" in PAGE


def test_reasons_are_given_for_columns_that_are_null() -> None:
    """A reason for a column that some table fills, and none leaves out, is stale."""
    filled = {column for table in TABLES.values() for column in table.fields}
    assert "opportunity_account" not in filled
    assert [column for column in cloud_docs.REASONS if f"`{column}`" not in PAGE] == []
