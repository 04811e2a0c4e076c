"""One deal through everything that happens to deals, an increment a step, its credits worked out by hand.

Two people, Ann and Bea, who turn out to be one. Days count from the end of the sample world:

    -100  Ann clicks in letter A          -80  Ann's deal is made              -30  a euro is worth 100
     -93  Bea clicks in letter C          -79  a click of Ann's in letter B    -25  Ann's deal in euros is made
     -92  Bea becomes a lead                   that arrives late               -20  it is won; so is the first deal
     -86  Ann clicks in letter B          -61  Ann's order, paid on -60        -11  the first deal is won again

Clicks are seven days apart, which is the half-life of time decay, or a multiple of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from tests.dbt.conftest import Built, copy_of_the_built
from tests.dbt.dbt_runs import RUN_AT, RepeatedDbt, new_load
from tests.dbt.independent import figures
from tests.dbt.marts_agree import credits_agree
from tests.dbt.test_credits import KEPT

from lettertrail.warehouse.embedded import EmbeddedPostgres

END = datetime.fromisoformat(RUN_AT)
ANN, BEA = 9_000_001, 9_000_002
"""Ids of theirs in every table; the first deal, order and payment are Ann's, the lead is Bea's."""
EUROS, RATE, SECOND_PAYMENT, REFUND = 9_000_002, 9_000_001, 9_000_002, 9_000_003
FIRST_LETTER = 9_000_001
"""Those of A, B and C follow each other."""
LATE_CLICK = 9_000_004
DEAL, MADE = f"deal_won:{ANN}", f"deal_created:{ANN}"
EURO_DEAL, EURO_MADE = f"deal_won:{EUROS}", f"deal_created:{EUROS}"
PAID, PLACED = f"order_paid:{ANN}", f"order_placed:{ANN}"
LEAD = f"lead_created:{BEA}"
ALL = (DEAL, MADE, EURO_DEAL, EURO_MADE, PAID, PLACED, LEAD)

FROM_CARDS = (
    *("int_currency_rates", "int_deals", "int_orders", "int_conversions", "int_conversion_changes"),
    *("int_conversion_inputs", "int_touches_ranked", "fct_attribution_ledger", "fct_letter_conversions"),
)
FROM_RAW = (
    "+fct_attribution_credits,path:models/intermediate",
    "+fct_attribution_credits,path:models/marts",
    "fct_letter_conversions",
)

Answer = dict[str, str]
"""Model → `letter:amount` of each touch in order; empty for what is no conversion."""
Row = dict[str, Any]


TOLD = """
    select * from marts.fct_attribution_ledger
    where conversion_id = %s
        and case when %s::timestamptz is null then valid_to is null
            else valid_from <= %s and (valid_to > %s or valid_to is null) end
    order by model, touch_index
"""


def site_time(day: float) -> datetime:
    """A time of that day as the site writes it."""
    return (END + timedelta(days=day)).replace(tzinfo=None)


@dataclass
class History:
    """A warehouse, what happens in it day by day, and when."""

    repeated: RepeatedDbt
    letters: dict[str, str] = field(default_factory=dict)
    """Letter id → the name it has here."""
    moments: dict[str, datetime] = field(default_factory=dict)
    """Step → its run time."""
    open_then: dict[str, dict[str, Answer]] = field(default_factory=dict)
    """Step → conversion → today's answer on that day."""

    def rows(self, query: str, *values: object) -> list[Row]:
        """All rows of a query."""
        with psycopg.connect(self.repeated.dsn, row_factory=dict_row) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def run(self, step: str, *models: str) -> None:
        """The build of a new day."""
        self.moments[step] = END + timedelta(days=1 + len(self.moments))
        self.repeated.run(*models, run_at=self.moments[step].isoformat())

    def told(self, conversion: str, step: str | None = None) -> Answer:
        """What the ledger says of a conversion, or said after a step."""
        at = self.moments[step] if step else None
        found: dict[str, list[str]] = {}
        for row in self.rows(TOLD, conversion, at, at, at):
            name = self.letters[row["letter_id"]] if row["letter_id"] else row["no_touch_reason"]
            found.setdefault(row["model"], []).append(f"{name}:{row['amount']}")
        return {model: " ".join(parts) for model, parts in found.items()}

    def restated(self, step: str) -> set[str]:
        """Conversions about which something else is said since a step; those of the sample world among them."""
        at = self.moments[step]
        return {
            row["conversion_id"]
            for row in self.rows(
                "select conversion_id from marts.fct_attribution_ledger where valid_from = %s or valid_to = %s", at, at
            )
        }


