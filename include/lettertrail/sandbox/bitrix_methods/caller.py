"""Who is calling, what there is to call, and what time it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lettertrail.sandbox.bitrix_methods.portal import Methods, Params, Portal, Reply, RestError, Row

FEATURES = ("rest_offline_extended",)
ALL_SCOPES = ("crm", "sale", "user", "user_brief", "user_basic", "userconsent")

methods = Methods()


@methods.on("user.current")
def current_user(portal: Portal, params: Params) -> Reply:
    """The user in whose name the caller acts."""
    user = _user(portal)
    return Reply({"ACTIVE": True, "USER_TYPE": "employee", "IS_ONLINE": "Y"} | user)


@methods.on("profile")
def profile(portal: Portal, params: Params) -> Reply:
    """The same in short, with the rights."""
    user = _user(portal)
    offset = portal.clock().astimezone(portal.shown_zone).utcoffset()
    return Reply(
        {
            "ID": user["ID"],
            "ADMIN": True,
            "NAME": user["NAME"],
            "LAST_NAME": user["LAST_NAME"],
            "PERSONAL_GENDER": "",
            "TIME_ZONE": str(portal.shown_zone),
            "TIME_ZONE_OFFSET": int(offset.total_seconds()) if offset is not None else 0,
        }
    )


def _user(portal: Portal) -> Row:
    with portal.database.transaction() as cursor:
        cursor.execute("select ID, NAME, LAST_NAME, EMAIL from b_user where ID = %s", (portal.user_id,))
        row = cursor.fetchone() or {"ID": portal.user_id, "NAME": "", "LAST_NAME": "", "EMAIL": ""}
    return {name: str(value or "") for name, value in row.items()}


@methods.on("scope")
def scope(portal: Portal, params: Params) -> Reply:
    """What the caller may use; with `full` all there is."""
    return Reply(list(ALL_SCOPES) if is_yes(params.get("full")) else sorted(portal.access.scopes))


@methods.on("server.time")
def server_time(portal: Portal, params: Params) -> Reply:
    """The portal's clock, with the site's offset."""
    return Reply(portal.clock().astimezone(portal.timezone).isoformat(timespec="seconds"))


@methods.on("app.info")
def app_info(portal: Portal, params: Params) -> Reply:
    """The application; a webhook learns its scopes and the plan."""
    shared: Row = {"SCOPE": sorted(portal.access.scopes), "LICENSE": "ru_project"}
    if portal.access.client_id is None:
        return Reply(shared)
    return Reply(
        {
            "ID": 1,
            "CODE": portal.access.client_id,
            "VERSION": 1,
            "STATUS": "L",
            "INSTALLED": True,
            "PAYMENT_EXPIRED": "N",
            "DAYS": None,
            "LANGUAGE_ID": "ru",
        }
        | shared
    )


@methods.on("feature.get")
def get_feature(portal: Portal, params: Params) -> Reply:
    """Whether the plan has a feature."""
    code = str(params.get("CODE", params.get("code")) or "")
    if not code:
        raise RestError("ERROR_ARGUMENT", "Argument 'CODE' is null or empty")
    return Reply({"value": "Y" if code in FEATURES else "N"})


def is_yes(value: Any) -> bool:
    """PHP's and Bitrix' ways to say yes in a query."""
    return str(value).lower() in {"1", "y", "true"}


def listers(names: Callable[[], Sequence[str]], scope_of: Callable[[str], frozenset[str]]) -> Methods:
    """`methods`, which lists those the caller may use, and `method.get`."""
    listing = Methods()

    @listing.on("methods")
    def list_methods(portal: Portal, params: Params) -> Reply:
        """Method names; with `full` all there are."""
        every = is_yes(params.get("full"))
        return Reply([name for name in [*names(), "batch"] if every or _may(portal, name)])

    @listing.on("method.get")
    def get_method(portal: Portal, params: Params) -> Reply:
        """Whether a method is there, and whether the caller may use it."""
        name = str(params.get("name") or "").lower()
        exists = name in {*names(), "batch"}
        return Reply({"isExisting": exists, "isAvailable": exists and _may(portal, name)})

    def _may(portal: Portal, name: str) -> bool:
        needed = scope_of(name)
        return not needed or bool(needed & portal.access.scopes)

    return listing
