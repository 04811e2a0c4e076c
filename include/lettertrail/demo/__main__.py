"""`python -m lettertrail.demo up|stop|status`; the Makefile's `demo` and `stop` call it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from lettertrail.demo.airflow_api import AirflowApi
from lettertrail.demo.layout import DemoConfig, Layout
from lettertrail.demo.pipeline import run_pipeline
from lettertrail.demo.processes import Supervisor
from lettertrail.demo.services import AIRFLOW_PROGRAMS, UNPAUSED, Services, wait_for_dags
from lettertrail.demo.summary import describe, preference_pages, summary
from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.report import compare_with_truth, write_report
from lettertrail.sandbox.twins import TWINS
from lettertrail.settings import Settings
from lettertrail.status import as_text, read_status


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the exit status is 0 when it did what it says."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    layout = Layout(Settings.from_env().state_dir)
    try:
        match options.command:
            case "up":
                return up(layout, seed=options.seed, scale=options.scale)
            case "run":
                return run(layout, airflow_url=options.airflow_url, truth_file=options.truth)
            case "stop":
                return stop(layout)
    except LetterTrailError as error:
        print(f"\n{error}", file=sys.stderr)
        if layout.logs.exists():
            print(f"logs: {layout.logs} and {layout.airflow / 'logs'}", file=sys.stderr)
        return 1
    return status(layout)


def up(layout: Layout, *, seed: int, scale: float) -> int:
    """Starts what does not run yet, runs the pipeline once, prints what came of it."""
    began = time.monotonic()
    config = _configure(layout, seed=seed, scale=scale)
    print(f"LetterTrail demo: scale {config.scale:g}, seed {config.seed}, the world ends on {config.as_of}\n")
    services = Services(layout, config)
    services.start_warehouse()
    services.start_site()
    services.start_sandbox()
    services.start_inbox()
    api = services.start_airflow()
    print()
    _run(api, services.warehouse_dsn(), layout, truth_file=layout.truth)
    _say("Airflow", f"{services.airflow_url}   user admin, password {services.airflow_password()}")
    print(f"\ndone in {time.monotonic() - began:.0f} s; everything keeps running: `make stop` ends it")
    return 0


def run(layout: Layout, *, airflow_url: str, truth_file: Path) -> int:
    """Runs the pipeline once on services that something else started (docker compose)."""
    api = AirflowApi(airflow_url, user="admin", password=_needed("DEMO_AIRFLOW_PASSWORD"))
    wait_for_dags(api)
    for dag_id in sorted(UNPAUSED):
        api.unpause(dag_id)
    _run(api, _needed("DEMO_WAREHOUSE_DSN"), layout, truth_file=truth_file)
    return 0


def stop(layout: Layout) -> int:
    """Stops whatever the demo started."""
    config = DemoConfig.read(layout.root / "demo.json")
    if config is None:
        print("nothing was started")
        return 0
    stopped = Services(layout, config).stop()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def status(layout: Layout) -> int:
    """Says what runs and where, and how each copied table stands."""
    config = DemoConfig.read(layout.root / "demo.json")
    if config is None:
        print("not started; `make demo` starts it")
        return 0
    supervisor = Supervisor(layout.run, layout.logs)
    for name in ("sandbox", "inbox", *AIRFLOW_PROGRAMS):
        print(f"{name:<14} {'running' if supervisor.is_running(name) else 'stopped'}")
    for name, port in config.ports.items():
        print(f"port of {name:<14} {port}")
    services = Services(layout, config)
    if services.postgres.is_running():
        now = datetime.now(UTC)
        print(f"\n{as_text(read_status(services.warehouse_dsn(), at=now), at=now)}")
    return 0


def _run(api: AirflowApi, dsn: str, layout: Layout, *, truth_file: Path) -> None:
    run_pipeline(api, describe=lambda run: describe(run, dsn, layout.pages))
    truth = compare_with_truth(dsn, truth_file)
    write_report(dsn, layout.report, at=datetime.now(UTC), truth=truth)
    print()
    for name, value in summary(dsn, truth):
        _say(name, value)
    print()
    _say("report", f"file://{layout.report}")
    _say("marts", f"file://{layout.docs}")
    for number, docs in enumerate(sorted(layout.data_docs.glob("*/index.html"))):
        _say("" if number else "data docs", f"file://{docs}")
    for url in preference_pages(dsn):
        _say("preferences", url)


def _say(name: str, value: str) -> None:
    print(f"  {name:<18} {value}".rstrip())


def _needed(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise ConfigurationError(f"{variable} is not set")
    return value


def _configure(layout: Layout, *, seed: int, scale: float) -> DemoConfig:
    layout.create()
    path = layout.root / "demo.json"
    stored = DemoConfig.read(path)
    if stored is not None and (stored.seed, stored.scale) != (seed, scale):
        raise ConfigurationError(
            f"this demo was made with SEED={stored.seed} SCALE={stored.scale:g}; "
            f"`make clean` first to make it anew with SEED={seed} SCALE={scale:g}"
        )
    config = stored or DemoConfig.fresh(seed=seed, scale=scale, as_of=datetime.now(UTC).date())
    config = config.with_ports(_running(layout, config))
    config.write(path)
    return config


def _running(layout: Layout, config: DemoConfig) -> frozenset[str]:
    """The services whose ports must stay: what runs answers there already."""
    services = Services(layout, config) if config.ports else None
    if services is None:
        return frozenset()
    running = set()
    for program, port in (("api-server", "airflow"), ("scheduler", "worker_logs"), ("triggerer", "trigger_logs")):
        if services.supervisor.is_running(program):
            running.add(port)
    if services.supervisor.is_running("sandbox"):
        running.update({"bitrix24", *(twin.name for twin in TWINS)})
    if services.supervisor.is_running("inbox"):
        running.add("inbox")
    if services.postgres.is_running():
        running.add("warehouse")
    if services.mariadb.is_running():
        running.add("bitrix")
    return frozenset(running)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lettertrail.demo", description="The whole pipeline on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start everything and run the pipeline once")
    start.add_argument("--seed", type=int, default=7, help="which sample world")
    start.add_argument("--scale", type=float, default=1.0, help="its size; 1 is about 20 000 contacts")
    once = commands.add_parser("run", help="run the pipeline once on services that are up already")
    once.add_argument(
        "--airflow-url", required=True, help="the API server; its admin password is in DEMO_AIRFLOW_PASSWORD"
    )
    once.add_argument("--truth", type=Path, required=True, help="truth.json of the sample world")
    commands.add_parser("stop", help="stop everything that was started")
    commands.add_parser("status", help="say what runs, on which ports, and how each table stands")
    return parser


if __name__ == "__main__":
    sys.exit(main())