class Site:
    """Rows that a load brings or changes; what is not said is as in the table's first row."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.load = new_load(connection)

    def put(self, table: str, **values: object) -> None:
        """A new row."""
        told = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
        where = sql.Identifier("raw_bitrix", table)
        done = self._connection.execute(
            sql.SQL("insert into {} select (jsonb_populate_record(like_it, %s)).* from {} as like_it limit 1").format(
                where, where
            ),
            [Jsonb({**told, "_load_id": self.load, "_deleted_at": None})],
        )
        assert done.rowcount == 1, table

    def change(self, table: str, number: int, **values: object) -> None:
        """New values in the row with this id."""
        pairs = [sql.SQL("{} = %s").format(sql.Identifier(name)) for name in (*values, "_load_id")]
        done = self._connection.execute(
            sql.SQL("update {} set {} where id = %s").format(
                sql.Identifier("raw_bitrix", table), sql.SQL(", ").join(pairs)
            ),
            [*values.values(), self.load, number],
        )
        assert done.rowcount == 1, table

    def letter(self, number: int, who: int, day: float, posting: int) -> None:
        """A letter that somebody gets."""
        self.put(
            "b_sender_posting_recipient", id=number, posting_id=posting, contact_id=who, user_id=None, fields=None,
            status="N", date_sent=site_time(day), is_read="N", is_click="Y", is_unsub="N",
        )  # fmt: skip

    def click(self, number: int, letter: int, day: float, posting: int) -> None:
        """A click in it."""
        self.put(
            "b_sender_posting_click", id=number, posting_id=posting, recipient_id=letter, date_insert=site_time(day),
            url="https://shop.example/history",
        )  # fmt: skip

    def card(self, who: int, name: str) -> None:
        """A contact with an e-mail that the sender module knows too."""
        self.put("b_crm_contact", id=who, lead_id=None, company_id=None, birthdate=None, date_create=site_time(-200))
        self.put(
            "b_crm_field_multi", id=who, entity_id="CONTACT", element_id=who, type_id="EMAIL", value_type="WORK",
            complex_id="EMAIL_WORK", value=f"{name}@history.example",
        )  # fmt: skip
        self.put(
            "b_sender_contact", id=who, type_id=1, code=f"{name}@history.example", user_id=None, blacklisted="N",
            is_unsub="N", consent_status="N", date_insert=site_time(-200),
        )  # fmt: skip

    def deal(self, number: int, day: float, **values: object) -> None:
        """A deal of Ann's, not won yet."""
        self.put(
            "b_crm_deal", id=number, contact_id=ANN, lead_id=None, company_id=None, is_recurring="N",
            date_create=site_time(day), stage_semantic_id="P", stage_id="NEW", moved_time=site_time(day),
            closedate=site_time(day), **values,
        )  # fmt: skip

    def win(self, deal: int, day: float, *, step: int) -> None:
        """The deal is won, as its history tells."""
        self.change("b_crm_deal", deal, stage_semantic_id="S", stage_id="WON", moved_time=site_time(day))
        self.put(
            "b_crm_deal_stage_history", id=step, owner_id=deal, type_id=3, stage_id="WON", stage_semantic_id="S",
            created_time=site_time(day),
        )  # fmt: skip


