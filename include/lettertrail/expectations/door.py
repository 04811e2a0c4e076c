"""A door: Great Expectations suites that must hold before the next leg may start.

Everything Great Expectations needs lives in memory, except Data Docs (static HTML under `<gx_root>/<door>/`) and the
results of the last runs they show (`<gx_root>/<door>.results/`). It phones nobody. The connection string is
substituted at run time, and results carry counts only, so neither the password nor a single address can end in a page,
a log or an error; the rows that failed stay in the warehouse (`failed_rows.py`).
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb

from lettertrail.clock import Clock
from lettertrail.errors import ConfigurationError, QualityGateFailed
from lettertrail.expectations import failed_rows, raw_bitrix, raw_esp, segments
from lettertrail.expectations.failed_rows import Failure
from lettertrail.expectations.suite import Suite
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

SuiteMaker = Callable[[Connection, datetime, ZoneInfo], list[Suite]]

DOORS: Mapping[str, SuiteMaker] = {
    "raw_bitrix": raw_bitrix.suites,
    "raw_esp": raw_esp.suites,
    "segments": segments.suites,
}

COUNTS_ONLY = {"result_format": "SUMMARY", "partial_unexpected_count": 0, "exclude_unexpected_values": True}
KEPT_RUNS = 10
"""Runs that Data Docs show; older ones are forgotten. `ops.quality_checks` keeps every verdict."""
_UTC = ZoneInfo("UTC")
_DSN_VARIABLE = "LETTERTRAIL_DOOR_WAREHOUSE"


@dataclass(frozen=True, slots=True)
class DoorResult:
    """What a door that opened had to say."""

    door: str
    suites: int
    evaluated: int
    """Expectations, over all suites."""
    warnings: tuple[str, ...]
    """Expectations that failed without shutting the door, as `<suite>: <expectation>`."""
    data_docs: Path
    """The index page."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    suite: Suite
    evaluated: int
    failed: tuple[Failure, ...]
    warnings: tuple[Failure, ...]
    rows: int | None


def check_door(
    door: str,
    *,
    warehouse_dsn: str,
    gx_root: Path,
    run_id: str,
    clock: Clock,
    zone: ZoneInfo = _UTC,
    suites: Sequence[Suite] | None = None,
) -> DoorResult:
    """Runs the suites of a door, writes Data Docs, one row per suite to `ops.quality_checks`, and keeps failing rows.

    `zone` is the one the site lives in: it says what a day is. `suites` replace those of the door's own module.

    Raises:
        QualityGateFailed: naming suites and expectations, never values.
        ConfigurationError: there is no such door.
        ContractError: a relation the suites read is missing.
    """
    if door not in DOORS:
        raise ConfigurationError(f"there is no door {door!r}; choose from {', '.join(DOORS)}")
    at = clock()
    with connect(warehouse_dsn, purpose=f"door {door}", autocommit=True) as connection:
        chosen = DOORS[door](connection, at, zone) if suites is None else list(suites)
        docs = gx_root / door
        verdicts = _validate(door, chosen, warehouse_dsn, docs, at)
        _record(connection, verdicts, run_id, at)
    failed = [f"{verdict.suite.name}: {', '.join(_names(verdict.failed))}" for verdict in verdicts if verdict.failed]
    warnings = tuple(f"{verdict.suite.name}: {name}" for verdict in verdicts for name in _names(verdict.warnings))
    evaluated = sum(verdict.evaluated for verdict in verdicts)
    log.info(
        "door %s suites=%s evaluated=%s failed=%s warnings=%s",
        door,
        len(verdicts),
        evaluated,
        sum(len(verdict.failed) for verdict in verdicts),
        len(warnings),
    )
    for warning in warnings:
        log.warning("door %s lets pass: %s", door, warning)
    if failed:
        raise QualityGateFailed(f"door {door} stays shut: {'; '.join(failed)}. Data Docs: {docs / 'index.html'}")
    return DoorResult(door, len(verdicts), evaluated, warnings, docs / "index.html")


