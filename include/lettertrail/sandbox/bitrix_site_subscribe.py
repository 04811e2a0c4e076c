"""The old newsletter module of the sample site, `subscribe` (bitrix.md 3.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lettertrail.sandbox.bitrix_rows import Writer, by_column, local, moment
from lettertrail.sandbox.bitrix_site_users import CLUB
from lettertrail.sandbox.world import World

NEWS, SALES, GENERATED = 1, 2, 3
EVERY_NTH_PERSON = 10
SENT, FAILED, DRAFT = 1, 2, 3
DAY = np.timedelta64(86_400, "s")


def write_subscribe(writer: Writer, world: World, users: NDArray[np.int64]) -> None:
    """Writes rubrics, subscriptions and three issues with their addresses."""
    began = moment(world.started_at)
    writer.write(
        "b_list_rubric",
        by_column(
            "ID LID CODE NAME DESCRIPTION SORT ACTIVE AUTO DAYS_OF_WEEK TIMES_OF_DAY TEMPLATE LAST_EXECUTED VISIBLE",
            [
                (NEWS, "s1", "news", "Новости", "Раз в месяц", 100, "Y", "N", None, None, None, None, "Y"),
                (SALES, "s1", "", "Скидки &amp; акции", None, 200, "Y", "N", "", "", "", None, "Y"),
                (GENERATED, "s1", None, "Дайджест", "", 300, "N", "Y", "1,4", "05:00", "digest", str(began), "N"),
            ],
        ),
    )
    people = world.people[world.people["person"] % EVERY_NTH_PERSON == 0]
    number = np.arange(1, len(people) + 1)
    made = local(people["created_at"])
    # One left, one in seven never confirmed, one in eleven changed something; the last row repeats the first address.
    left = number % 5 == 0
    confirmed = number % 7 != 0
    changed = np.where(
        left | (number % 11 == 0), np.minimum(made + 40 * DAY, moment(world.ended_at) - DAY), np.datetime64("NaT")
    )
    emails = people["email_as_typed"].str.strip().tolist()
    account = users[people["person"].to_numpy()]
    owners: list[object] = [user or None for user in account.tolist()]
    writer.write(
        "b_subscription",
        {
            "ID": [*number.tolist(), len(people) + 1],
            "DATE_INSERT": [*made, made[0] + DAY],
            "DATE_UPDATE": [*changed.astype("datetime64[s]"), None],
            "USER_ID": [*owners, None if owners[0] else 1],
            "ACTIVE": [*("N" if gone else "Y" for gone in left), "Y"],
            "EMAIL": [*emails, emails[0]],
            "FORMAT": [*("html" if person % 3 else "text" for person in number.tolist()), "text"],
            "CONFIRM_CODE": [f"secret{person % 100:02d}" for person in range(len(people) + 1)],
            "CONFIRMED": [*("Y" if sure else "N" for sure in confirmed), "Y"],
            "DATE_CONFIRM": [*made, made[0] + DAY],
        },
    )
    chosen = number[~left]
    writer.write(
        "b_subscription_rubric",
        {
            "SUBSCRIPTION_ID": np.concatenate([chosen, chosen[chosen % 2 == 0]]),
            "LIST_RUBRIC_ID": [NEWS] * len(chosen) + [SALES] * int((chosen % 2 == 0).sum()),
        },
    )
    _write_issues(writer, world, list(zip(number[confirmed].tolist(), np.array(emails)[confirmed], strict=True)))


def _write_issues(writer: Writer, world: World, addresses: list[tuple[int, str]]) -> None:
    """One issue went well, one failed for some addresses, one is a draft that will go out some day."""
    at = moment(world.ended_at) - 90 * DAY
    writer.write(
        "b_posting",
        by_column(
            "ID TIMESTAMP_X STATUS VERSION DATE_SENT FROM_FIELD TO_FIELD EMAIL_FILTER SUBJECT BODY_TYPE BODY "
            "DIRECT_SEND CHARSET SUBSCR_FORMAT ERROR_EMAIL AUTO_SEND_TIME",
            [
                (SENT, str(at), "S", "2", str(at + np.timedelta64(300, "s")), "news@shop.example", None, None,
                 "Летние новости", "html", "<p>Здравствуйте!</p>\r\n<p>#UNSUBSCRIBE#</p>", "Y", "UTF-8", "html", "",
                 None),
                (FAILED, str(at + 30 * DAY), "E", None, str(at + 30 * DAY), "news@shop.example", "", "%@mail.example",
                 "Скидки недели 🔥", "text", "Скидки\tнедели\\месяца", "N", "windows-1251", None, addresses[0][1],
                 None),
                (DRAFT, str(at + 60 * DAY), "D", "2", None, "news@shop.example", None, None, "Черновик &quot;А&quot;",
                 "text", "", "Y", "UTF-8", None, None, "3000-01-01 00:00:00"),
            ],
        ),
    )  # fmt: skip
    rows: list[tuple[int, str, str, int | None]] = [(SENT, "N", email, number) for number, email in addresses]
    rows += [(FAILED, "E" if number % 4 == 0 else "N", email, number) for number, email in addresses]
    rows.append((FAILED, "Y", "by-hand@partner.example", None))
    writer.write("b_posting_email", by_column("POSTING_ID STATUS EMAIL SUBSCRIPTION_ID", rows))
    rubrics = [(SENT, NEWS), (FAILED, NEWS), (FAILED, SALES), (DRAFT, SALES)]
    writer.write("b_posting_rubric", by_column("POSTING_ID LIST_RUBRIC_ID", rubrics))
    writer.write("b_posting_group", by_column("POSTING_ID GROUP_ID", [(SENT, CLUB)]))
    writer.write("b_posting_file", by_column("POSTING_ID FILE_ID", [(SENT, 21)]))
