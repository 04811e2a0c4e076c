"""All sandbox services in one process, each on a port of its own: the ESPs of `lettertrail.sandbox.twins` and Bitrix.

    SANDBOX_MAILCHIMP_KEY=…-us1 SANDBOX_BITRIX_SECRET=… SANDBOX_BITRIX_DSN=mysql://bitrix:…@127.0.0.1/sitemanager \\
        python -m lettertrail.sandbox.server --state .lettertrail/sandbox --world .lettertrail/world \\
        --mailchimp-port 8081 --bitrix-port 8082

An ESP is started when it is given a port; its secrets come from the environment (`--help` names the variables).
With SANDBOX_BITRIX_CLIENT_ID and SANDBOX_BITRIX_CLIENT_SECRET the portal also lets an application in, whose first
refresh token may be given as SANDBOX_BITRIX_REFRESH_TOKEN.

The ESP accounts are filled once from the world; a restart goes on with what is there. Exit status: 2 when an option
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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from lettertrail.sandbox.faults import Faults
from lettertrail.sandbox.journal import Journal, Journaled
from lettertrail.sandbox.state import SqliteState, WorldMark, is_filled
from lettertrail.sandbox.twins import TWINS, Twin

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """An ESP account to serve."""

    twin: Twin
    port: int
    secrets: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What the process was started with."""

    state: Path
    world: Path
    host: str
    accounts: tuple[Account, ...]
    bitrix_port: int
    bitrix_dsn: str
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
    for twin in TWINS:
        variables = " and ".join(twin.secrets.values())
        parser.add_argument(twin.option, type=int, help=f"serve {twin.title}, whose secrets are in {variables}")
    parser.add_argument("--bitrix-port", type=int, required=True)
    parser.add_argument(
        "--bitrix-dsn",
        default=environ.get("SANDBOX_BITRIX_DSN"),
        help="mysql://user:password@host:port/database of the sample site",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--timezone", default="Europe/Moscow", help="the site's time zone (default: %(default)s)")
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
    accounts = tuple(_accounts(parser, vars(given), environ))
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
        accounts=accounts,
        bitrix_port=given.bitrix_port,
        bitrix_dsn=given.bitrix_dsn,
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


def _accounts(
    parser: argparse.ArgumentParser, given: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[Account]:
    for twin in TWINS:
        port = given[f"{twin.name}_port"]
        if port is None:
            continue
        secrets = {name: environ.get(variable, "") for name, variable in twin.secrets.items()}
        missing = [twin.secrets[name] for name, value in secrets.items() if not value]
        if missing:
            parser.error(f"{twin.option} needs {' and '.join(missing)} in the environment")
        if twin.shape is not None and not twin.shape.fullmatch(secrets[twin.guard]):
            parser.error(f"{twin.secrets[twin.guard]} must look like {twin.shape.pattern}")
        yield Account(twin, port, secrets)


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


def read_mark(world: Path) -> WorldMark:
    """Which world lies there.

    Raises:
        ConfigurationError: when `world.json` is missing or unreadable.
    """
    path = world / "world.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        return WorldMark(
            seed=int(described["seed"]),
            scale=float(described["scale"]),
            as_of=date.fromisoformat(described["as_of"]),
        )
    except FileNotFoundError as error:
        raise ConfigurationError(f"--world holds no world.json ({path})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path} must say seed, scale and as_of") from error


def seed(stores: Iterable[tuple[Twin, SqliteState]], mark: WorldMark) -> None:
    """Fills the accounts that are empty.

    Raises:
        ConfigurationError: when one of them holds another world.
    """
    empty = [(twin, store) for twin, store in stores if not is_filled(store, mark, service=twin.title)]
    if not empty:
        return
    from lettertrail.sandbox.world import generate  # noqa: PLC0415  seconds of work, needed the first time only

    world = generate(seed=mark.seed, scale=mark.scale, as_of=mark.as_of)
    for twin, store in empty:
        twin.seed(world, store)


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
    """Starts the services and blocks until they are stopped.

    Raises:
        ConfigurationError: for a taken port, an unreadable world, or a site that does not answer.
    """
    options.state.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        ports = [(account.port, account.twin.option) for account in options.accounts]
        sockets = [
            stack.enter_context(bind(options.host, port, option=option))
            for port, option in (*ports, (options.bitrix_port, "--bitrix-port"))
        ]
        journal = Journal(options.state / "requests.jsonl")
        apps = [*_esps(options, journal, stack), _bitrix(options, journal, stack)]
        for account in options.accounts:
            log.info("sandbox: %s on port %d", account.twin.name, account.port)
        log.info("sandbox: bitrix on port %d", options.bitrix_port)
        asyncio.run(serve(list(zip(apps, sockets, strict=True))))


def _esps(options: Options, journal: Journal, stack: contextlib.ExitStack) -> list[ASGIApp]:
    stores = []
    for account in options.accounts:
        store = account.twin.store(options.state / f"{account.twin.name}.sqlite3")
        stack.callback(store.close)
        stores.append((account.twin, store))
    seed(stores, read_mark(options.world))
    apps: list[ASGIApp] = []
    for account, (twin, store) in zip(options.accounts, stores, strict=True):
        app = twin.app(store, **account.secrets)
        stack.callback(app.close)
        faulty = Faults(app, key=account.secrets[twin.guard])
        apps.append(
            Journaled(faulty, journal, service=twin.name, is_write=twin.asks_for_change, mask=lambda path: path)
        )
    return apps


def _bitrix(options: Options, journal: Journal, stack: contextlib.ExitStack) -> ASGIApp:
    rest = bitrix_rest.create_app(
        options.bitrix_dsn,
        secret=options.bitrix_secret,
        timezone=options.timezone,
        limits=options.limits,
        application=options.application,
        state=options.state / "bitrix_oauth.json",
    )
    stack.callback(rest.close)
    return Journaled(
        Faults(rest, key=options.bitrix_secret),
        journal,
        service="bitrix",
        is_write=asks_for_change,
        mask=lambda path: re.sub(r"^(/rest/\d+/)[^/]+", r"\1***", path),
    )


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
