"""The doors of Great Expectations before an ordinary world: they stay open, whichever seed, size or day it has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests.conftest import WORLD_AS_OF
from tests.dbt.conftest import Built, copy_of_the_built

from lettertrail.audiences.segments import publish
from lettertrail.clock import fixed_clock
from lettertrail.expectations.door import DOORS, DoorResult, check_door
from lettertrail.warehouse.embedded import EmbeddedPostgres

SITE = ZoneInfo("Europe/Moscow")
CLOCK = fixed_clock(datetime.combine(WORLD_AS_OF, time(2), UTC))


@pytest.fixture(scope="module")
def before_doors(built: Built, postgres: EmbeddedPostgres) -> Iterator[str]:
    """A copy of the built warehouse; the verdicts are written into it."""
    with copy_of_the_built(postgres) as dsn:
        publish(built.layers["segments"].manifest, dsn, at=CLOCK())
        yield dsn


def look(door: str, dsn: str, tmp_path: Path) -> DoorResult:
    """One look, an hour after the load."""
    return check_door(door, warehouse_dsn=dsn, gx_root=tmp_path, run_id="tests", clock=CLOCK, zone=SITE)


@pytest.mark.parametrize("door", DOORS)
def test_a_door_is_open_to_an_ordinary_world(door: str, before_doors: str, tmp_path: Path) -> None:
    """Nothing shuts it, and nothing is even worth a warning."""
    result = look(door, before_doors, tmp_path)
    assert result.evaluated > 10
    assert result.warnings == ()
