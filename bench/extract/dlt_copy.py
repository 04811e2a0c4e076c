"""dlt's copy of one table, as fast as its settings allow. Run by the benchmark in an environment of its own.

Its `connectorx` backend hands Arrow batches to the extractor, which writes Parquet; the postgres destination loads
Parquet through ADBC. No load id is added, which would rewrite every file; files are split so that two load at a time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time

SETTINGS = {
    "RUNTIME__LOG_LEVEL": "ERROR",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false",
    # Never a divisor of the rows: an empty last file breaks its own loader.
    "DATA_WRITER__FILE_MAX_ITEMS": "600007",
    "LOAD__WORKERS": "2",
}


def main() -> None:
    """Copies the table once and prints the seconds and the peak memory as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, help="SQLAlchemy URL")
    parser.add_argument("--target", required=True, help="libpq URI")
    parser.add_argument("--table", required=True)
    parser.add_argument("--home", required=True, help="where dlt keeps its files")
    options = parser.parse_args()
    os.environ.update(SETTINGS)

    import dlt  # noqa: PLC0415  # it reads its settings when it is imported
    from dlt.sources.sql_database import sql_table  # noqa: PLC0415

    began = time.monotonic()
    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=options.home,
        destination=dlt.destinations.postgres(credentials=options.target),
        dataset_name="bench_dlt",
    )
    table = sql_table(
        credentials=options.source,
        table=options.table,
        backend="connectorx",
        reflection_level="full",
        backend_kwargs={"return_type": "arrow_stream", "batch_size": 100_000},
    )
    info = pipeline.run(table, write_disposition="replace", loader_file_format="parquet")
    info.raise_on_failed_jobs()
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak}) + "\n")


if __name__ == "__main__":
    main()
