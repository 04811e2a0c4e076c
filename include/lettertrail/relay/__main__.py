"""`python -m lettertrail.relay`: sends what is in the outbox until it is stopped (SIGTERM lets calls under way finish).

Reads LETTERTRAIL_RELAY_DSN (the warehouse as the role lettertrail_relay), LETTERTRAIL_RELAY_ACCOUNTS and their
connections, LETTERTRAIL_RELAY_ATTEMPTS and LETTERTRAIL_RELAY_KEEP_DAYS, and LETTERTRAIL_ERASURE_KEY, without which it
does not know who was erased. With an option it sends nothing: `--health`
says whether letters go out, `--held` lists those that are dead or that nobody can say of whether they went out,
`--release` lets some of them go once more, `--took` books some as sent.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import timedelta

from lettertrail.clock import system_clock
from lettertrail.erasure.keys import VARIABLE as ERASURE_KEY
from lettertrail.erasure.keys import read_key
from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.relay.accounts import read_accounts
from lettertrail.relay.desk import book_as_sent, held, is_healthy, release
from lettertrail.relay.route import Policy
from lettertrail.relay.worker import Relay, work
from lettertrail.throttle import share_buckets
from lettertrail.warehouse.rates import warehouse_buckets

log = logging.getLogger("lettertrail.relay")

DSN = "LETTERTRAIL_RELAY_DSN"
ATTEMPTS = "LETTERTRAIL_RELAY_ATTEMPTS"
KEEP_DAYS = "LETTERTRAIL_RELAY_KEEP_DAYS"


def main(arguments: list[str] | None = None) -> int:
    """Works until it is stopped, or does what an option says; the exit status is 0 when all went well."""
    parser = argparse.ArgumentParser(prog="python -m lettertrail.relay", description=__doc__)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--health", action="store_true", help="exit status 1 when letters wait that should be gone")
    parser.add_argument("--held", action="store_true", help="letters that wait for a decision")
    parser.add_argument("--release", type=int, nargs="+", metavar="NUMBER", help="send these once more")
    parser.add_argument("--took", type=int, nargs="+", metavar="NUMBER", help="these went out after all")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        dsn = os.environ.get(DSN, "").strip()
        if not dsn:
            raise ConfigurationError(f"{DSN} is not set: it is the warehouse, as the role lettertrail_relay")
        if options.health:
            return 0 if is_healthy(dsn, now=system_clock()) else 1
        if options.held:
            for line in held(dsn):
                sys.stdout.write(f"{line}\n")
        elif options.release or options.took:
            done = release(dsn, options.release or (), now=system_clock())
            done += book_as_sent(dsn, options.took or (), now=system_clock())
            log.info("%d letters changed", done)
        else:
            share_buckets(warehouse_buckets(dsn))
            accounts = read_accounts(os.environ)
            work(Relay(dsn, accounts, system_clock, _policy(os.environ), options.threads), _until_told())
    except LetterTrailError as error:
        log.error("%s", error)
        return 1
    return 0


def _until_told() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _policy(environ: Mapping[str, str]) -> Policy:
    policy = Policy()
    return Policy(
        attempts=_whole(environ, ATTEMPTS, policy.attempts),
        keep_letters=timedelta(days=_whole(environ, KEEP_DAYS, policy.keep_letters.days)),
        pseudonym=read_key(environ).email if environ.get(ERASURE_KEY, "").strip() else policy.pseudonym,
    )


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ConfigurationError(f"{name} is {text!r}; say a whole number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
