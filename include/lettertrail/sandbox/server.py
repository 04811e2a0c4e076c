"""Both sandbox services in one process, on two ports.

    SANDBOX_MAILCHIMP_KEY=…-us1 SANDBOX_BITRIX_SECRET=… SANDBOX_BITRIX_DSN=mysql://bitrix:…@127.0.0.1/sitemanager \\
        python -m lettertrail.sandbox.server --state .lettertrail/sandbox --world .lettertrail/world \\
        --mailchimp-port 8081 --bitrix-port 8082

With SANDBOX_BITRIX_CLIENT_ID and SANDBOX_BITRIX_CLIENT_SECRET the portal also lets an application in, whose first
refresh token may be given as SANDBOX_BITRIX_REFRESH_TOKEN.

The Mailchimp account is filled once from the world; a restart goes on with what is there. Exit status: 2 when an option
is missing, 1 when a port is taken or the site's database does not answer, 0 after SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from lettertrail.errors import ConfigurationError, LetterTrailError
from lettertrail.sandbox import bitrix_rest
from lettertrail.sandbox.bitrix_methods.batch import asks_for_change
from lettertrail.sandbox.bitrix_methods.entrance import WEBHOOK_SCOPES
from lettertrail.sandbox.bitrix_methods.limits import Limits
from lettertrail.sandbox.bitrix_methods.tokens import Application
from lettertrail.sandbox.esps import mailchimp
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled

log = logging.getLogger(__name__)

MAILCHIMP_KEY = re.compile(r"[0-9a-f]{32}-[a-z]+\d+")


@dataclass(frozen=True, slots=True)
class Options:
    """What the process was started with."""

    state: Path
    world: Path
    host: str
    mailchimp_port: int
    bitrix_port: int
    bitrix_dsn: str
    mailchimp_key: str
    bitrix_secret: str
    timezone: ZoneInfo
    limits: Limits
    application: Application | None


def read_options(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Reads the command line; the secrets may come from the environment and have no default.

    Exits with status 2 and a message when an option is missing or unusable.
    """
    parser = argparse.ArgumentParser(prog="python -m lettertrail.sandbox.server", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--state", type=Path, required=True, help="directory for the account's state and requests.jsonl"
    )
    parser.add_argument("--world", type=Path, required=True, help="directory that holds world.json")
    parser.add_argument("--mailchimp-port", type=int, required=True)
    parser.add_argument("--bitrix-port", type=int, required=True)
    parser.add_argument(
        "--bitrix-dsn",
        default=environ.get("SANDBOX_BITRIX_DSN"),
        help="mysql://user:password@host:port/database of the sample site",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--timezone", default="Europe/Moscow", help="the site's time zone (default: %(default)s)")
    parser.add_argument("--mailchimp-key", default=environ.get("SANDBOX_MAILCHIMP_KEY"))
    parser.add_argument("--bitrix-secret", default=environ.get("SANDBOX_BITRIX_SECRET"))
    parser.add_argument(
        "--bitrix-rate", type=float, default=Limits().drain_per_second, help="requests a second that drain"
    )
    parser.add_argument("--bitrix-burst", type=float, default=Limits().burst, help="requests at once before 503")
    parser.add_argument(
        "--bitrix-operating",
        type=float,
        default=Limits().operating_seconds,
        help="run time in seconds of one method in ten minutes before 429",
    )
    parser.add_argument("--bitrix-client-id", default=environ.get("SANDBOX_BITRIX_CLIENT_ID"))
    parser.add_argument("--bitrix-client-secret", default=environ.get("SANDBOX_BITRIX_CLIENT_SECRET"))
    parser.add_argument("--bitrix-refresh-token", default=environ.get("SANDBOX_BITRIX_REFRESH_TOKEN"))
    given = parser.parse_args(arguments)
    if not given.mailchimp_key:
        parser.error("no Mailchimp key: give --mailchimp-key or set SANDBOX_MAILCHIMP_KEY")
    if not MAILCHIMP_KEY.fullmatch(given.mailchimp_key):
        parser.error("the Mailchimp key must be 32 hexadecimal digits, a hyphen and a data centre such as us1")
    if not given.bitrix_dsn:
        parser.error("no database of the sample site: give --bitrix-dsn or set SANDBOX_BITRIX_DSN")
    if not given.bitrix_secret:
        parser.error("no Bitrix webhook secret: give --bitrix-secret or set SANDBOX_BITRIX_SECRET")
    if bool(given.bitrix_client_id) != bool(given.bitrix_client_secret):
        parser.error("an application needs both --bitrix-client-id and --bitrix-client-secret")
    if given.bitrix_refresh_token and not given.bitrix_client_id:
        parser.error("--bitrix-refresh-token is of no use without --bitrix-client-id and --bitrix-client-secret")
    try:
        timezone = ZoneInfo(given.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        parser.error(f"--timezone {given.timezone!r} is no time zone")
    return Options(
        state=given.state,
        world=given.world,
        host=given.host,
        mailchimp_port=given.mailchimp_port,
        bitrix_port=given.bitrix_port,
        bitrix_dsn=given.bitrix_dsn,
        mailchimp_key=given.mailchimp_key,
        bitrix_secret=given.bitrix_secret,
        timezone=timezone,
        limits=Limits(
            drain_per_second=given.bitrix_rate, burst=given.bitrix_burst, operating_seconds=given.bitrix_operating
        ),
        application=Application(
            given.bitrix_client_id, given.bitrix_client_secret, WEBHOOK_SCOPES, given.bitrix_refresh_token or None
        )
        if given.bitrix_client_id
        else None,
    )


def bind(host: str, port: int, *, option: str) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigurationError: naming the option when the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {host}:{port} ({error.strerror or error}); choose another {option}"
        ) from error
    return listener


def seed(options: Options, store: mailchimp.MailchimpStore) -> None:
    """Fills the account from `world.json`, the first time only.

    Raises:
        ConfigurationError: when the file is missing, unreadable, or names another world than the account holds.
    """
    path = options.world / "world.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        mark = mailchimp.WorldMark(
            seed=int(described["seed"]),
            scale=float(described["scale"]),
            as_of=date.fromisoformat(described["as_of"]),
        )
    except FileNotFoundError as error:
        raise ConfigurationError(f"--world holds no world.json ({path})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} must say seed, scale and as_of") from error
    if mailchimp.is_seeded(store, mark):
        return
    from lettertrail.sandbox.world import generate  # noqa: PLC0415  seconds of work, needed the first time only

    mailchimp.seed_mailchimp(generate(seed=mark.seed, scale=mark.scale, as_of=mark.as_of), store)


