"""Run-time configuration, read from the environment in one place.

Secrets are not here: they live in Airflow connections (`warehouse`, `bitrix`, `bitrix24`, `mailchimp`, …).
Modelling choices are not here either: they are dbt vars, explained in `dbt_project/dbt_project.yml`.
`.env.example` lists every variable with its meaning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lettertrail.errors import ConfigurationError

PROJECT_ROOT = Path(__file__).resolve().parents[2]
DBT_PROJECT_DIR = PROJECT_ROOT / "dbt_project"
BITRIX_SOURCES_FILE = DBT_PROJECT_DIR / "models" / "staging" / "bitrix" / "_bitrix__sources.yml"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; build it with `Settings.from_env()`."""

    state_dir: Path
    """Where run-time files live: Data Docs, the report, the demo's databases."""
    source_timezone: ZoneInfo
    """The zone the Bitrix site's PHP runs in; its database times are naive in it."""
    allowed_hosts: tuple[str, ...]
    """Outbound hosts permitted besides those each ESP adapter declares (`host` or `host:port`)."""
    dry_run: bool
    """When true, pushes are planned and recorded but not sent."""
    esp_accounts: tuple[str, ...] | None
    """Connection ids of the ESP accounts to ingest; None means one per adapter, named after it."""
    bitrix_conn: str = "bitrix"
    """Connection the Bitrix tables are read through: the site's database, a replica of it, or a Bitrix24 portal."""
    source_parallel: int = 2
    """Tasks that read from the Bitrix site at the same time."""
    follow_ups_per_day: int = 10
    """New to-dos for one manager in 24 hours; 0 makes none."""
    bitrix_sites: tuple[str, ...] = ()
    """Connection ids of self-hosted sites with our handler, whose sender module is told whom not to mail."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Reads `LETTERTRAIL_*` variables.

        Raises:
            ConfigurationError: naming the variable that cannot be used.
        """
        env = os.environ if environ is None else environ
        accounts = _words(env.get("LETTERTRAIL_ESP_ACCOUNTS", ""))
        return cls(
            state_dir=Path(env.get("LETTERTRAIL_STATE_DIR", str(PROJECT_ROOT / ".lettertrail"))),
            source_timezone=_zone(env.get("LETTERTRAIL_SOURCE_TIMEZONE", "Europe/Moscow")),
            allowed_hosts=_words(env.get("LETTERTRAIL_ALLOWED_HOSTS", "")),
            dry_run=_flag("LETTERTRAIL_DRY_RUN", env.get("LETTERTRAIL_DRY_RUN", "true")),
            esp_accounts=accounts or None,
            bitrix_conn=env.get("LETTERTRAIL_BITRIX_CONN", "").strip() or "bitrix",
            source_parallel=_whole("LETTERTRAIL_SOURCE_PARALLEL", env.get("LETTERTRAIL_SOURCE_PARALLEL", "2")),
            follow_ups_per_day=_whole(
                "LETTERTRAIL_FOLLOW_UPS_PER_DAY", env.get("LETTERTRAIL_FOLLOW_UPS_PER_DAY", "10"), least=0
            ),
            bitrix_sites=_words(env.get("LETTERTRAIL_BITRIX_SITES", "")),
        )


def read_object(variable: str, text: str, *, holds: str = "") -> Mapping[str, Any]:
    """The object in a variable that is JSON, or the path of a file with it; `holds` says what should be in it.

    Raises:
        ConfigurationError: naming the variable, never what it holds.
    """
    try:
        read = json.loads(text if text.startswith("{") else Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"{variable} is no JSON and names a file that cannot be read: {error.strerror}"
        ) from None
    except ValueError:
        raise ConfigurationError(f"{variable} is neither JSON nor the path of a file with JSON") from None
    if not isinstance(read, Mapping):
        raise ConfigurationError(f"{variable} must hold an object{holds and f': {holds}'}")
    return read


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(f"LETTERTRAIL_SOURCE_TIMEZONE is {name!r}, which is no time zone") from error


def _whole(variable: str, text: str, *, least: int = 1) -> int:
    if not text.strip().isascii() or not text.strip().isdigit() or int(text) < least:
        raise ConfigurationError(f"{variable} is {text!r}; say a whole number, {least} or more")
    return int(text)


def _flag(variable: str, text: str) -> bool:
    match text.strip().lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise ConfigurationError(f"{variable} is {text!r}; say true or false")
