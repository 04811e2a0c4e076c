"""Bitrix's own tables in a test's own database, and the catalogue's entries for them."""

from __future__ import annotations

from dataclasses import replace

from tests.source_site import PgSite, Site

from lettertrail.bitrix.catalog import load_catalog
from lettertrail.sandbox.bitrix_schema import Column, tables
from lettertrail.sandbox.postgres_site_schema import create, keys

CATALOG = {entry.name: entry for entry in load_catalog()}


def make(site: Site, *names: str) -> None:
    """Makes tables, empty; what is no key may be NULL, so that a row needs no more than a test cares about."""
    for name in names:
        table = tables()[name]
        key = {column.partition("(")[0] for one in table.keys if one.kind == "PRI" for column in one.columns}
        table = replace(table, columns=tuple(_loose(column, key) for column in table.columns))
        site.run(*([create(table), *keys(table)] if isinstance(site, PgSite) else [table.ddl()]))


def _loose(column: Column, key: set[str]) -> Column:
    is_needed = column.name in key or column.default is not None
    return column if is_needed else replace(column, is_nullable=True)


def quoted(site: Site, name: str) -> str:
    """A column that is called like a keyword."""
    return f'"{name}"' if isinstance(site, PgSite) else f"`{name}`"
