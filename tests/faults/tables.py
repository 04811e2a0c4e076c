"""The tables the fault tests copy: one of each way to keep a table fresh, small, with Bitrix' habits."""

from __future__ import annotations

from tests.faults.checker import Table
from tests.source_site import make_entry

from lettertrail.bitrix.catalog import TableEntry, Trigger

RECIPIENTS, OPENS, DEALS = 4_000, 1_500, 1_500
OPEN_POSTINGS = (9, 10)

SCHEMA = (
    "create table postings (id int unsigned primary key auto_increment, status char(1) not null,"
    " date_create datetime not null)",
    "create table recipients (id bigint unsigned primary key auto_increment, posting_id int unsigned not null,"
    " email varchar(255) not null, status char(1) not null default 'N', date_sent datetime null,"
    " is_read char(1) not null default 'N', fields longtext, key (posting_id))",
    "create table opens (id int unsigned primary key auto_increment, recipient_id bigint unsigned not null,"
    " date_insert datetime not null)",
    "create table deals (id int unsigned primary key auto_increment, title varchar(255), stage varchar(20) not null,"
    " opportunity decimal(18,2), begun date, date_modify datetime not null, comments longtext, key (date_modify))",
    "create table links (deal_id int unsigned not null, contact_id int unsigned not null, is_primary char(1) not null,"
    " primary key (deal_id, contact_id))",
    "create table options (name varchar(50) primary key, value text)",
)

ROWS = (
    "insert into postings (status, date_create) select if(seq >= 9, 'P', 'S'), '2026-01-01 10:00:00' from seq_1_to_10",
    "insert into recipients (posting_id, email, fields) select 1 + seq % 10, concat('r', seq, '@example.com'),"
    ' concat(\'a:1:{s:4:"NAME";s:8:"Анна";}\', repeat(md5(seq), seq % 7))'
    f" from seq_1_to_{RECIPIENTS}",
    "insert into opens (recipient_id, date_insert) select 1 + seq * 7 % 4000, '2026-02-01' + interval seq minute"
    f" from seq_1_to_{OPENS}",
    "insert into deals (title, stage, opportunity, begun, date_modify) select concat('Сделка ', seq), 'NEW', seq / 4,"
    " if(seq % 50, '2026-03-01' + interval seq % 300 day, '0000-00-00'), '2026-03-01' + interval seq minute"
    f" from seq_1_to_{DEALS}",
    f"insert into links select seq, 1000 + seq * 3, 'Y' from seq_1_to_{DEALS}",
    f"insert into links select seq, 9000 + seq, 'N' from seq_1_to_{DEALS}",
    "insert into options select concat('option_', seq), md5(seq) from seq_1_to_40",
)

TABLES = (
    Table("postings"),
    Table("recipients"),
    Table("opens"),
    Table("deals"),
    Table("links", ("deal_id", "contact_id")),
    Table("options", ("name",)),
)


def entries() -> dict[str, TableEntry]:
    """How each table is kept fresh. The tails and overlaps are longer than any transaction of the writer."""
    made = (
        make_entry("postings", "full"),
        make_entry(
            "recipients", "touched_by", tail=300,
            touched_by=(
                Trigger("opens", "recipient_id", "id", new_by="id", tail=300),
                Trigger("postings", "id", "posting_id", open_while={"status": ("N", "P", "W")}),
            ),
        ),
        make_entry("opens", "append", tail=300),
        make_entry("deals", "modified", cursor="date_modify", overlap_minutes=1),
        make_entry(
            "links", "touched_by", key=("deal_id", "contact_id"), range_by="deal_id",
            touched_by=(Trigger("deals", "id", "deal_id", modified_by="date_modify", overlap_minutes=1),),
        ),
        make_entry("options", "full", key=("name",), range_by=None),
    )  # fmt: skip
    return {entry.name: entry for entry in made}
