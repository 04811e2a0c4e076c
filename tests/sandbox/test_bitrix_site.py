"""The sample site keeps every invariant of the Bitrix reference and has the oddities an extractor must survive."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import MySQLdb
import numpy as np
import pytest
from MySQLdb.cursors import Cursor

from lettertrail.errors import ConfigurationError, ContractError
from lettertrail.sandbox import bitrix_site
from lettertrail.sandbox.bitrix_rows import MariaDbWriter
from lettertrail.sandbox.bitrix_site import Site, load_site
from lettertrail.sandbox.bitrix_site_sender import sender_frames
from lettertrail.sandbox.mariadb import MariaDb, connect
from lettertrail.sandbox.world import World, generate

AS_OF = date(2026, 11, 1)


@pytest.fixture(scope="module")
def world() -> World:
    """The world behind `bitrix_site_small`."""
    return generate(seed=7, scale=0.02, as_of=AS_OF)


@pytest.fixture
def cursor(bitrix_site_small: Site) -> Iterator[Cursor]:
    """A reading cursor on the sample site."""
    connection = connect(bitrix_site_small.reader_dsn)
    yield connection.cursor()
    connection.close()


def one(cursor: Cursor, sql: str) -> Any:
    """The single value of a query."""
    cursor.execute(sql)
    return cursor.fetchone()[0]


INVARIANTS = {
    "every posting has the campaign of its letter": """
        SELECT COUNT(*) FROM b_sender_posting p LEFT JOIN b_sender_mailing_chain c ON c.ID = p.MAILING_CHAIN_ID
        WHERE c.ID IS NULL OR c.MAILING_ID <> p.MAILING_ID""",
    "posting and contact are unique together": """
        SELECT COUNT(*) - COUNT(DISTINCT POSTING_ID, CONTACT_ID) FROM b_sender_posting_recipient""",
    "the posting's counters are its recipients": """
        SELECT COUNT(*) FROM b_sender_posting p LEFT JOIN (
            SELECT POSTING_ID, COUNT(*) n, SUM(STATUS = 'Y') y, SUM(STATUS = 'N') s, SUM(STATUS = 'E') e,
                SUM(STATUS = 'D') d, SUM(IS_READ = 'Y') r, SUM(IS_CLICK = 'Y') c, SUM(IS_UNSUB = 'Y') u
            FROM b_sender_posting_recipient GROUP BY POSTING_ID) r ON r.POSTING_ID = p.ID
        WHERE p.COUNT_SEND_ALL <> COALESCE(n, 0) OR p.COUNT_SEND_NONE <> COALESCE(y, 0)
            OR p.COUNT_SEND_SUCCESS <> COALESCE(s, 0) OR p.COUNT_SEND_ERROR <> COALESCE(e, 0)
            OR p.COUNT_SEND_DENY <> COALESCE(d, 0) OR p.COUNT_READ <> COALESCE(r, 0)
            OR p.COUNT_CLICK <> COALESCE(c, 0) OR p.COUNT_UNSUB <> COALESCE(u, 0)""",
    "a clicker has a read row no later than the first click, and both flags": """
        SELECT COUNT(*) FROM (SELECT RECIPIENT_ID, MIN(DATE_INSERT) at FROM b_sender_posting_click GROUP BY 1) c
        JOIN b_sender_posting_recipient r ON r.ID = c.RECIPIENT_ID
        LEFT JOIN (SELECT RECIPIENT_ID, MIN(DATE_INSERT) at FROM b_sender_posting_read GROUP BY 1) o
            ON o.RECIPIENT_ID = c.RECIPIENT_ID
        WHERE o.at IS NULL OR o.at > c.at OR r.IS_READ <> 'Y' OR r.IS_CLICK <> 'Y'""",
    "flags are set where there are events, and only there": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r
        WHERE (r.IS_READ = 'Y') <> EXISTS (SELECT 1 FROM b_sender_posting_read e WHERE e.RECIPIENT_ID = r.ID)
            OR (r.IS_CLICK = 'Y') <> EXISTS (SELECT 1 FROM b_sender_posting_click e WHERE e.RECIPIENT_ID = r.ID)
            OR (r.IS_UNSUB = 'Y') <> EXISTS (SELECT 1 FROM b_sender_posting_unsub e WHERE e.RECIPIENT_ID = r.ID)""",
    "the contact's flags follow its recipients": """
        SELECT COUNT(*) FROM b_sender_contact c LEFT JOIN (
            SELECT CONTACT_ID, MAX(IS_READ) r, MAX(IS_CLICK) k FROM b_sender_posting_recipient GROUP BY CONTACT_ID) r
            ON r.CONTACT_ID = c.ID WHERE c.IS_READ <> COALESCE(r, 'N') OR c.IS_CLICK <> COALESCE(k, 'N')""",
    "the time of the attempt is set for N, E and A, and only for them": """
        SELECT COUNT(*) FROM b_sender_posting_recipient WHERE (STATUS IN ('N','E','A')) <> (DATE_SENT IS NOT NULL)""",
    "no event is earlier than the attempt": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r JOIN (
            SELECT RECIPIENT_ID, DATE_INSERT FROM b_sender_posting_read
            UNION ALL SELECT RECIPIENT_ID, DATE_INSERT FROM b_sender_posting_click
            UNION ALL SELECT RECIPIENT_ID, DATE_INSERT FROM b_sender_posting_unsub) e ON e.RECIPIENT_ID = r.ID
        WHERE r.DATE_SENT IS NULL OR e.DATE_INSERT < r.DATE_SENT""",
    "an event has the posting of its recipient": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r JOIN (
            SELECT RECIPIENT_ID, POSTING_ID FROM b_sender_posting_read
            UNION ALL SELECT RECIPIENT_ID, POSTING_ID FROM b_sender_posting_click
            UNION ALL SELECT RECIPIENT_ID, POSTING_ID FROM b_sender_posting_unsub) e ON e.RECIPIENT_ID = r.ID
        WHERE e.POSTING_ID <> r.POSTING_ID""",
    "a recipient unsubscribes once": "SELECT COUNT(*) - COUNT(DISTINCT RECIPIENT_ID) FROM b_sender_posting_unsub",
    "an unsubscribe left a row in the subscription table": """
        SELECT COUNT(*) FROM b_sender_posting_unsub u JOIN b_sender_posting_recipient r ON r.ID = u.RECIPIENT_ID
        JOIN b_sender_posting p ON p.ID = u.POSTING_ID
        LEFT JOIN b_sender_mailing_subscription s ON s.MAILING_ID = p.MAILING_ID AND s.CONTACT_ID = r.CONTACT_ID
        WHERE s.CONTACT_ID IS NULL""",
    "addresses are lower case and unique per type": """
        SELECT SUM(BINARY CODE <> BINARY LOWER(TRIM(CODE))) + COUNT(*) - COUNT(DISTINCT TYPE_ID, CODE)
        FROM b_sender_contact""",
    "every recipient has a contact": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r LEFT JOIN b_sender_contact c ON c.ID = r.CONTACT_ID
        WHERE c.ID IS NULL""",
    "nothing is sent to an address the core mailer had refused before": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r JOIN b_sender_contact c ON c.ID = r.CONTACT_ID
        JOIN b_main_mail_blacklist b ON b.CODE = c.CODE
        WHERE r.DATE_SENT > b.DATE_INSERT OR r.DATE_SENT IS NULL""",
    "nothing waits for an address that left the campaign or is blacklisted": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r JOIN b_sender_posting p ON p.ID = r.POSTING_ID
        JOIN b_sender_contact c ON c.ID = r.CONTACT_ID
        LEFT JOIN b_sender_mailing_subscription s
            ON s.MAILING_ID = p.MAILING_ID AND s.CONTACT_ID = c.ID AND s.IS_UNSUB = 'Y'
        WHERE r.STATUS = 'Y' AND (c.BLACKLISTED = 'Y' OR c.IS_UNSUB = 'Y' OR s.CONTACT_ID IS NOT NULL)""",
    "who reported abuse is blacklisted": """
        SELECT COUNT(*) FROM b_sender_abuse a LEFT JOIN b_sender_contact c ON c.ID = a.CONTACT_ID
        WHERE COALESCE(c.BLACKLISTED, 'N') <> 'Y' OR LOWER(a.CONTACT_CODE) <> c.CODE""",
    "every letter has its message and the fields of it": """
        SELECT COUNT(*) FROM b_sender_mailing_chain c
        LEFT JOIN b_sender_message_field f ON f.MESSAGE_ID = CAST(c.MESSAGE_ID AS UNSIGNED) AND f.CODE = 'SUBJECT'
        LEFT JOIN b_sender_message m ON m.ID = f.MESSAGE_ID WHERE m.ID IS NULL OR f.VALUE = ''""",
    "legacy columns of a letter are empty": """
        SELECT COUNT(*) FROM b_sender_mailing_chain
        WHERE COALESCE(SUBJECT, MESSAGE, EMAIL_FROM, PRIORITY, LINK_PARAMS) IS NOT NULL""",
    "stage history ends where the deal is": """
        SELECT COUNT(*) FROM b_crm_deal d
        LEFT JOIN (SELECT OWNER_ID, MAX(ID) id FROM b_crm_deal_stage_history GROUP BY 1) l ON l.OWNER_ID = d.ID
        LEFT JOIN b_crm_deal_stage_history h ON h.ID = l.id
        WHERE d.IS_RECURRING = 'N' AND COALESCE(h.STAGE_ID, '') <> d.STAGE_ID""",
    "every stage in use is in the dictionary": """
        SELECT COUNT(*) FROM b_crm_deal d LEFT JOIN b_crm_status s ON s.STATUS_ID = d.STAGE_ID
            AND s.ENTITY_ID = IF(d.CATEGORY_ID = 0, 'DEAL_STAGE', CONCAT('DEAL_STAGE_', d.CATEGORY_ID))
        WHERE s.ID IS NULL OR d.STAGE_SEMANTIC_ID <> COALESCE(s.SEMANTICS, 'P')""",
    "a deal's main contact is its primary link and a card": """
        SELECT COUNT(*) FROM b_crm_deal d
        LEFT JOIN b_crm_deal_contact l ON l.DEAL_ID = d.ID AND l.CONTACT_ID = d.CONTACT_ID AND l.IS_PRIMARY = 'Y'
        LEFT JOIN b_crm_contact c ON c.ID = d.CONTACT_ID WHERE l.DEAL_ID IS NULL OR c.ID IS NULL""",
    "amounts in the base currency follow the frozen rate": """
        SELECT COUNT(*) FROM b_crm_deal WHERE OPPORTUNITY_ACCOUNT <> ROUND(OPPORTUNITY * EXCH_RATE, 2)
            OR ACCOUNT_CURRENCY_ID <> 'RUB' OR (CURRENCY_ID = 'RUB') <> (EXCH_RATE = 1)""",
    "merged cards are gone": """
        SELECT COUNT(*) FROM b_recyclebin b JOIN b_crm_contact c ON c.ID = b.ENTITY_ID
        WHERE b.ENTITY_TYPE = 'crm_contact'""",
    "an accepted consent has its record": """
        SELECT COUNT(*) FROM b_sender_contact c LEFT JOIN b_consent_user_consent_item i ON i.VALUE = c.CODE
        LEFT JOIN b_consent_user_consent u ON u.ID = i.USER_CONSENT_ID AND u.ORIGINATOR_ID = 'sender'
        WHERE c.CONSENT_STATUS = 'A' AND u.ID IS NULL AND LENGTH(c.CODE) <= 50""",
    "an order is worth its lines and the delivery, or less than the delivery": """
        SELECT COUNT(*) FROM b_sale_order o JOIN (
            SELECT ORDER_ID, SUM(PRICE * QUANTITY) goods FROM b_sale_basket GROUP BY ORDER_ID) b ON b.ORDER_ID = o.ID
        WHERE o.PRICE >= o.PRICE_DELIVERY AND o.PRICE <> ROUND(b.goods + o.PRICE_DELIVERY, 2)""",
}


@pytest.mark.parametrize("rule", INVARIANTS)
def test_invariant(cursor: Cursor, rule: str) -> None:
    """No row breaks the rule."""
    assert one(cursor, INVARIANTS[rule]) == 0


ODDITIES = {
    "recipients still to be sent in a posting under way": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r JOIN b_sender_posting p ON p.ID = r.POSTING_ID
        WHERE r.STATUS = 'Y' AND p.STATUS = 'P' AND p.DATE_SENT IS NULL""",
    "waiting steps": "SELECT COUNT(*) FROM b_sender_posting_recipient WHERE STATUS = 'W'",
    "stopped steps": "SELECT COUNT(*) FROM b_sender_posting_recipient WHERE STATUS = 'D'",
    "consent requests": "SELECT COUNT(*) FROM b_sender_posting_recipient WHERE STATUS = 'A'",
    "failures": "SELECT COUNT(*) FROM b_sender_posting_recipient WHERE STATUS = 'E'",
    "recipients without posting": """
        SELECT COUNT(*) FROM b_sender_posting_recipient r LEFT JOIN b_sender_posting p ON p.ID = r.POSTING_ID
        WHERE p.ID IS NULL""",
    "reads without recipient": """
        SELECT COUNT(*) FROM b_sender_posting_read e LEFT JOIN b_sender_posting_recipient r ON r.ID = e.RECIPIENT_ID
        WHERE r.ID IS NULL""",
    "letters sent in several postings": """
        SELECT COUNT(*) FROM (SELECT MAILING_CHAIN_ID FROM b_sender_posting GROUP BY 1 HAVING COUNT(*) > 1) x""",
    "zero dates of contacts": """
        SELECT COUNT(*) FROM b_crm_contact WHERE CAST(DATE_MODIFY AS CHAR) = '0000-00-00 00:00:00'""",
    "zero dates of postings": """
        SELECT COUNT(*) FROM b_sender_posting WHERE CAST(DATE_PAUSE AS CHAR) = '0000-00-00 00:00:00'""",
    "zero birthdays": "SELECT COUNT(*) FROM b_crm_contact WHERE CAST(BIRTHDATE AS CHAR) = '0000-00-00'",
    "encoded emoji in titles": "SELECT COUNT(*) FROM b_sender_mailing_chain WHERE TITLE LIKE '%:f09f%:%'",
    "encoded emoji in subjects": """
        SELECT COUNT(*) FROM b_sender_message_field WHERE CODE = 'SUBJECT' AND VALUE LIKE '%:f09f%:%'""",
    "addresses with capitals": """
        SELECT COUNT(*) FROM b_crm_field_multi WHERE TYPE_ID = 'EMAIL' AND BINARY VALUE <> BINARY LOWER(VALUE)""",
    "addresses shared by many": """
        SELECT COUNT(*) FROM (SELECT VALUE FROM b_crm_field_multi WHERE ENTITY_ID = 'CONTACT' AND TYPE_ID = 'EMAIL'
        GROUP BY VALUE HAVING COUNT(DISTINCT ELEMENT_ID) > 5) x""",
    "cards with several addresses": """
        SELECT COUNT(*) FROM (SELECT ELEMENT_ID FROM b_crm_field_multi
        WHERE ENTITY_ID = 'CONTACT' AND TYPE_ID = 'EMAIL' GROUP BY ELEMENT_ID HAVING COUNT(*) > 1) x""",
    "templates of recurring deals that look won": """
        SELECT COUNT(*) FROM b_crm_deal WHERE IS_RECURRING = 'Y' AND STAGE_SEMANTIC_ID = 'S'""",
    "leads without e-mail, or known by e-mail only": """
        SELECT COUNT(*) FROM b_crm_lead WHERE CONTACT_ID IS NULL""",
    "traces with the recipient in the address": """
        SELECT COUNT(*) FROM b_crm_tracking_trace WHERE PAGES_RAW LIKE '%bx\\_sender\\_conversion\\_id=%'""",
    "refused consents": "SELECT COUNT(*) FROM b_sender_contact WHERE CONSENT_STATUS = 'D' AND IS_UNSUB = 'Y'",
    "consents newer than the unsubscribe": """
        SELECT COUNT(*) FROM b_sender_posting_unsub u JOIN b_sender_posting_recipient r ON r.ID = u.RECIPIENT_ID
        JOIN b_sender_contact c ON c.ID = r.CONTACT_ID
        WHERE c.CONSENT_STATUS = 'A' AND c.DATE_UPDATE > u.DATE_INSERT""",
    "complaints followed by a consent": """
        SELECT COUNT(*) FROM b_sender_abuse a JOIN b_sender_contact c ON c.ID = a.CONTACT_ID
        WHERE c.CONSENT_STATUS = 'A' AND c.DATE_UPDATE > a.DATE_INSERT""",
    "both kinds of mail blacklist": """
        SELECT COUNT(*) FROM (SELECT 1 FROM b_main_mail_blacklist HAVING COUNT(DISTINCT CATEGORY_ID) = 2) x""",
    "abandoned carts": "SELECT COUNT(*) FROM b_sale_basket WHERE ORDER_ID IS NULL",
    "carts left alone lately": """
        SELECT COUNT(*) FROM b_sale_basket b JOIN b_sale_fuser f ON f.ID = b.FUSER_ID
        WHERE b.ORDER_ID IS NULL AND f.USER_ID > 0
        AND b.DATE_UPDATE > (SELECT MAX(DATE_INSERT) - INTERVAL 14 DAY FROM b_sender_posting_click)""",
    "consents without a date": """
        SELECT COUNT(*) FROM b_uts_crm_contact
        WHERE UF_CRM_EMAIL_CONSENT IS NOT NULL AND UF_CRM_EMAIL_CONSENT_AT IS NULL""",
    "orders tied to a letter": """
        SELECT COUNT(*) FROM b_conv_context_entity_item i JOIN b_conv_context_attribute a
        ON a.CONTEXT_ID = i.CONTEXT_ID AND a.NAME = 'sender_chain_source'""",
    "merged cards in the recycle bin": "SELECT COUNT(*) FROM b_recyclebin WHERE ENTITY_TYPE = 'crm_contact'",
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_oddity(cursor: Cursor, oddity: str) -> None:
    """The site has it, so that the pipeline meets it."""
    assert one(cursor, ODDITIES[oddity]) > 0


