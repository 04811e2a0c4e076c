"""Groups, memberships and the service accounts of the sample site (bitrix.md 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lettertrail.sandbox import php
from lettertrail.sandbox.bitrix_refusals import EMPLOYEES
from lettertrail.sandbox.bitrix_rows import ZERO_DATE, ZERO_DATETIME, Writer, by_column, local, moment
from lettertrail.sandbox.world import World

ADMINISTRATORS, EVERYBODY, REGISTERED, CLUB, STAFF = range(1, 6)
SERVICES = ("bot", "email", "imconnector", "sale", "saleanonymous", "shop", "replica")
"""`b_user.EXTERNAL_AUTH_ID` of accounts that are nobody."""
EVERY_NTH_CLUB = 5


def write_groups(writer: Writer, world: World, users: NDArray[np.int64]) -> None:
    """Writes user groups, who is in them and until when, and accounts that stand for a service."""
    began = str(moment(world.started_at))
    policy = php.serialize({"SESSION_TIMEOUT": 24, "MAX_STORE_NUM": 10, "PASSWORD_LENGTH": 6, "ПРАВИЛО": "да"})
    writer.write(
        "b_group",
        by_column(
            "ID TIMESTAMP_X C_SORT ANONYMOUS IS_SYSTEM NAME DESCRIPTION SECURITY_POLICY STRING_ID",
            [
                (ADMINISTRATORS, began, 1, "N", "Y", "Администраторы", "Полный доступ", policy, None),
                (EVERYBODY, None, 2, "Y", "Y", "Все пользователи (в том числе неавторизованные)", "", None, ""),
                (REGISTERED, began, 3, "N", "Y", "Зарегистрированные", None, "a:0:{}", "REGISTERED_USERS"),
                (CLUB, began, 100, "N", "N", "Клуб &quot;Вершина&quot;", None, "", "club"),
                (STAFF, began, 50, "N", "N", "Сотрудники", None, None, "EMPLOYEES"),
            ],
        ),
    )
    _write_members(writer, world, users)
    _write_service_accounts(writer, world, users)


def _write_members(writer: Writer, world: World, users: NDArray[np.int64]) -> None:
    """Club memberships last a year: some ended without any row change, one has no beginning that can be read."""
    staff = list(range(2, len(EMPLOYEES) + 2))
    person = np.flatnonzero(users)
    everyone = users[person].tolist()
    club = [place for place, user in enumerate(everyone) if user % EVERY_NTH_CLUB == 0]
    joined = local(world.people["created_at"])[person - 1]
    since: list[object] = [joined[place] for place in club]
    until: list[object] = [joined[place] + np.timedelta64(365, "D") for place in club]
    if club:
        since[0] = ZERO_DATETIME
        until[-1] = None
    rest = 1 + len(staff) + len(everyone)
    writer.write(
        "b_user_group",
        {
            "USER_ID": [1, *staff, *everyone, *(everyone[place] for place in club)],
            "GROUP_ID": [ADMINISTRATORS, *[STAFF] * len(staff), *[REGISTERED] * len(everyone), *[CLUB] * len(club)],
            "DATE_ACTIVE_FROM": [*[None] * rest, *since],
            "DATE_ACTIVE_TO": [*[None] * rest, *until],
        },
    )


def _write_service_accounts(writer: Writer, world: World, users: NDArray[np.int64]) -> None:
    """They look like people but for EXTERNAL_AUTH_ID; their secrets look like those of everybody else.

    A deleted person's account is kept too, blocked and with dates that nobody can read.
    """
    first = max(int(users.max()), 1 + len(EMPLOYEES)) + 1
    at = moment(world.started_at)
    count = len(SERVICES) + 1
    writer.write(
        "b_user",
        {
            "ID": list(range(first, first + count)),
            "TIMESTAMP_X": [*[str(at)] * len(SERVICES), None],
            "LOGIN": [*(f"{service}_1" for service in SERVICES), "former"],
            "PASSWORD": [f"$6$secret-password-{place}" for place in range(count)],
            "CHECKWORD": [f"secret-checkword-{place}" for place in range(count)],
            "STORED_HASH": [f"secret-stored-hash-{place}" for place in range(count)],
            "CONFIRM_CODE": [f"secret{place:02d}" for place in range(count)],
            "ACTIVE": [*["Y"] * len(SERVICES), "N"],
            "BLOCKED": [*["N"] * len(SERVICES), "Y"],
            "NAME": [*["Сервис 🤖"] * len(SERVICES), ""],
            "EMAIL": [*(f"{service}@service.example" for service in SERVICES), "Former@Shop.example"],
            "EXTERNAL_AUTH_ID": [*SERVICES, None],
            "LAST_LOGIN": [*[None] * len(SERVICES), ZERO_DATETIME],
            "PERSONAL_BIRTHDAY": [*[None] * len(SERVICES), ZERO_DATE],
            "PERSONAL_GENDER": [*[None] * len(SERVICES), ""],
            "DATE_REGISTER": str(at),
            "LAST_ACTIVITY_DATE": [str(at + np.timedelta64(place, "D")) for place in range(count)],
            "LID": "s1",
            "TIME_ZONE": [*[""] * len(SERVICES), "Asia/Vladivostok"],
            "TIME_ZONE_OFFSET": [*[None] * len(SERVICES), 25_200],
        },
    )
