"""DuckDB's side of the comparison, in an environment of its own: a plan as JSON from stdin, figures as JSON to stdout.

The plan: `inputs` (table → column definitions and CSV file), `steps` (table → select), `threads`, `memory`, `runs` and
`sums` (what to ask of the last table, to see that both engines gave the same). Reading the files is not timed, and
neither is the checkpoint, as it is not in PostgreSQL.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import duckdb


def main() -> None:
    """Runs the plan."""
    plan = json.load(sys.stdin)
    connection = duckdb.connect(plan["database"])
    connection.execute(f"set threads = {plan['threads']}")
    connection.execute(f"set memory_limit = '{plan['memory']}'")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set preserve_insertion_order = false")
    for table, source in plan["inputs"].items():
        connection.execute(f"create or replace table {table} ({source['columns']})")
        connection.execute(f"copy {table} from '{source['file']}' (format csv, header true, nullstr '', quote '\"')")
    seconds: list[float] = []
    for _ in range(plan["runs"]):
        for table in plan["steps"]:
            connection.execute(f"drop table if exists {table}")
        connection.execute("checkpoint")
        began = time.monotonic()
        for table, select in plan["steps"].items():
            connection.execute(f"create table {table} as {select}")
        seconds.append(time.monotonic() - began)
    sums = connection.execute(plan["sums"]).fetchone() or ()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "sums": [float(value) for value in sums], "peak_mb": peak}) + "\n")


if __name__ == "__main__":
    main()
