"""The network cuts a connection in mid-stream."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.faults.conftest import MakeScene
from tests.faults.loading import strike
from tests.faults.proxy import Proxy
from tests.faults.servers import Servers, through


@pytest.mark.parametrize("size", [5_000, 150_000])
def test_the_connection_to_the_source_is_cut(fresh: MakeScene, own_servers: Servers, size: int) -> None:
    """After so many bytes of a first copy: rows that did not come are not taken for rows that are not there."""
    scene = fresh("recipients", "opens")
    with Proxy(own_servers.mariadb.port) as proxy:
        job = replace(scene.job("load"), source_dsn=through(scene.source_dsn, proxy.port))
        outcome = strike(job, "recipients: planned", lambda _: proxy.cut_after(size, "to client"))
        assert proxy.cuts
    assert outcome.error is None or outcome.error.startswith("SourceError"), outcome.error
    scene.recover()
    scene.must_recover()


@pytest.mark.parametrize("size", [5_000, 150_000])
def test_the_connection_to_the_warehouse_is_cut(fresh: MakeScene, own_servers: Servers, size: int) -> None:
    """After so many bytes of a first copy: what arrived of a range is not the range."""
    scene = fresh("recipients", "opens")
    with Proxy(own_servers.postgres.port) as proxy:
        job = replace(scene.job("load"), warehouse_dsn=through(scene.warehouse_dsn, proxy.port))
        outcome = strike(job, "recipients: planned", lambda _: proxy.cut_after(size, "to server"))
        assert proxy.cuts
    assert outcome.error is not None
    assert outcome.error.startswith("WarehouseError"), outcome.error
    scene.recover()
    scene.must_recover()


@pytest.mark.parametrize("is_protected", [True, False])
def test_a_stream_that_broke_is_not_one_that_ended(
    copied: MakeScene, own_servers: Servers, *, is_protected: bool
) -> None:
    """A small table is read completely, and what did not come is marked as deleted: if one believes a broken read."""
    scene = copied("options")
    with Proxy(own_servers.mariadb.port) as proxy:
        job = scene.job("load", broken=() if is_protected else ("end of stream",))
        job = replace(job, source_dsn=through(scene.source_dsn, proxy.port))
        outcome = strike(job, "options: planned", lambda _: proxy.cut_after(700, "to client"))
        assert proxy.cuts
    assert outcome.is_well is not is_protected
    assert scene.check().is_clean is is_protected