class _Protocol(H11Protocol):
    """Puts the transport into the scope's state, so that a fault can cut the connection."""

    def connection_made(self, transport: Any) -> None:
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """Leaves the signals to `serve`, which stops both services."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Runs one app on a free port in a thread, for tests; gives `http://127.0.0.1:<port>`."""
    listener = bind("127.0.0.1", 0, option="port")
    server = _Server(_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


def _config(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=_Protocol, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=5
    )


async def serve(services: Sequence[tuple[ASGIApp, socket.socket]]) -> None:
    """Runs until SIGTERM or SIGINT; requests under way may finish."""
    servers = [_Server(_config(app)) for app, _ in services]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await asyncio.gather(
        *(server.serve(sockets=[listener]) for server, (_, listener) in zip(servers, services, strict=True))
    )


def run(options: Options) -> None:
    """Starts both services and blocks until they are stopped.

    Raises:
        ConfigurationError: for a taken port, an unreadable world, or a site that does not answer.
    """
    options.state.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(bind(options.host, port, option=option))
            for port, option in (
                (options.mailchimp_port, "--mailchimp-port"),
                (options.bitrix_port, "--bitrix-port"),
            )
        ]
        store = mailchimp.MailchimpStore(options.state / "mailchimp.sqlite3")
        stack.callback(store.close)
        seed(options, store)
        rest = bitrix_rest.create_app(
            options.bitrix_dsn,
            secret=options.bitrix_secret,
            timezone=options.timezone,
            limits=options.limits,
            application=options.application,
            state=options.state / "bitrix_oauth.json",
        )
        stack.callback(rest.close)
        journal = Journal(options.state / "requests.jsonl")
        esp = mailchimp.create_app(store, api_key=options.mailchimp_key)
        stack.callback(esp.close)
        apps: list[ASGIApp] = [
            Journaled(
                Faults(esp, key=options.mailchimp_key),
                journal,
                service="mailchimp",
                is_write=mailchimp.asks_for_change,
                mask=lambda path: path,
            ),
            Journaled(
                Faults(rest, key=options.bitrix_secret),
                journal,
                service="bitrix",
                is_write=asks_for_change,
                mask=lambda path: re.sub(r"^(/rest/\d+/)[^/]+", r"\1***", path),
            ),
        ]
        log.info("sandbox: mailchimp on port %d, bitrix on port %d", options.mailchimp_port, options.bitrix_port)
        asyncio.run(serve(list(zip(apps, sockets, strict=True))))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    options = read_options(sys.argv[1:] if arguments is None else arguments, os.environ)
    try:
        run(options)
    except LetterTrailError as error:
        sys.stderr.write(f"sandbox: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
