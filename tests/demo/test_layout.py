"""Ports, secrets and what must stay the same between two runs of the demo."""

from __future__ import annotations

import socket
from datetime import date
from pathlib import Path

from lettertrail.demo.layout import PREFERRED_PORTS, DemoConfig


def config() -> DemoConfig:
    """A fresh configuration."""
    return DemoConfig.fresh(seed=7, scale=0.5, as_of=date(2026, 11, 1))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """The second run knows everything the first one chose."""
    path = tmp_path / "demo.json"
    written = config().with_ports(frozenset())
    written.write(path)
    assert DemoConfig.read(path) == written


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    """The file holds passwords."""
    path = tmp_path / "demo.json"
    config().write(path)
    assert path.stat().st_mode & 0o077 == 0


def test_no_two_demos_share_a_secret() -> None:
    """Nothing is built in."""
    assert set(config().secrets.values()).isdisjoint(config().secrets.values())


def test_a_taken_port_is_left_alone() -> None:
    """Somebody else's server keeps its port, and ours gets another one."""
    chosen = config().with_ports(frozenset()).ports["airflow"]
    with socket.socket() as other:
        other.bind(("127.0.0.1", chosen))
        other.listen()
        assert config().with_ports(frozenset()).ports["airflow"] != chosen


def test_what_runs_keeps_its_port() -> None:
    """A port that is taken by our own running service is not a taken port."""
    first = config().with_ports(frozenset())
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", first.ports["warehouse"]))
        ours.listen()
        assert first.with_ports(frozenset({"warehouse"})).ports["warehouse"] == first.ports["warehouse"]


def test_every_service_has_a_port_of_its_own() -> None:
    """Ports differ even when the preferred ones are taken."""
    ports = config().with_ports(frozenset()).ports
    assert set(ports) == set(PREFERRED_PORTS)
    assert len(set(ports.values())) == len(ports)
