"""Loads from a source that is not as the reference has it: what it lacks, and what it has gained since yesterday."""

from __future__ import annotations

import uuid

import pytest
from tests.source_site import NOW, PgSite, Site
from tests.warehouse.conftest import Warehouse
from tests.warehouse.real_tables import CATALOG, make, quoted

from lettertrail.clock import fixed_clock
from lettertrail.warehouse import deliver
from lettertrail.warehouse.freshness import read_freshness
from lettertrail.warehouse.verify import verify_table


def test_a_table_without_its_change_time_is_read_whole_and_says_so(each_site: Site, warehouse: Warehouse) -> None:
    """Deals always have date_modify, until some day one does not; nothing may go stale for it."""
    make(each_site, "b_crm_deal")
    each_site.run(
        "alter table b_crm_deal drop column date_modify",
        "insert into b_crm_deal (id, stage_id) values (1, 'NEW'), (2, 'NEW')",
    )
    warehouse.load(each_site, CATALOG["b_crm_deal"])
    each_site.run("update b_crm_deal set stage_id = 'WON' where id = 2")
    assert warehouse.load(each_site, CATALOG["b_crm_deal"]).updated == 1
    kind = each_site.source.kind
    assert warehouse.rows("select target, kind, declared, strategy, cursor, probed_at from ops.table_freshness") == [
        ("raw_bitrix.b_crm_deal", kind, "modified", "full", None, NOW)
    ]
    assert read_freshness(warehouse.dsn).splitlines()[2] == (
        f"| `b_crm_deal` | {kind} | full (declared modified) |  | date_modify is not there;"
        " nothing else tells what changed: read whole every time | 2026-11-01 09:00 UTC |"
    )


def test_a_missing_module_breaks_neither_its_table_nor_those_that_follow_it(
    each_site: Site, warehouse: Warehouse
) -> None:
    """Without the recycle bin the e-mails of cards are still followed; the bin itself is empty, and that is said."""
    make(each_site, "b_crm_contact", "b_crm_field_multi")
    multi = CATALOG["b_crm_field_multi"]
    each_site.run("insert into b_crm_contact (id, date_modify) values (5, '2026-10-01 10:00:00')")
    result = warehouse.load(each_site, CATALOG["b_recyclebin"])
    assert result.notices == (
        "table is not in the source (module not installed, or not shown by the cloud); made empty",
    )
    assert warehouse.rows("select count(*) from raw_bitrix.b_recyclebin") == [(0,)]
    warehouse.load(each_site, multi)
    each_site.run(
        "insert into b_crm_field_multi (id, entity_id, element_id, type_id, value_type, complex_id, value)"
        " values (50, 'CONTACT', 5, 'EMAIL', 'WORK', 'EMAIL_WORK', 'a@example.com')"
    )
    assert warehouse.load(each_site, multi).inserted == 1
    said = dict(warehouse.rows("select target, reason from ops.table_freshness"))
    assert (
        "b_crm_company, b_crm_deal, b_crm_lead, b_recyclebin cannot be followed" in said["raw_bitrix.b_crm_field_multi"]
    )
    assert said["raw_bitrix.b_recyclebin"].startswith("not in the source")
    # The day the module is installed.
    make(each_site, "b_recyclebin")
    each_site.run(
        f"insert into b_recyclebin (id, entity_id, module_id, entity_type, {quoted(each_site, 'timestamp')})"
        " values (1, '5', 'crm', 'crm_contact', '2026-11-01 10:00:00')"
    )
    result = warehouse.load(each_site, CATALOG["b_recyclebin"])
    assert (result.inserted, result.notices[0]) == (1, "table is in the source now")


LONGEST = "UF_CRM_" + "X" * 43


def test_custom_fields_of_the_day_before_appear_by_themselves(site: Site, warehouse: Warehouse) -> None:
    """Numbered by Bitrix because the label is Cyrillic, or as long as a name may be: there, filled, and told once."""
    site.run("create table b_uts_crm_lead (VALUE_ID int primary key, UF_CRM_1690000000002 text)",
             "insert into b_uts_crm_lead values (1, 'a'), (2, 'b')")  # fmt: skip
    make(site, "b_crm_lead", "b_user_field", "b_user_field_lang")
    site.run("insert into b_crm_lead (id, date_modify) values (1, '2026-10-01 10:00:00'), (2, '2026-10-01 10:00:00')")
    entry = CATALOG["b_uts_crm_lead"]
    warehouse.load(site, entry)
    site.run(
        f"alter table b_uts_crm_lead add UF_CRM_1690000000099 datetime, add {LONGEST} int, add UF_CRM_PAROL text",
        f"update b_uts_crm_lead set UF_CRM_1690000000099 = '2026-10-31 10:00:00', {LONGEST} = 5, UF_CRM_PAROL = 'x'",
        "insert into b_user_field (id, entity_id, field_name, user_type_id, xml_id)"
        " values (99, 'CRM_LEAD', 'UF_CRM_1690000000099', 'datetime', '')",
        "insert into b_user_field_lang (user_field_id, language_id, edit_form_label) values (99, 'ru', 'Дата визита')",
    )
    result = warehouse.load(site, entry)
    assert result.notices == (
        "column uf_crm_1690000000099 timestamp is new in the source; added",
        f"column {LONGEST.lower()} integer is new in the source; added",
    )
    assert result.updated == 2
    assert warehouse.rows(
        f"select uf_crm_1690000000099::text, {LONGEST} from raw_bitrix.b_uts_crm_lead where value_id = 1"
    ) == [("2026-10-31 10:00:00", 5)]
    assert warehouse.load(site, entry).notices == ()
    for name in ("b_user_field", "b_user_field_lang"):
        warehouse.load(site, CATALOG[name])
    assert warehouse.rows(
        "select edit_form_label from raw_bitrix.b_user_field join raw_bitrix.b_user_field_lang on user_field_id = id"
    ) == [("Дата визита",)]
    ((told,),) = warehouse.rows("select count(*) from ops.loads where notices::text like '%is new in the source%'")
    assert told == 1


