"""A door: Great Expectations suites that must hold before the next leg may start.

Everything Great Expectations needs lives in memory, except Data Docs (static HTML under `<gx_root>/<door>/`). It
phones nobody. The connection string is substituted at run time, and results carry counts only, so neither the
password nor a single address can end in a page, a log or an error.
"""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from lettertrail.clock import Clock
from lettertrail.errors import ConfigurationError, QualityGateFailed
from lettertrail.expectations import raw_bitrix, raw_esp, segments
from lettertrail.expectations.suite import Suite
from lettertrail.warehouse.connect import Connection, connect

log = logging.getLogger(__name__)

SuiteMaker = Callable[[Connection, datetime], list[Suite]]

DOORS: Mapping[str, SuiteMaker] = {
    "raw_bitrix": raw_bitrix.suites,
    "raw_esp": raw_esp.suites,
    "segments": segments.suites,
}

COUNTS_ONLY = {"result_format": "SUMMARY", "partial_unexpected_count": 0, "exclude_unexpected_values": True}
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
    suite: str
    evaluated: int
    failed: tuple[str, ...]
    warnings: tuple[str, ...]
    rows: int | None


def check_door(
    door: str,
    *,
    warehouse_dsn: str,
    gx_root: Path,
    run_id: str,
    clock: Clock,
    suites: Sequence[Suite] | None = None,
) -> DoorResult:
    """Runs the suites of a door, writes Data Docs and one row per suite to `ops.quality_checks`.

    `suites` replace those of the door's own module.

    Raises:
        QualityGateFailed: naming suites and expectations, never values.
        ConfigurationError: there is no such door.
        ContractError: a relation the suites read is missing.
    """
    if door not in DOORS:
        raise ConfigurationError(f"there is no door {door!r}; choose from {', '.join(DOORS)}")
    at = clock()
    with connect(warehouse_dsn, purpose=f"door {door}", autocommit=True) as connection:
        chosen = DOORS[door](connection, at) if suites is None else list(suites)
        docs = gx_root / door
        verdicts = _validate(door, chosen, warehouse_dsn, docs)
        _record(connection, verdicts, run_id, at)
    failed = [f"{verdict.suite}: {', '.join(verdict.failed)}" for verdict in verdicts if verdict.failed]
    warnings = tuple(f"{verdict.suite}: {name}" for verdict in verdicts for name in verdict.warnings)
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


def _validate(door: str, suites: Sequence[Suite], warehouse_dsn: str, docs: Path) -> list[_Verdict]:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the package is imported
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # hundreds of lines about itself otherwise
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.checkpoint.actions import UpdateDataDocsAction  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    new_docs = docs.with_name(f"{docs.name}.new")
    shutil.rmtree(new_docs, ignore_errors=True)
    new_docs.mkdir(parents=True)
    context = _context(warehouse_dsn, new_docs)
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
        gx.Checkpoint(
            name=door,
            validation_definitions=definitions,
            result_format=COUNTS_ONLY,
            actions=[UpdateDataDocsAction(name="data_docs")],
        )
    )
    results = checkpoint.run().run_results.values()
    shutil.rmtree(docs, ignore_errors=True)
    new_docs.rename(docs)
    return [_verdict(result) for result in results]


def _context(warehouse_dsn: str, docs: Path) -> Any:
    import great_expectations as gx  # noqa: PLC0415
    from great_expectations.data_context.types.base import (  # noqa: PLC0415
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    _, separator, rest = warehouse_dsn.partition("://")
    if not separator:
        raise ConfigurationError("connection `warehouse` is no libpq URI")
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
            data_docs_sites={
                "local": {
                    "class_name": "SiteBuilder",
                    "show_how_to_buttons": False,
                    "store_backend": {
                        "class_name": "TupleFilesystemStoreBackend",
                        "base_directory": str(docs),
                    },
                    "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
                }
            },
        ),
        runtime_environment={_DSN_VARIABLE: f"postgresql+psycopg://{rest}"},
    )


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


def _verdict(result: Any) -> _Verdict:
    failed: list[str] = []
    warnings: list[str] = []
    rows: int | None = None
    for each in result.results:
        config = each.expectation_config
        details = each.result or {}
        if rows is None:
            rows = details.get("element_count")
        if not each.success:
            (failed if config.severity == "critical" else warnings).append(_name(config, each.exception_info))
    return _Verdict(result.suite_name, len(result.results), tuple(failed), tuple(warnings), rows)


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
        connection.cursor().executemany(
            "insert into ops.quality_checks (run_id, suite, success, evaluated, failed, details, at)"
            " values (%s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    run_id,
                    verdict.suite,
                    not verdict.failed,
                    verdict.evaluated,
                    len(verdict.failed),
                    Jsonb({"rows": verdict.rows, "failed": verdict.failed, "warnings": verdict.warnings}),
                    at,
                )
                for verdict in verdicts
            ],
        )
