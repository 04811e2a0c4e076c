"""The Great Expectations suites of the two doors: raw data on the way in, segments on the way out.

    suite.py        what a suite is, and the few shapes of expectation the doors use
    raw_bitrix.py   door 1: the copies of the Bitrix tables
    raw_esp.py      door 1: what the e-mail services reported
    segments.py     door 2: one suite applied to every published segment
    volumes.py      row counts against the ledger's history
    rhythm.py       silence and volume by the source's own calendar
    failed_rows.py  keeps the rows that failed, in the warehouse, for a while
    door.py         runs a door, writes Data Docs, records the verdict, keeps the door shut

dbt tests guard the rooms between; nothing here repeats one.
"""
