"""`python -m lettertrail.inbox`: the receiver by itself, under uvicorn.

Reads LETTERTRAIL_INBOX_DSN, LETTERTRAIL_INBOX_ACCOUNTS and LETTERTRAIL_INBOX_URL. Two options receive nothing:
`--reprocess-parked` has parked deliveries read again, once an adapter was mended, and `--forget` deletes old ones. They
need LETTERTRAIL_LOADER_DSN, the warehouse as the role lettertrail_loader.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import timedelta

import uvicorn

from lettertrail.clock import system_clock
from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.inbox.app import create_app
from lettertrail.inbox.process import forget_deliveries, process_deliveries, reopen_parked

log = logging.getLogger("lettertrail.inbox")

LOADER_DSN = "LETTERTRAIL_LOADER_DSN"


def main(arguments: list[str] | None = None) -> int:
    """Receives until it is stopped, or does what an option says; the exit status is 0 when all went well."""
    parser = argparse.ArgumentParser(prog="python -m lettertrail.inbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--reprocess-parked", nargs="?", const="", metavar="ACCOUNT", help="of one account, or of all")
    parser.add_argument("--forget", type=int, metavar="DAYS", help="delete what was read and is older than this")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        if options.reprocess_parked is not None:
            return _read_parked_again(_loader_dsn(), options.reprocess_parked or None)
        if options.forget is not None:
            return _forget(_loader_dsn(), timedelta(days=options.forget))
        create_app()  # a wrong setting is told here, once, and not by every worker
    except LetterTrailError as error:
        log.error("%s", error)
        return 1
    # No access log: addresses hold tokens. No websockets: an upgrade is a request like any other.
    uvicorn.run(
        "lettertrail.inbox.app:create_app", factory=True, host=options.host, port=options.port,
        workers=options.workers, loop="uvloop", http="httptools", ws="none", access_log=False,
        server_header=False, date_header=False, proxy_headers=False, log_level="warning",
        timeout_graceful_shutdown=5,
    )  # fmt: skip
    return 0


def _read_parked_again(dsn: str, account: str | None) -> int:
    reopened = reopen_parked(dsn, account=account)
    run_id = f"inbox-reprocess-{system_clock():%Y%m%dT%H%M%SZ}"
    results = process_deliveries(dsn, run_id=run_id, clock=system_clock)
    still_parked = sum(result.parked for result in results)
    log.info("%d parked deliveries read again by run %s, %d parked now", reopened, run_id, still_parked)
    return 0


def _forget(dsn: str, age: timedelta) -> int:
    log.info("%d deliveries forgotten", forget_deliveries(dsn, before=system_clock() - age))
    return 0


def _loader_dsn() -> str:
    dsn = os.environ.get(LOADER_DSN, "").strip()
    if not dsn:
        raise ConfigurationError(f"{LOADER_DSN} is not set: it is the warehouse, as the role lettertrail_loader")
    return dsn


if __name__ == "__main__":
    sys.exit(main())
