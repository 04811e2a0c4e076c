"""Opening a connection to the warehouse: what is worth trying again is told from what is not."""

from __future__ import annotations

import socket

import psycopg
import pytest

from lettertrail.errors import ConfigurationError, WarehouseError
from lettertrail.warehouse.connect import connect
from lettertrail.warehouse.embedded import EmbeddedPostgres


@pytest.mark.parametrize(
    ("login", "database"), [("postgres:wrong", "postgres"), ("nobody:wrong", "postgres"), ("", "missing")]
)
def test_a_refused_login_is_a_setting(postgres: EmbeddedPostgres, login: str, database: str) -> None:
    """A wrong password, user or database does not get right by waiting; the password is not told."""
    dsn = f"postgresql://{login}@127.0.0.1:{postgres.port}/{database}" if login else postgres.dsn(database)
    with pytest.raises(ConfigurationError, match="`warehouse` cannot be opened") as caught:
        connect(dsn, purpose="test")
    assert "wrong" not in str(caught.value)
    assert postgres.password not in str(caught.value)


def test_what_is_no_dsn_is_a_setting() -> None:
    """It is not repeated: it may hold a password."""
    with pytest.raises(ConfigurationError, match="no valid libpq URI"):
        connect("warehouse with a secret", purpose="test")


def test_a_server_that_is_away_is_tried_again() -> None:
    """It may be restarting."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(WarehouseError, match="refused"):
        connect(f"postgresql://postgres:x@127.0.0.1:{port}/postgres", purpose="test")


def test_a_server_with_no_place_left_is_tried_again(postgres: EmbeddedPostgres) -> None:
    """The places are taken by others, who will go."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as admin:
        admin.execute("create role guest login password 'guest' connection limit 0")
        try:
            with pytest.raises(WarehouseError, match="too many connections"):
                connect(f"postgresql://guest:guest@127.0.0.1:{postgres.port}/postgres", purpose="test")
        finally:
            admin.execute("drop role guest")