def test_the_site_says_what_the_world_did(cursor: Cursor, world: World) -> None:
    """Sends, events, leads, deals and revenue are those of the world, under the world's ids and in site time."""
    bitrix = world.sends[world.sends["letter"] <= 70]
    counted = one(
        cursor,
        "SELECT COUNT(*) FROM b_sender_posting_recipient r JOIN b_sender_posting p ON p.ID = r.POSTING_ID "
        "WHERE r.STATUS IN ('N', 'E')",
    )
    assert counted == len(bitrix)
    failed = bitrix["outcome"].isin(["failed", "hard_bounce"]).sum()
    assert one(cursor, "SELECT COUNT(*) FROM b_sender_posting_recipient WHERE STATUS = 'E'") == failed > 0
    first = bitrix[bitrix["letter"] == 30]["sent_at"].min().tz_convert("Europe/Moscow").tz_localize(None)
    cursor.execute(
        "SELECT MIN(r.DATE_SENT) FROM b_sender_posting_recipient r JOIN b_sender_posting p ON p.ID = r.POSTING_ID "
        "WHERE p.MAILING_CHAIN_ID = 30"
    )
    assert cursor.fetchone()[0] == first.to_pydatetime()
    clicks = world.events[(world.events["kind"] == "click") & world.events["send"].isin(bitrix["send"])]
    assert one(cursor, "SELECT COUNT(*) FROM b_sender_posting_click") == len(clicks)
    assert one(cursor, "SELECT COUNT(*) FROM b_crm_lead") == len(world.leads)
    won = world.deals[world.deals["stage"] == "won"]
    cursor.execute(
        "SELECT ID, OPPORTUNITY_ACCOUNT FROM b_crm_deal WHERE STAGE_SEMANTIC_ID = 'S' AND IS_RECURRING = 'N'"
    )
    assert dict(cursor.fetchall()) == dict(zip(won["deal"], won["amount_base"], strict=True))
    cursor.execute("SELECT ID FROM b_sender_mailing_chain ORDER BY ID")
    assert [row[0] for row in cursor.fetchall()] == list(range(1, 71))