def _validate(door: str, suites: Sequence[Suite], warehouse_dsn: str, docs: Path, at: datetime) -> list[_Verdict]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # hundreds of lines about itself otherwise
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.core.run_identifier import RunIdentifier  # noqa: PLC0415
    from great_expectations.data_context.types.resource_identifiers import (  # noqa: PLC0415
        ExpectationSuiteIdentifier,
    )
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    results = docs.with_name(f"{docs.name}.results")
    context = _context(warehouse_dsn, docs, results)
    datasource = context.data_sources.add_postgres(
        "warehouse",
        connection_string=f"${{{_DSN_VARIABLE}}}",
        create_temp_table=False,
        kwargs={
            # It makes engines of its own and forgets them; without a pool their connections close after use.
            "poolclass": NullPool,
            "connect_args": {"application_name": f"lettertrail: door {door}", "connect_timeout": 10},
        },
    )
    definitions = [_definition(gx, context, datasource, suite) for suite in suites]
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(name=door, validation_definitions=definitions, result_format=COUNTS_ONLY)
    )
    run = RunIdentifier(run_name=at.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ"), run_time=at)
    found = checkpoint.run(run_id=run).run_results
    _forget_old_runs(results)
    # Once for all suites: the action that Great Expectations has for it writes the index anew after each.
    pages = [ExpectationSuiteIdentifier(name=suite.name) for suite in suites]
    context.build_data_docs(resource_identifiers=[*found, *pages])
    by_name = {suite.name: suite for suite in suites}
    return [_verdict(by_name[result.suite_name], result) for result in found.values()]


def _forget_old_runs(results: Path) -> None:
    """Leaves the last runs; building Data Docs then drops the pages of the others."""
    # <suite, one folder per part of its name>/<run name>/<run time>/<batch>.json
    files = [path for path in results.rglob("*.json") if not path.name.startswith(".")]
    kept = sorted({path.parent.parent.name for path in files})[-KEPT_RUNS:]
    for run in {path.parent.parent for path in files if path.parent.parent.name not in kept}:
        shutil.rmtree(run)


def _context(warehouse_dsn: str, docs: Path, results: Path) -> Any:
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.data_context.types.base import (  # noqa: PLC0415
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    stores = InMemoryStoreBackendDefaults()
    stores.stores[stores.validation_results_store_name]["store_backend"] = _folder(results)
    _, separator, rest = warehouse_dsn.partition("://")
    if not separator:
        raise ConfigurationError("connection `warehouse` is no libpq URI")
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=stores,
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
            data_docs_sites={
                "local": {
                    "class_name": "SiteBuilder",
                    "show_how_to_buttons": False,
                    "store_backend": _folder(docs),
                    "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                }
            },
        ),
        runtime_environment={_DSN_VARIABLE: f"postgresql+psycopg://{rest}"},
    )


def _folder(path: Path) -> dict[str, str]:
    path.mkdir(parents=True, exist_ok=True)
    return {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(path)}


def _definition(gx: Any, context: Any, datasource: Any, suite: Suite) -> Any:
    if suite.relation is not None:
        schema, _, table = suite.relation.partition(".")
        with warnings.catch_warnings():
            # Its advice, the schema in the connection, allows one schema per connection.
            warnings.filterwarnings("ignore", message="`schema_name` is deprecated", category=DeprecationWarning)
            asset = datasource.add_table_asset(suite.name, table_name=table, schema_name=schema)
    else:
        asset = datasource.add_query_asset(suite.name, query=suite.query)
    return context.validation_definitions.add(
        gx.ValidationDefinition(
            name=suite.name,
            data=asset.add_batch_definition_whole_table("all rows"),
            suite=context.suites.add(gx.ExpectationSuite(name=suite.name, expectations=list(suite.expectations))),
        )
    )


def _verdict(suite: Suite, result: Any) -> _Verdict:
    failed: list[Failure] = []
    warnings: list[Failure] = []
    rows: int | None = None
    for each in result.results:
        config = each.expectation_config
        details = each.result or {}
        if rows is None:
            rows = details.get("element_count")
        if not each.success:
            failure = Failure(_name(config, each.exception_info), config.type, config.kwargs)
            (failed if config.severity == "critical" else warnings).append(failure)
    return _Verdict(suite, len(result.results), tuple(failed), tuple(warnings), rows)


def _names(failures: Sequence[Failure]) -> list[str]:
    return [failure.name for failure in failures]


def _name(config: Any, exception_info: Mapping[str, Any]) -> str:
    columns = [config.kwargs[key] for key in ("column", "column_A", "column_B") if key in config.kwargs]
    name = f"{config.type}({', '.join(columns)})" if columns else str(config.type)
    # The text of an exception may hold a row; that there was one is enough to go and look.
    return f"{name} could not be evaluated" if _raised(exception_info) else name


def _raised(exception_info: Mapping[str, Any]) -> bool:
    """Either one answer, or one per metric."""
    if "raised_exception" in exception_info:
        return bool(exception_info["raised_exception"])
    return any(info.get("raised_exception") for info in exception_info.values() if isinstance(info, Mapping))


def _record(connection: Connection, verdicts: Sequence[_Verdict], run_id: str, at: datetime) -> None:
    with connection.transaction():
        check_ids = [_record_one(connection, verdict, run_id, at) for verdict in verdicts]
    # After the verdicts are safe, and each set of rows by itself: one that cannot be read takes no other with it.
    for verdict, check_id in zip(verdicts, check_ids, strict=True):
        failed_rows.keep(connection, verdict.suite, [*verdict.failed, *verdict.warnings], check_id=check_id, at=at)
    failed_rows.forget(connection, at=at)


def _record_one(connection: Connection, verdict: _Verdict, run_id: str, at: datetime) -> int:
    failed, warnings = _names(verdict.failed), _names(verdict.warnings)
    row = connection.execute(
        "insert into ops.quality_checks (run_id, suite, success, evaluated, failed, details, at)"
        " values (%s, %s, %s, %s, %s, %s, %s) returning check_id",
        [
            run_id,
            verdict.suite.name,
            not failed,
            verdict.evaluated,
            len(failed),
            Jsonb({"rows": verdict.rows, "failed": failed, "warnings": warnings}),
            at,
        ],
    ).fetchone()
    assert row is not None
    return int(row[0])
