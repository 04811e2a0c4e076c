"""The source of the measurement: a recipients table of N rows as a Bitrix site has it, and the tables that touch it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from lettertrail.sandbox.mariadb import MariaDb, connect

TABLE = "b_sender_posting_recipient"
RECIPIENTS = """create table b_sender_posting_recipient (
    ID int not null auto_increment primary key, POSTING_ID int not null, CONTACT_ID int not null,
    STATUS char(1) not null, DATE_SENT datetime, USER_ID int, DATE_DENY datetime,
    DATE_UPDATE datetime default current_timestamp on update current_timestamp, FIELDS longtext, ROOT_ID int,
    IS_READ char(1) not null default 'N', IS_CLICK char(1) not null default 'N', IS_UNSUB char(1) not null default 'N',
    unique key (POSTING_ID, CONTACT_ID), key (CONTACT_ID, STATUS), key (POSTING_ID, STATUS)
) engine=innodb default charset utf8mb4"""
"""Columns and indexes of `b_sender_posting_recipient` (bitrix_columns.csv)."""
FILL = """insert into b_sender_posting_recipient
select seq, 1 + seq div 20000, 1 + seq mod 20000 * 7919 mod 100003, if(seq mod 20 = 1, 'E', 'N'),
    '2024-01-01' + interval seq * 2 second, if(seq mod 3 = 0, seq mod 50000, null), null,
    '2024-01-01' + interval seq * 2 second,
    concat('a:3:{{s:12:"EMAIL_TO";s:', length(seq mod 20000) + 18, ':"person', seq mod 20000,
        '@example.com";s:13:"CRM_ENTITY_ID";i:', seq mod 20000, ';s:19:"CRM_ENTITY_TYPE_ID";i:3;}}'),
    null, if(seq mod 4 = 0, 'Y', 'N'), if(seq mod 30 = 0, 'Y', 'N'), 'N'
from seq_1_to_{rows}"""
OPEN_POSTING = 1_000_000
IN_SENDING = 100
OTHERS = (
    "create table b_sender_posting (ID int not null auto_increment primary key, MAILING_ID int not null default 1,"
    " MAILING_CHAIN_ID int not null default 1, STATUS char(1) not null default 'D', DATE_CREATE datetime,"
    " DATE_SENT datetime)",
    "insert into b_sender_posting (ID, STATUS, DATE_CREATE, DATE_SENT)"
    " select seq, 'S', '2024-01-01' + interval seq hour, '2024-01-01' + interval seq hour from seq_1_to_{postings}",
    f"insert into b_sender_posting (ID, STATUS, DATE_CREATE) values ({OPEN_POSTING}, 'P', now())",
    "insert into b_sender_posting_recipient (POSTING_ID, CONTACT_ID, STATUS, FIELDS)"
    f" select {OPEN_POSTING}, seq, 'Y', 'a:0:{{{{}}}}' from seq_1_to_{IN_SENDING}",
    *(
        f"create table b_sender_posting_{event} (ID int not null auto_increment primary key, POSTING_ID int not null,"
        " RECIPIENT_ID int, DATE_INSERT datetime, key (RECIPIENT_ID))"
        for event in ("read", "click", "unsub")
    ),
)


@dataclass
class Site:
    """One source database of the benchmark."""

    server: MariaDb
    rows: int
    cache_mb: int

    @property
    def database(self) -> str:
        return f"bench_{self.rows}"

    @property
    def dsn(self) -> str:
        return self.server.dsn + self.database

    def prepare(self) -> None:
        """Makes the tables, unless an earlier run has."""
        connection = connect(self.server.dsn)
        try:
            cursor = connection.cursor()
            # The sample site's own setting is for a laptop.
            cursor.execute(f"set global innodb_buffer_pool_size = {self.cache_mb} * 1048576")
            if cursor.execute(f"show databases like '{self.database}'"):
                return
            cursor.execute(f"create database {self.database}_new character set utf8mb4")
            cursor.execute(f"use {self.database}_new")
            for statement in (RECIPIENTS, FILL, *OTHERS):
                cursor.execute(statement.format(rows=self.rows, postings=1 + self.rows // 20_000))
            connection.commit()
            cursor.execute(f"create database {self.database} character set utf8mb4")
            cursor.execute("show tables")
            for (table,) in list(cursor.fetchall()):
                cursor.execute(f"rename table {table} to {self.database}.{table}")
            cursor.execute(f"drop database {self.database}_new")
        finally:
            connection.close()

    def count(self) -> int:
        """The rows there are."""
        ((count,),) = self._run("select count(*) from b_sender_posting_recipient")
        return int(count)

    def warm_up(self) -> None:
        """Reads the table once, so that no contender has it from disk."""
        self._run("select sum(length(FIELDS)) from b_sender_posting_recipient")

    def an_hour_passes(self, changes: int, *, seed: int) -> None:
        """Recipients of old letters open them, and the posting that is open is sent."""
        chosen = random.Random(seed).sample(range(1, self.rows), changes - IN_SENDING)
        self._run(
            "update b_sender_posting_recipient set STATUS = if(STATUS = 'Y', 'N', 'Y')"
            f" where POSTING_ID = {OPEN_POSTING}"
        )
        for start in range(0, len(chosen), 1_000):
            ids = chosen[start : start + 1_000]
            values = ", ".join(f"({1 + key // 20_000}, {key}, now())" for key in ids)
            self._run(f"insert into b_sender_posting_read (POSTING_ID, RECIPIENT_ID, DATE_INSERT) values {values}")
            self._run(
                "update b_sender_posting_recipient set IS_READ = 'Y', USER_ID = coalesce(USER_ID, 0) + 1"
                f" where ID in ({', '.join(map(str, ids))})"
            )

    def silent_edits(self, count: int, *, seed: int) -> None:
        """Rows that change without any trace."""
        chosen = random.Random(seed).sample(range(1, self.rows), count)
        self._run(
            f"update b_sender_posting_recipient set USER_ID = coalesce(USER_ID, 0) + 1, DATE_UPDATE = DATE_UPDATE"
            f" where ID in ({', '.join(map(str, chosen))})"
        )

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        connection = connect(self.dsn)
        try:
            cursor = connection.cursor()
            cursor.execute(statement)
            connection.commit()
            return list(cursor.fetchall())
        finally:
            connection.close()