def test_the_last_decision_is_in_the_subscription_row() -> None:
    """Leaving sets the flag to Y, coming back flips it in place to N without moving its date."""
    world = generate(seed=3, scale=0.1, as_of=AS_OF)
    frames = sender_frames(world, np.random.default_rng(1), user_of_person=np.zeros(len(world.people) + 1, dtype=int))
    contact = frames.contacts.set_index("CODE")["ID"]
    sends = world.sends.merge(world.letters[["letter", "campaign"]], on="letter")
    left = world.events[world.events["kind"] == "unsubscribe"].merge(sends, on="send")
    last = left[left["letter"] <= 70].groupby(["campaign", "email"])["occurred_at"].agg(["min", "max"])
    flips = world.minds[world.minds["how"] != "consent_unflipped"].groupby(["campaign", "email"])["at"].max()
    rows = frames.subscriptions.set_index(["MAILING_ID", "CONTACT_ID", "IS_UNSUB"])["DATE_INSERT"]
    came_back = 0
    for (campaign, email), (first_left, last_left) in zip(last.index, last.to_numpy(), strict=True):
        is_back = (campaign, email) in flips.index and flips[campaign, email] > last_left
        came_back += is_back
        key = (campaign, contact[email], "N" if is_back else "Y")
        assert rows[key] == first_left.tz_convert("Europe/Moscow").tz_localize(None)
        if is_back:
            assert (campaign, contact[email], "Y") not in rows.index
    assert 0 < came_back < len(last)


