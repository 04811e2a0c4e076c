"""Made-up marts, for tests that need no dbt run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg
import yaml
from psycopg import sql

from lettertrail.settings import DBT_PROJECT_DIR

CONTRACTS = DBT_PROJECT_DIR / "models" / "marts"


def create_marts(dsn: str) -> None:
    """Empty marts with the columns and types of the dbt contracts, so that only what is promised is relied on."""
    models = [
        model
        for file in sorted(CONTRACTS.glob("_*__models.yml"))
        for model in yaml.safe_load(file.read_text(encoding="utf-8"))["models"]
    ]
    assert models, f"no model contracts in {CONTRACTS}"
    with psycopg.connect(dsn) as connection:
        connection.execute("create schema if not exists marts")
        for model in models:
            columns = [
                sql.SQL("{} {}").format(sql.Identifier(column["name"]), sql.SQL(column["data_type"]))
                for column in model["columns"]
            ]
            connection.execute(
                sql.SQL("create table {} ({})").format(
                    sql.Identifier("marts", model["name"]), sql.SQL(", ").join(columns)
                )
            )


def insert(dsn: str, relation: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows into 'schema.table'; all of them with the keys of the first."""
    given = list(rows)
    columns = list(given[0])
    query = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(*relation.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder(column) for column in columns),
    )
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(query, given)
