"""A database server dies, or its disk is full, in the middle of a load."""

from __future__ import annotations

import warnings
from pathlib import Path

import psycopg
import pytest
from tests.faults import scene as scenes
from tests.faults.conftest import MakeScene
from tests.faults.loading import strike
from tests.faults.servers import Servers, fill_disk, free_port, limit_files, small_disk

from lettertrail.warehouse.embedded import EmbeddedPostgres

KEPT_TABLES = ("recipients", "opens", "deals")


@pytest.mark.parametrize("stage", ["planned", "source opened"])
def test_the_source_server_is_killed_in_mid_load(copied: MakeScene, own_servers: Servers, stage: str) -> None:
    """The load fails or ends well; the next one, with the server back, is complete."""
    scene = copied(*KEPT_TABLES)
    scene.some_hours_pass()
    outcome = strike(scene.job("load"), f"recipients: {stage}", lambda _: own_servers.restart_mariadb())
    assert outcome.error is None or outcome.error.startswith("SourceError"), outcome.error
    scene.change(8)
    scene.must_recover()


@pytest.mark.parametrize("stage", ["rows landing", "merged", "before commit"])
def test_the_warehouse_server_is_killed_in_mid_load(copied: MakeScene, own_servers: Servers, stage: str) -> None:
    """What was committed is there after the crash, what was not is not, and the cursor agrees."""
    scene = copied(*KEPT_TABLES)
    scene.some_hours_pass()
    outcome = strike(scene.job("load"), f"recipients: {stage}", lambda _: own_servers.restart_postgres())
    assert outcome.error is not None
    assert outcome.error.startswith("WarehouseError"), outcome.error
    scene.change(9)
    scene.must_recover()


def test_a_cursor_of_its_own_survives_the_warehouse_and_its_rows_do_not(
    copied: MakeScene, own_servers: Servers
) -> None:
    """The same crash, with the cursor committed before the rows."""
    scene = copied(*KEPT_TABLES)
    scene.some_hours_pass(keys_stay=True)
    job = scene.job("load", "deals", broken=("cursor first",))
    strike(job, "deals: before commit", lambda _: own_servers.restart_postgres())
    scene.must_show_the_loss()


def test_raw_tables_that_are_not_logged_are_empty_after_a_crash(fresh: MakeScene, own_servers: Servers) -> None:
    """Quicker to fill, and the cursor says that they are full."""
    scene = fresh("opens")
    job = scene.job("load", broken=("unlogged",))
    strike(job, "opens: copied", lambda _: own_servers.restart_postgres())
    scene.must_show_the_loss(broken=("unlogged",))


@pytest.mark.parametrize("is_protected", [True, False])
def test_the_disk_of_the_warehouse_is_full(own_servers: Servers, server_dir: Path, *, is_protected: bool) -> None:
    """The load fails, nothing half-done stays, and with room again the next one is complete."""
    directory = server_dir / f"disk-{is_protected}"
    with small_disk(directory, 300) as kind:
        server = EmbeddedPostgres(directory / "postgres", port=free_port())
        server.start()
        try:
            scene = scenes.fresh(Servers(own_servers.mariadb, server), "deals")
            outcome = strike(scene.job("load"), "deals: compared", lambda _: None)
            assert outcome.is_well, outcome
            scene.some_hours_pass(keys_stay=True)
            scene.grow_texts()
            job = scene.job("load", broken=() if is_protected else ("cursor first",))
            if kind == "a full disk":
                psycopg.connect(scene.warehouse_dsn, autocommit=True).execute("checkpoint").connection.close()
                ballast = fill_disk(directory, leave_mb=3)
                outcome = strike(job, "deals: source opened", lambda _: None)
                ballast.unlink()
                server.start()  # it gives up by itself when it cannot write its log
            else:
                limit_files(server, 17)
                outcome = strike(job, "deals: source opened", lambda _: None)
                limit_files(server, None)
                warnings.warn("no right to mount a disk here: a limit on file sizes stands in for it", stacklevel=1)
            assert outcome.error is not None
            assert outcome.error.startswith("WarehouseError"), outcome.error
            if is_protected:
                scene.must_recover()
            else:
                scene.must_show_the_loss()
        finally:
            server.stop()