def test_personalisation_values_have_byte_lengths(cursor: Cursor) -> None:
    """FIELDS can be read by bytes and names the card the letter went to."""
    cursor.execute(
        "SELECT r.FIELDS, c.CODE FROM b_sender_posting_recipient r JOIN b_sender_contact c ON c.ID = r.CONTACT_ID "
        "WHERE r.FIELDS LIKE '%CRM_CONTACT_ID%' LIMIT 200"
    )
    for fields, _ in cursor.fetchall():
        raw = fields.encode()
        start = raw.index(b's:4:"NAME";s:') + len(b's:4:"NAME";s:')
        length, rest = raw[start:].split(b':"', 1)
        assert rest[int(length) : int(length) + 2] == b'";'


def test_a_merged_card_lives_on_in_the_recipients_of_its_time(cursor: Cursor, world: World) -> None:
    """FIELDS of older rows name a contact that is no longer there."""
    merged = world.cards[world.cards["merged_at"].notna()]
    assert len(merged)
    total = 0
    for card in merged["contact_id"]:
        total += one(
            cursor,
            "SELECT COUNT(*) FROM b_sender_posting_recipient "
            f'WHERE FIELDS LIKE \'%"CRM_CONTACT_ID";s:{len(str(card))}:"{card}"%\'',
        )
    assert total > 0


