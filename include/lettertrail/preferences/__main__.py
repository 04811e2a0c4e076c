"""`python -m lettertrail.preferences links.csv`: gives everybody links and writes them to a file.

For what no segment is pushed to: import the file where the letters are written. Reads LETTERTRAIL_SYNC_DSN (the
warehouse as the role lettertrail_sync), LETTERTRAIL_LINK_SECRETS and LETTERTRAIL_INBOX_URL. The file holds addresses,
and whoever has a link can choose for its address: it is made readable for its owner alone.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from lettertrail.clock import system_clock
from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.preferences.links import SECRETS, read_links
from lettertrail.preferences.roster import export_links, sign_links

log = logging.getLogger("lettertrail.preferences")

SYNC_DSN = "LETTERTRAIL_SYNC_DSN"


def main(arguments: list[str] | None = None) -> int:
    """The exit status is 0 when the file is written."""
    parser = argparse.ArgumentParser(prog="python -m lettertrail.preferences", description=__doc__)
    parser.add_argument("file", type=Path, help="CSV: email, preferences_url, unsubscribe_url")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        links = read_links(os.environ)
        dsn = os.environ.get(SYNC_DSN, "").strip()
        if links is None or not dsn:
            raise ConfigurationError(f"{SYNC_DSN if links else SECRETS} is not set")
        signed = sign_links(dsn, links, clock=system_clock)
        written = export_links(dsn, options.file)
    except LetterTrailError as error:
        log.error("%s", error)
        return 1
    log.info("%d links written; %d addresses are new, %d links were made", written, signed.added, signed.signed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
