"""`python -m lettertrail status [--json]`: how the copy of the Bitrix site stands, and what was read back elsewhere.

`python -m lettertrail reference`: how somebody is named in the params of `erase_person` and `export_person`; reads the
address from standard input, because what stands on a command line stays in its history.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping

from lettertrail.audiences.audit import read_drift
from lettertrail.clock import system_clock
from lettertrail.erasure.keys import read_key
from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.status import as_json, as_text, audits_as_text, read_status

WAREHOUSE_DSN = "LETTERTRAIL_WAREHOUSE_DSN"
CONNECTIONS = ("AIRFLOW_CONN_WAREHOUSE_SYNC", "AIRFLOW_CONN_WAREHOUSE_LOADER")
"""Where a process of Airflow has it already, when its connections are URIs in the environment."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the exit status is 0 when it could answer."""
    parser = argparse.ArgumentParser(prog="lettertrail", description="Look at the warehouse.")
    commands = parser.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="rows, last load, lag, proof and notices of every copied table")
    status.add_argument("--dsn", help=f"postgresql://… of the warehouse (default: {WAREHOUSE_DSN})")
    status.add_argument("--json", action="store_true", help="for programs")
    commands.add_parser("reference", help="the keyed hash of an address or a number read from standard input")
    options = parser.parse_args(arguments)
    if options.command == "reference":
        return print_reference(sys.stdin.readline(), os.environ)
    try:
        now = system_clock()
        dsn = options.dsn or warehouse_dsn(os.environ)
        tables, audits = read_status(dsn, at=now), read_drift(dsn)
    except LetterTrailError as error:
        print(error, file=sys.stderr)
        return 1
    print(as_json(tables) if options.json else as_text(tables, at=now))
    if audits and not options.json:
        print(audits_as_text(audits, at=now))
    return 0


def print_reference(identifier: str, environ: Mapping[str, str]) -> int:
    """Prints the keyed hash, and what stands for the identifier once erased; the exit status is 1 without a key."""
    try:
        key = read_key(environ)
        print(key.reference(identifier))
        print(key.email(identifier) if "@" in identifier else key.phone(identifier))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def warehouse_dsn(environ: Mapping[str, str]) -> str:
    """The warehouse's address.

    Raises:
        ConfigurationError: it is nowhere in the environment.
    """
    for name in (WAREHOUSE_DSN, *CONNECTIONS):
        if environ.get(name, "").startswith("postgres"):
            return environ[name]
    raise ConfigurationError(f"where is the warehouse? Say --dsn postgresql://… or set {WAREHOUSE_DSN}")


if __name__ == "__main__":
    sys.exit(main())