def test_custom_fields_match_their_catalogue(cursor: Cursor) -> None:
    """Every UF_ column has its description, and the marketing flag is not there yet: REST makes it."""
    cursor.execute(
        "SELECT CONCAT('CRM_', UPPER(SUBSTRING(table_name, 11))), column_name FROM information_schema.columns "
        "WHERE table_schema = DATABASE() AND table_name LIKE 'b_uts_crm_%' AND column_name LIKE 'UF_%'"
    )
    columns = set(cursor.fetchall())
    cursor.execute("SELECT ENTITY_ID, FIELD_NAME FROM b_user_field")
    assert columns == set(cursor.fetchall())
    assert ("CRM_CONTACT", "UF_CRM_EMAIL_MARKETING") not in columns


def test_the_reader_cannot_write(bitrix_site_small: Site) -> None:
    """`lettertrail` may only SELECT; `bitrix` owns the database."""
    with connect(bitrix_site_small.reader_dsn) as connection, pytest.raises(MySQLdb.OperationalError, match="denied"):
        connection.cursor().execute("DELETE FROM b_lang WHERE LID = 'zz'")
    with connect(bitrix_site_small.owner_dsn) as connection:
        assert connection.cursor().execute("DELETE FROM b_lang WHERE LID = 'zz'") == 0


