"""The relay's worker with shorter waits; with `--unprotected` what keeps it from sending twice is taken out."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from datetime import datetime, timedelta

from lettertrail.clock import system_clock
from lettertrail.esps.port import Sent
from lettertrail.relay import outbox
from lettertrail.relay.__main__ import DSN, _until_told
from lettertrail.relay.accounts import read_accounts
from lettertrail.relay.route import Policy
from lettertrail.relay.worker import Relay, work

POLICY = Policy(attempts=40, first_wait=timedelta(seconds=0.2), traced_after=timedelta(seconds=5))


def unprotect() -> None:
    """A call without an answer is repeated like one that was refused for now, and so is that of a killed worker."""
    outcome, recover = outbox._outcome, outbox.Outbox.recover

    def hopeful(sent: Sent) -> str:
        return outcome(replace(sent, status="rejected", is_passing=True) if sent.status == "unknown" else sent)

    def hasty(self: outbox.Outbox, *, now: datetime) -> int:
        lost = recover(self, now=now)
        self._run("update ops.outbox set state = 'queued' where state = 'unknown'")
        return lost

    outbox._outcome = hopeful  # type: ignore[assignment]
    outbox.Outbox.recover = hasty  # type: ignore[method-assign]


def main() -> None:
    """Works until it is stopped."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if "--unprotected" in sys.argv:
        unprotect()
    work(Relay(os.environ[DSN], read_accounts(os.environ), system_clock, POLICY, threads=6), _until_told())


if __name__ == "__main__":
    main()