def begin(site: Site, postings: list[int]) -> None:
    """Everything up to the day on which the first deal is known: an open one of 1000."""
    site.card(ANN, "ann")
    site.card(BEA, "bea")
    for number, (who, day) in enumerate(((ANN, -100), (ANN, -86), (BEA, -93))):
        site.letter(FIRST_LETTER + number, who, day - 1, postings[number])
        site.click(FIRST_LETTER + number, FIRST_LETTER + number, day, postings[number])
    site.put(
        "b_crm_lead", id=BEA, contact_id=BEA, company_id=None, date_create=site_time(-92), opportunity=100,
        opportunity_account=100, currency_id="RUB", account_currency_id="RUB", status_semantic_id="P", status_id="NEW",
    )  # fmt: skip
    roubles = {"opportunity": 1000, "currency_id": "RUB", "account_currency_id": "RUB", "opportunity_account": 1000}
    site.deal(ANN, -80, **roubles)
    site.put(
        "b_catalog_currency_rate", id=RATE, currency="EUR", base_currency="RUB", date_rate=site_time(-30), rate=100,
        rate_cnt=1,
    )  # fmt: skip
    # the CRM froze no amount of this one: it is worth what a euro is worth on its day
    euros = {"opportunity": 10, "currency_id": "EUR", "account_currency_id": None, "opportunity_account": None}
    site.deal(EUROS, -25, **euros)
    site.win(EUROS, -20, step=9_000_001)
    site.put(
        "b_user", id=ANN, email="ann@history.example", external_auth_id=None, personal_mobile=None, personal_phone=None
    )
    site.put(
        "b_sale_order", id=ANN, user_id=ANN, price=900, sum_paid=900, payed="Y", canceled="N", currency="RUB",
        date_insert=site_time(-61), date_payed=site_time(-60),
    )  # fmt: skip
    for number, part, day in ((ANN, 600, -61), (SECOND_PAYMENT, 300, -60)):
        site.put(
            "b_sale_order_payment", id=number, order_id=ANN, sum=part, currency="RUB", paid="Y", is_return="N",
            date_paid=site_time(day), pay_return_date=None,
        )  # fmt: skip
        site.put(
            "b_sale_order_change", id=number, order_id=ANN, type="PAYMENT_PAID", entity="PAYMENT", entity_id=number,
            date_create=site_time(day),
        )  # fmt: skip


def amount(site: Site) -> None:
    """The deal is about more than was thought."""
    site.change("b_crm_deal", ANN, opportunity=1500, opportunity_account=1500)


def won(site: Site) -> None:
    """It is won."""
    site.win(ANN, -20, step=9_000_002)


def reopened(site: Site) -> None:
    """And taken back to work."""
    site.change("b_crm_deal", ANN, stage_semantic_id="P", stage_id="EXECUTING", moved_time=site_time(-15))


def won_again(site: Site) -> None:
    """With another amount."""
    site.win(ANN, -11, step=9_000_003)
    site.change("b_crm_deal", ANN, opportunity=2000, opportunity_account=2000)


def refunded(site: Site) -> None:
    """A third of the order is given back."""
    site.change(
        "b_sale_order_payment", SECOND_PAYMENT, paid="N", is_return="P", date_paid=site_time(-5),
        pay_return_date=site_time(-5),
    )  # fmt: skip
    site.put(
        "b_sale_order_change", id=REFUND, order_id=ANN, type="PAYMENT_PAID", entity="PAYMENT", entity_id=SECOND_PAYMENT,
        date_create=site_time(-5),
    )  # fmt: skip
    site.change("b_sale_order", ANN, payed="N", sum_paid=600)


def merged(site: Site) -> None:
    """As Bitrix merges cards: the losing one is deleted, its addresses and leads are the other's, nothing forwards."""
    site.change("b_crm_field_multi", BEA, element_id=ANN)
    site.change("b_crm_lead", BEA, contact_id=ANN)
    site.change("b_crm_contact", BEA, _deleted_at=END)


def moved(site: Site) -> None:
    """The win was three days later, so that the first click lies further back than ninety days."""
    site.change("b_crm_deal_stage_history", 9_000_003, created_time=site_time(-8))


def revalued(site: Site) -> None:
    """The rate of the day is put right."""
    site.change("b_catalog_currency_rate", RATE, rate=Decimal("90.5"))


# --- what every model says, worked out by hand --------------------------------------------------------------------
#
# Amounts are cents dealt out along the path: what the touches up to one have together, rounded, less what those before
# it had.

MODELS = ("last_touch", "first_touch", "linear", "position_based", "time_decay", "w_shape", "last_non_direct")


def by_model(last: str, first: str, linear: str, position: str, decay: str, shape: str) -> Answer:
    """All seven models; without direct visits the last non-direct touch is the last."""
    return dict(zip(MODELS, (last, first, linear, position, decay, shape, last), strict=True))


def alone(told: str) -> Answer:
    """One touch: all models say the same."""
    return dict.fromkeys(MODELS, told)