def test_rows_the_server_would_change_are_an_error(mariadb: MariaDb) -> None:
    """LOAD DATA LOCAL turns a duplicate key into a warning; here it stops the load."""
    with connect(mariadb.dsn, database="", local_infile=True) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE warned")
        cursor.execute("USE warned")
        cursor.execute("CREATE TABLE b_lang (LID char(2) PRIMARY KEY, NAME varchar(50))")
        writer = MariaDbWriter(cursor)
        assert writer.write("b_lang", {"LID": ["s1"], "NAME": "a\tb\\c\nд"}) == 1
        assert one(cursor, "SELECT NAME FROM b_lang") == "a\tb\\c\nд"
        with pytest.raises(ContractError, match="b_lang"):
            writer.write("b_lang", {"LID": ["s1"], "NAME": None})
        with pytest.raises(KeyError, match="NO_SUCH"):
            writer.write("b_lang", {"LID": ["s2"], "NO_SUCH": 1})
        cursor.execute("DROP DATABASE warned")


def test_a_real_database_is_never_replaced(mariadb: MariaDb, world: World) -> None:
    """Without our mark in its comment a database stays untouched."""
    with connect(mariadb.dsn) as connection:
        connection.cursor().execute("CREATE DATABASE precious")
        with pytest.raises(ConfigurationError, match="no sample site"):
            load_site(world, mariadb.dsn, owner_password="x", reader_password="y", database="precious")
        connection.cursor().execute("DROP DATABASE precious")


