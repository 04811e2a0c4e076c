"""Servers of the fault tests' own, for the session, and a copy to start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults import scene
from tests.faults.loading import run
from tests.faults.scene import Scene
from tests.faults.servers import Servers, servers

MakeScene = Callable[..., Scene]


@pytest.fixture(scope="session")
def own_servers(server_dir: Path) -> Iterator[Servers]:
    """A MariaDB and a durable PostgreSQL that may be killed, as long as they are started again."""
    with servers(server_dir / "faults") as running:
        yield running


@pytest.fixture(scope="session")
def template(own_servers: Servers) -> str:
    """The name of a warehouse database that holds a first copy, proven."""
    first = scene.fresh(own_servers)
    outcome = run(first.job("load"))
    assert outcome.is_well, outcome
    report = first.check()
    assert report.is_clean, report
    return first.warehouse_dsn.rpartition("/")[2]


@pytest.fixture
def made() -> Iterator[list[Scene]]:
    """The scenes of a test; dropped after it."""
    scenes: list[Scene] = []
    yield scenes
    for each in scenes:
        each.gone()


@pytest.fixture
def fresh(own_servers: Servers, made: list[Scene]) -> MakeScene:
    """Makes a filled source with an empty warehouse, of all tables or of those named."""

    def make(*tables: str) -> Scene:
        made.append(scene.fresh(own_servers, *tables))
        return made[-1]

    return make


@pytest.fixture
def copied(own_servers: Servers, template: str, made: list[Scene]) -> MakeScene:
    """Makes a filled source with its copy, of all tables or of those named."""

    def make(*tables: str) -> Scene:
        made.append(scene.copied(own_servers, template, *tables))
        return made[-1]

    return make