def test_a_secret_column_is_never_selected(each_site: Site, warehouse: Warehouse) -> None:
    """Neither Bitrix's own, nor one that a module or a custom field adds tomorrow, in whatever letter case."""
    make(each_site, "b_user")
    values = {"login": "anna", "password": uuid.uuid4().hex, "checkword": uuid.uuid4().hex, "confirm_code": "c0nf1rm"}
    names, listed = ", ".join(values), ", ".join(f"'{value}'" for value in values.values())
    each_site.run(
        "alter table b_user add UF_API_TOKEN varchar(50)",
        "alter table b_user add New_Password varchar(50)",
        f"insert into b_user (id, {names}, uf_api_token, new_password, date_register)"
        f" values (1, {listed}, 't0ken', 's3cret', '2026-01-01')",
    )
    warehouse.load(each_site, CATALOG["b_user"])
    ((row,),) = warehouse.rows("select to_jsonb(b_user)::text from raw_bitrix.b_user")
    assert "anna" in row
    assert not [secret for secret in (*list(values.values())[1:], "t0ken", "s3cret") if secret in row]
    held = {
        name
        for (name,) in warehouse.rows("select column_name from information_schema.columns where table_name = 'b_user'")
    }
    assert not held & {"password", "checkword", "stored_hash", "confirm_code", "uf_api_token", "new_password"}


def test_a_type_that_changed_is_copied_anew_beside_the_old_values(each_site: Site, warehouse: Warehouse) -> None:
    """A text field made a number: views keep the old column, every row has the number, and it is told once."""
    each_site.run(
        "create table b_uts_crm_deal (value_id int primary key, uf_crm_size text, uf_crm_count int)",
        "insert into b_uts_crm_deal values (1, '44', 1), (2, '45', 2)",
    )
    make(each_site, "b_crm_deal")
    entry = CATALOG["b_uts_crm_deal"]
    warehouse.load(each_site, entry)
    warehouse.run(
        "create view public.staged as select value_id, uf_crm_size, uf_crm_count from raw_bitrix.b_uts_crm_deal"
    )
    if isinstance(each_site, PgSite):
        each_site.run("alter table b_uts_crm_deal alter column uf_crm_size type int using uf_crm_size::int",
                      "alter table b_uts_crm_deal alter column uf_crm_count type bigint")  # fmt: skip
    else:
        each_site.run("alter table b_uts_crm_deal modify uf_crm_size int, modify uf_crm_count bigint")
    each_site.run("update b_uts_crm_deal set uf_crm_count = 5000000000 where value_id = 2")
    result = warehouse.load(each_site, entry)
    assert set(result.notices) == {
        "column uf_crm_size changed from text to integer; old values are in uf_crm_size__until_20261101, copied anew",
        "column uf_crm_count widened from integer to bigint; views read uf_crm_count__until_20261101 until they are"
        " built anew",
    }
    assert warehouse.rows(
        "select value_id, uf_crm_size, uf_crm_size__until_20261101, uf_crm_count"
        " from raw_bitrix.b_uts_crm_deal order by 1"
    ) == [(1, 44, "44", 1), (2, 45, "45", 5_000_000_000)]
    assert warehouse.rows("select uf_crm_size from public.staged order by value_id") == [("44",), ("45",)]
    again = warehouse.load(each_site, entry)
    assert (again.notices, again.updated) == ((), 0)
    assert verify_table(each_site.source, entry, warehouse.dsn, run_id="n", clock=fixed_clock(NOW)).differing == 0


def test_what_was_found_is_told_even_if_the_first_to_find_it_dies(
    site: Site, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a load that never commits and by a comparison that loads nothing: told by the next load, once."""
    make(site, "b_sender_list")
    entry = CATALOG["b_sender_list"]
    site.run("insert into b_sender_list (id, name) values (1, 'a')")
    warehouse.load(site, entry)
    site.run("alter table b_sender_list add colour varchar(10) default 'red'")
    with monkeypatch.context() as patch:
        patch.setattr(deliver, "record", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            warehouse.load(site, entry)
    verify_table(site.source, entry, warehouse.dsn, run_id="night", clock=fixed_clock(NOW))
    added = "column colour text is new in the source; added"
    assert warehouse.load(site, entry).notices[0] == added
    assert warehouse.load(site, entry).notices == ()
    assert warehouse.rows(f"select count(*) from ops.loads where notices @> '[\"{added}\"]'") == [(1,)]
    assert warehouse.rows("select count(*) from ops.untold_notices") == [(0,)]