def test_passwords_are_never_built_in(mariadb: MariaDb, world: World) -> None:
    """An empty password is refused."""
    with pytest.raises(ConfigurationError, match="password"):
        load_site(world, mariadb.dsn, owner_password="", reader_password="y", database="other")


@pytest.fixture
def own_server() -> Iterator[MariaDb]:
    """A server of the test's own: the users and their passwords are those of the whole server."""
    with (
        tempfile.TemporaryDirectory(prefix="lettertrail-site-") as directory,
        MariaDb(Path(directory) / "data") as server,
    ):
        yield server


def test_the_command_loads_a_site_once(
    own_server: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The command line writes the site and both files; a second call finds the site complete."""
    arguments = ["--mariadb-dsn", own_server.dsn, "--world-dir", str(tmp_path), "--seed", "2", "--scale", "0.005"]
    arguments += ["--as-of", "2026-11-01", "--database", "by_command"]
    caplog.set_level("INFO")
    assert bitrix_site.main(arguments) == 2
    assert bitrix_site.OWNER_PASSWORD_VARIABLE in caplog.text
    monkeypatch.setenv(bitrix_site.OWNER_PASSWORD_VARIABLE, "owner-secret")
    monkeypatch.setenv(bitrix_site.READER_PASSWORD_VARIABLE, "reader-secret")
    assert bitrix_site.main(arguments) == 0
    assert json.loads((tmp_path / "world.json").read_text())["seed"] == 2
    assert (tmp_path / "truth.json").exists()
    caplog.clear()
    assert bitrix_site.main(arguments) == 0
    assert "sample site: 0 rows" in caplog.text
    assert "secret" not in caplog.text
    with connect(own_server.dsn, database="by_command") as connection:
        revenue = one(connection.cursor(), "SELECT SUM(OPPORTUNITY_ACCOUNT) FROM b_crm_deal")
        assert isinstance(revenue, Decimal)
