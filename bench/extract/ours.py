"""LetterTrail's side, one step in a fresh process: `python -m bench.extract.ours full|increment|verify`.

Prints the seconds, the peak memory and what was done as JSON. The clock starts after the imports, as dlt's does.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any
from zoneinfo import ZoneInfo

from lettertrail.bitrix.catalog import TableEntry, load_catalog
from lettertrail.bitrix.sql import SqlSource
from lettertrail.clock import system_clock
from lettertrail.warehouse.load import load_table
from lettertrail.warehouse.verify import verify_table

TABLE = "b_sender_posting_recipient"


def entry_of(table: str) -> TableEntry:
    """The catalogue's own entry, with the rules that a site is read by."""
    return next(entry for entry in load_catalog() if entry.name == table)


def step(what: str, source: SqlSource, warehouse_dsn: str) -> dict[str, Any]:
    """Does one thing to the recipients and says what came of it."""
    options: dict[str, Any] = {"run_id": f"bench {what}", "clock": system_clock}
    if what == "verify":
        found = verify_table(source, entry_of(TABLE), warehouse_dsn, **options)
        return {"differing": found.differing, "proven": found.proven_at is not None, "read": found.repair.read}
    if what == "postings":
        # The hourly comparison looks at the copied postings, to know which of them still move.
        result = load_table(source, entry_of("b_sender_posting"), warehouse_dsn, **options)
        return {"read": result.read}
    # The first load of a table is its full copy: planned, copied range by range, finished.
    result = load_table(source, entry_of(TABLE), warehouse_dsn, **options)
    return {"read": result.read, "inserted": result.inserted, "updated": result.updated, "deleted": result.deleted}


def main() -> None:
    """Runs one step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["full", "postings", "increment", "verify"])
    parser.add_argument("--source", required=True)
    parser.add_argument("--target", required=True)
    options = parser.parse_args()
    source = SqlSource(options.source, ZoneInfo("Europe/Moscow"))
    began = time.monotonic()
    try:
        done = step(options.what, source, options.target)
    finally:
        source.close()
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak, **done}) + "\n")


if __name__ == "__main__":
    main()