def two(first: str, second: str, total: str, half: str, decay: str) -> Answer:
    """Two touches, each at a milestone: position and W halve as linear does."""
    halves = f"{first}:{half} {second}:{half}"
    return by_model(f"{first}:0.00 {second}:{total}", f"{first}:{total} {second}:0.00", halves, halves, decay, halves)


EURO_AFTER_LATE_CLICK = by_model(
    last="A:0.00 B:0.00 B:1000.00",
    first="A:1000.00 B:0.00 B:0.00",
    linear="A:333.33 B:333.34 B:333.33",
    position="A:400.00 B:200.00 B:400.00",
    # 1 : 4 : 8
    decay="A:76.92 B:307.70 B:615.38",
    # 30 : 10 : 30, the late click being the last before this deal was made
    shape="A:428.57 B:142.86 B:428.57",
)
EURO_AFTER_MERGE = by_model(
    last="A:0.00 C:0.00 B:0.00 B:1000.00",
    first="A:1000.00 C:0.00 B:0.00 B:0.00",
    linear="A:250.00 C:250.00 B:250.00 B:250.00",
    position="A:400.00 C:100.00 B:100.00 B:400.00",
    decay="A:66.67 C:133.33 B:266.67 B:533.33",
    shape="A:428.57 C:71.43 B:71.43 B:428.57",
)
EURO_AFTER_NEW_RATE = by_model(
    last="A:0.00 C:0.00 B:0.00 B:905.00",
    first="A:905.00 C:0.00 B:0.00 B:0.00",
    linear="A:226.25 C:226.25 B:226.25 B:226.25",
    position="A:362.00 C:90.50 B:90.50 B:362.00",
    decay="A:60.33 C:120.67 B:241.33 B:482.67",
    shape="A:387.86 C:64.64 B:64.64 B:387.86",
)
BEGUN: dict[str, Answer] = {
    # two weeks are two half-lives: 1 : 4
    MADE: two("A", "B", "1000.00", "500.00", decay="A:200.00 B:800.00"),
    # 10 euros at 100
    EURO_MADE: two("A", "B", "1000.00", "500.00", decay="A:200.00 B:800.00"),
    EURO_DEAL: two("A", "B", "1000.00", "500.00", decay="A:200.00 B:800.00"),
    # in the thirty days before the order there was one click
    PAID: alone("B:900.00"),
    PLACED: alone("B:900.00"),
    LEAD: alone("C:100.00"),
}
THEN: dict[str, dict[str, Answer]] = {
    "amount": {MADE: two("A", "B", "1500.00", "750.00", decay="A:300.00 B:1200.00")},
    "won": {DEAL: two("A", "B", "1500.00", "750.00", decay="A:300.00 B:1200.00")},
    "reopened": {DEAL: {}},
    "won again": {
        DEAL: two("A", "B", "2000.00", "1000.00", decay="A:400.00 B:1600.00"),
        MADE: two("A", "B", "2000.00", "1000.00", decay="A:400.00 B:1600.00"),
    },
    "refunded": {PAID: alone("B:600.00"), PLACED: alone("B:600.00")},
    "late click": {
        DEAL: by_model(
            last="A:0.00 B:0.00 B:2000.00",
            first="A:2000.00 B:0.00 B:0.00",
            linear="A:666.67 B:666.66 B:666.67",
            position="A:800.00 B:400.00 B:800.00",
            # 1 : 4 : 8
            decay="A:153.85 B:615.38 B:1230.77",
            # 30 : 30 : 10, the deal having been made before the late click
            shape="A:857.14 B:857.15 B:285.71",
        ),
        EURO_DEAL: EURO_AFTER_LATE_CLICK,
        EURO_MADE: EURO_AFTER_LATE_CLICK,
        # one half-life apart: 1 : 2
        PAID: two("B", "B", "600.00", "300.00", decay="B:200.00 B:400.00"),
        PLACED: two("B", "B", "600.00", "300.00", decay="B:200.00 B:400.00"),
    },
    # the click in C comes second everywhere, but for the order, before which it is too long ago
    "merged": {
        DEAL: by_model(
            last="A:0.00 C:0.00 B:0.00 B:2000.00",
            first="A:2000.00 C:0.00 B:0.00 B:0.00",
            linear="A:500.00 C:500.00 B:500.00 B:500.00",
            position="A:800.00 C:200.00 B:200.00 B:800.00",
            # 1 : 2 : 4 : 8
            decay="A:133.33 C:266.67 B:533.33 B:1066.67",
            # 30 : 5 : 30 : 5
            shape="A:857.14 C:142.86 B:857.14 B:142.86",
        ),
        MADE: by_model(
            last="A:0.00 C:0.00 B:2000.00",
            first="A:2000.00 C:0.00 B:0.00",
            linear="A:666.67 C:666.66 B:666.67",
            position="A:800.00 C:400.00 B:800.00",
            # 1 : 2 : 4
            decay="A:285.71 C:571.43 B:1142.86",
            # 30 : 10 : 30
            shape="A:857.14 C:285.72 B:857.14",
        ),
        EURO_DEAL: EURO_AFTER_MERGE,
        EURO_MADE: EURO_AFTER_MERGE,
        LEAD: two("A", "C", "100.00", "50.00", decay="A:33.33 C:66.67"),
    },
    # the first click lies further back than the lookback now, so C is the first
    "moved": {
        DEAL: by_model(
            last="C:0.00 B:0.00 B:2000.00",
            first="C:2000.00 B:0.00 B:0.00",
            linear="C:666.67 B:666.66 B:666.67",
            position="C:800.00 B:400.00 B:800.00",
            # 1 : 2 : 4
            decay="C:285.71 B:571.43 B:1142.86",
            # 30 : 30 : 10
            shape="C:857.14 B:857.15 B:285.71",
        ),
    },
    "revalued": {EURO_DEAL: EURO_AFTER_NEW_RATE, EURO_MADE: EURO_AFTER_NEW_RATE},
}
"""What each step changes, and nothing else in the whole world."""
SITE_CHANGES: dict[str, Callable[[Site], None]] = {
    "amount": amount,
    "won": won,
    "reopened": reopened,
    "won again": won_again,
    "refunded": refunded,
    "merged": merged,
    "moved": moved,
    "revalued": revalued,
}
POSTINGS = """
    select min(posting.id) as posting_id, 'bitrix:' || chain.id as letter_id
    from raw_bitrix.b_sender_posting as posting
    inner join raw_bitrix.b_sender_mailing_chain as chain on posting.mailing_chain_id = chain.id
    where chain.message_code = 'mail' and posting._deleted_at is null and chain._deleted_at is null
    group by chain.id order by chain.id limit 3
"""


