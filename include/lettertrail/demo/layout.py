"""Where the demo keeps things, on which ports it listens, and its secrets (made once, kept in a 0600 file)."""

from __future__ import annotations

import json
import secrets
import socket
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from lettertrail.demo import accounts
from lettertrail.sandbox.twins import TWINS

PREFERRED_PORTS = {
    "airflow": 8080,
    "worker_logs": 8793,
    "trigger_logs": 8794,
    "warehouse": 5433,
    "bitrix": 3307,
    "inbox": 8090,
    "bitrix24": 8092,
    **{twin.name: twin.port for twin in TWINS},
}
WAREHOUSE_ROLES = ("loader", "dbt", "sync", "reader", "inbox", "eraser")


@dataclass(frozen=True, slots=True)
class Layout:
    """Directories and files below the state directory."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def mariadb(self) -> Path:
        return self.root / "mariadb" / "data"

    @property
    def world(self) -> Path:
        return self.root / "world"

    @property
    def truth(self) -> Path:
        return self.world / "truth.json"

    @property
    def sandbox(self) -> Path:
        return self.root / "sandbox"

    @property
    def airflow(self) -> Path:
        return self.root / "airflow"

    @property
    def report(self) -> Path:
        return self.root / "report" / "index.html"

    @property
    def docs(self) -> Path:
        return self.root / "docs" / "index.html"

    @property
    def pages(self) -> dict[str, Path]:
        """DAG → the page that it writes."""
        return {"publish_report": self.report, "publish_docs": self.docs}

    @property
    def data_docs(self) -> Path:
        return self.root / "gx"

    def create(self) -> None:
        """Makes the directories; the root is readable by its owner only, save for passing through it."""
        for path in (self.run, self.logs, self.world, self.sandbox, self.airflow, self.mariadb.parent):
            path.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """What was chosen at the first `up` and must stay the same until `clean`."""

    seed: int
    scale: float
    as_of: date
    ports: Mapping[str, int]
    secrets: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> DemoConfig | None:
        """The configuration of an earlier `up`, or None."""
        if not path.exists():
            return None
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            seed=stored["seed"],
            scale=stored["scale"],
            as_of=date.fromisoformat(stored["as_of"]),
            ports=stored["ports"],
            # What came with a later version is made now.
            secrets={**_new_secrets(), **stored["secrets"]},
        )

    @classmethod
    def fresh(cls, *, seed: int, scale: float, as_of: date) -> DemoConfig:
        """A new configuration with new secrets; ports are chosen by `with_ports`."""
        return cls(seed=seed, scale=scale, as_of=as_of, ports={}, secrets=_new_secrets())

    def write(self, path: Path) -> None:
        """Stores it, readable by its owner only, all or nothing."""
        stored = {**asdict(self), "as_of": self.as_of.isoformat()}
        draft = path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(stored, indent=1), encoding="utf-8")
        draft.replace(path)

    def with_ports(self, running: frozenset[str]) -> DemoConfig:
        """The same with a usable port for each service: what runs keeps its port, what does not gets a free one."""
        chosen: dict[str, int] = {}
        for name, preferred in PREFERRED_PORTS.items():
            kept = self.ports.get(name)
            if kept is not None and (name in running or _is_free(kept)):
                chosen[name] = kept
            else:
                chosen[name] = _free_port(preferred, taken=frozenset(chosen.values()))
        return DemoConfig(seed=self.seed, scale=self.scale, as_of=self.as_of, ports=chosen, secrets=self.secrets)


def _new_secrets() -> dict[str, str]:
    made = {
        name: secrets.token_hex(32)
        for name in ("airflow_db", "bitrix_owner", "bitrix_reader", "jwt", "api", "links", "erasure")
    }
    made |= {f"warehouse_{role}": secrets.token_urlsafe(24) for role in WAREHOUSE_ROLES}
    made["bitrix24"] = secrets.token_hex(8)
    made["fernet"] = urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return made | accounts.new_secrets()


def _free_port(preferred: int, *, taken: frozenset[int]) -> int:
    for port in range(preferred, preferred + 200):
        if port not in taken and _is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
