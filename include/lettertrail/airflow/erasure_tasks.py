"""The task bodies of erasing and telling what is known: counts in, counts out, as in `tasks.py`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lettertrail.airflow.accounts import WAREHOUSE_ERASER, WAREHOUSE_LOADER, WAREHOUSE_SYNC
from lettertrail.airflow.tasks import run_label
from lettertrail.clock import system_clock
from lettertrail.settings import Settings

log = logging.getLogger(__name__)


def keep_erased() -> dict[str, int]:
    """Erases again what loads brought back of people who were erased; gives table → rows."""
    from lettertrail.airflow.accounts import esp_conn_ids
    from lettertrail.airflow.connections import esp_account, share_rates, warehouse_dsn
    from lettertrail.erasure.keep import is_anybody_erased
    from lettertrail.erasure.keep import keep_erased as keep
    from lettertrail.erasure.keys import read_key

    if not is_anybody_erased(warehouse_dsn(WAREHOUSE_LOADER)):
        log.info("nobody was ever erased here: nobody to keep away")
        return {}
    key = read_key(os.environ)
    share_rates(WAREHOUSE_LOADER)
    in_use = set(esp_conn_ids())
    return keep(
        warehouse_dsn(WAREHOUSE_ERASER),
        key,
        lambda account: esp_account(account) if account in in_use else None,
        run_id=run_label(),
        clock=system_clock,
    )


def plan_erasure(person: str) -> dict[str, Any]:
    """Counts what an erasure would touch."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.erasure.erase import plan_erasure as plan
    from lettertrail.erasure.keys import read_key

    return asdict(plan(warehouse_dsn(WAREHOUSE_ERASER), read_key(os.environ), person, clock=system_clock))


def ask_about_erasure(planned: dict[str, Any], case: str, *, dry_run: bool) -> list[dict[str, str]]:
    """The question; skipped in a dry run."""
    from airflow.sdk.exceptions import AirflowSkipException

    if dry_run:
        raise AirflowSkipException("a dry run: what would be erased is in the result of the task `plan`")
    cards = ", ".join(f"{number} × {kind}" for kind, number in planned["cards"].items() if number) or "none"
    places = "\n".join(f"| {table} | {rows} |" for table, rows in planned["places"].items())
    return [
        {
            "subject": f"Erase a person for good (case {case})?",
            "body": f"{planned['addresses']} addresses, {planned['numbers']} telephone numbers; cards: {cards}. "
            "They are deleted at every e-mail service, emptied in Bitrix and pseudonymised here. This cannot be undone."
            f"\n\n| table | rows |\n|---|---|\n{places}",
        }
    ]


def erase_person(person: str, case: str, answers: Iterable[dict[str, Any]], *, in_bitrix: bool) -> dict[str, Any]:
    """Erases a person everywhere; skipped when nothing is left of them.

    Args:
        answers: of the task that asked, one.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    from lettertrail.airflow.accounts import esp_conn_ids, site_conn_ids
    from lettertrail.airflow.connections import bitrix_rest, bitrix_site, esp_account, share_rates, warehouse_dsn
    from lettertrail.bitrix.rest_people import BitrixPeople
    from lettertrail.erasure.erase import Approval
    from lettertrail.erasure.erase import erase_person as erase
    from lettertrail.erasure.keys import read_key
    from lettertrail.erasure.tell import Others

    (answer,) = answers

    share_rates(WAREHOUSE_SYNC)
    erased = erase(
        warehouse_dsn(WAREHOUSE_ERASER),
        read_key(os.environ),
        person,
        Others(
            [esp_account(conn_id) for conn_id in esp_conn_ids()],
            [bitrix_site(conn_id) for conn_id in site_conn_ids()],
            BitrixPeople(bitrix_rest()) if in_bitrix else None,
        ),
        case=case,
        approval=Approval(answer["approved_by"], datetime.fromisoformat(answer["approved_at"])),
        run_id=run_label(),
        clock=system_clock,
    )
    if erased is None:
        raise AirflowSkipException("erased before, and nothing came back")
    return asdict(erased)


def export_person(person: str) -> dict[str, Any]:
    """Writes what is known about a person into a file below the state directory."""
    from lettertrail.airflow.connections import warehouse_dsn
    from lettertrail.erasure.export import export_person as export
    from lettertrail.erasure.keys import read_key

    directory = Settings.from_env().state_dir / "exports"
    return asdict(export(warehouse_dsn(WAREHOUSE_ERASER), read_key(os.environ), person, directory, clock=system_clock))