@pytest.fixture(scope="module")
def history(built: Built, postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """The warehouse after all steps, each built when it had happened."""
    assert built
    with copy_of_the_built(postgres) as dsn:
        lived = History(RepeatedDbt(dsn, tmp_path_factory.mktemp("history")))
        found = lived.rows(POSTINGS)
        lived.letters = {row["letter_id"]: name for row, name in zip(found, "ABC", strict=True)}
        postings = [row["posting_id"] for row in found]
        with psycopg.connect(dsn) as connection:
            begin(Site(connection), postings)
        lived.run("begun", *FROM_RAW)
        for step in THEN:
            with psycopg.connect(dsn) as connection:
                if step == "late click":
                    Site(connection).click(LATE_CLICK, FIRST_LETTER + 1, -79, postings[1])
                else:
                    SITE_CHANGES[step](Site(connection))
            lived.run(step, *(FROM_RAW if step in ("late click", "merged") else FROM_CARDS))
            lived.open_then[step] = {conversion: lived.told(conversion) for conversion in ALL}
        yield lived


def wanted() -> Iterator[tuple[str, dict[str, Answer]]]:
    """Every step, and what holds after it."""
    now = dict.fromkeys(ALL, Answer()) | BEGUN
    yield "begun", now
    for step, news in THEN.items():
        now = now | news
        yield step, now


def test_every_step_is_credited_as_by_hand(history: History) -> None:
    """Right after each step, and asked on the last day for what was reported then."""
    for step, answers in wanted():
        for conversion, answer in answers.items():
            assert history.told(conversion, step) == answer, (step, conversion)
            assert history.open_then.get(step, {}).get(conversion, answer) == answer, (step, conversion)


def test_nothing_else_is_credited_anew(history: History) -> None:
    """Of all conversions of the sample world and these, each step restates those it concerns."""
    assert history.restated("begun") == BEGUN.keys()
    for step, news in THEN.items():
        assert history.restated(step) == news.keys(), step


def test_periods_follow_one_another(history: History) -> None:
    """First touch of the deal: an answer for each time it was won, none while it was open, none that overlaps."""
    rows = history.rows(
        "select letter_id, amount, valid_from, valid_to from marts.fct_attribution_ledger"
        " where conversion_id = %s and model = 'first_touch' and touch_index = 1 order by valid_from",
        DEAL,
    )
    at = {moment: step for step, moment in history.moments.items()}
    assert [
        (history.letters[row["letter_id"]], row["amount"], at[row["valid_from"]], at.get(row["valid_to"]))
        for row in rows
    ] == [
        ("A", 1500, "won", "reopened"),
        ("A", 2000, "won again", "late click"),
        ("A", 2000, "late click", "merged"),
        ("A", 2000, "merged", "moved"),
        ("C", 2000, "moved", None),
    ]


def test_values_and_refunds(history: History) -> None:
    """What the conversions are worth in the end, and what was given back; an order stays paid when all of it was."""
    rows = history.rows(
        "select conversion_id, converted_at, amount, refunded_amount, original_amount, original_currency, is_revenue"
        " from marts.fct_conversions where conversion_id = any(%s)",
        list(ALL),
    )
    assert {tuple(row.values()) for row in rows} == {
        (DEAL, END - timedelta(days=8), 2000, 0, 2000, "RUB", True),
        (MADE, END - timedelta(days=80), 2000, 0, 2000, "RUB", False),
        (EURO_DEAL, END - timedelta(days=20), 905, 0, 10, "EUR", True),
        (EURO_MADE, END - timedelta(days=25), 905, 0, 10, "EUR", False),
        (PAID, END - timedelta(days=60), 600, 300, 900, "RUB", True),
        (PLACED, END - timedelta(days=61), 600, 300, 900, "RUB", False),
        (LEAD, END - timedelta(days=92), 100, 0, 100, "RUB", False),
    }


def test_a_buyer_spent_what_was_kept(history: History) -> None:
    """Two won deals and what is left of the order: what was given back is taken off once."""
    history.repeated.run("dim_person", "seg_buyers", "seg_vip", variables={"vip_amount": 3505})
    for segment in ("seg_buyers", "seg_vip"):
        rows = history.rows(f"select spent from segments.{segment} where email = 'ann@history.example'")
        assert [row["spent"] for row in rows] == [3505], segment
    (row,) = history.rows("select * from segments.seg_buyers where email = 'ann@history.example'")
    assert row["purchase_count"] == 3


def test_clicks_in_one_letter_are_summed_up(history: History) -> None:
    """Letter B was clicked twice before the deal."""
    rows = history.rows(
        "select letter_id, touch_count, amount_linear, amount_w_shape from marts.fct_letter_conversions"
        " where conversion_id = %s",
        DEAL,
    )
    assert {(history.letters[row.pop("letter_id")], *row.values()) for row in rows} == {
        ("B", 2, Decimal("1333.33"), Decimal("1142.86")),
        ("C", 1, Decimal("666.67"), Decimal("857.14")),
    }


def test_the_rest_of_the_world_agrees(history: History) -> None:
    """Every credit of everybody is what the raw tables say, worked out anew."""
    credits_agree(history.repeated.dsn, figures(history.repeated.dsn))


def test_a_rebuild_says_the_same(history: History) -> None:
    """What grew step by step is what is built whole from the same raw tables. Last, for it begins a new ledger."""
    queries = (
        f"select {ANSWER} from marts.fct_attribution_credits order by credit_id",
        f"select {LETTERS} from marts.fct_letter_conversions order by conversion_id, letter_id, campaign, channel",
    )
    grown = [history.rows(query) for query in queries]
    with psycopg.connect(history.repeated.dsn) as connection:
        connection.execute(f"drop table {', '.join(KEPT)} cascade".encode())
    history.run("rebuilt", *FROM_RAW, "--full-refresh")
    assert [history.rows(query) for query in queries] == grown
    assert min(len(rows) for rows in grown) > 100


ANSWER = "credit_id, letter_id, touch_event_id, touched_at, converted_at, touch_count, credit, amount, no_touch_reason"
LETTERS = "conversion_id, letter_id, campaign, channel, touch_count, is_revenue, " + ", ".join(
    f"credit_{model}, amount_{model}" for model in MODELS
)
