"""What analysts get besides the marts: their page, the docs, exposures, metrics, and no personal data by surprise."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.dbt.conftest import Built, copy_of_the_built
from tests.dbt.dbt_runs import copy_project, dbt, dbt_environment

from lettertrail.report.collect import RELATIONS
from lettertrail.settings import PROJECT_ROOT
from lettertrail.warehouse.embedded import EmbeddedPostgres

PAGE = PROJECT_ROOT / "docs" / "marts.md"
ADDRESS = r"[[:alnum:]._%+-]+@[[:alnum:]-]+(\.[[:alnum:]-]+)+"
PHONE = r"\+[0-9]{10,}"
PERSONAL = re.compile(r"(^|_)(email|emails|phone|phones|first_name|last_name|second_name|full_name|birth_date)$")
EXTERNAL = re.compile(r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?https?://""", re.IGNORECASE)


def models(built: Built, schema: str) -> dict[str, dict[str, Any]]:
    """The models of a layer, by name."""
    nodes = built.layers["segments"].manifest["nodes"].values()
    return {node["name"]: node for node in nodes if node["resource_type"] == "model" and node["schema"] == schema}


def is_personal(model: dict[str, Any]) -> bool:
    """Whether it is marked as holding personal data."""
    return bool(model["config"]["meta"].get("personal_data"))


def first_sentence(text: str) -> str:
    """Of a description or of a paragraph of the page."""
    return re.split(r"(?<=[.:])\s", " ".join(text.split()), maxsplit=1)[0].rstrip(".:")


# --- the page -----------------------------------------------------------------------------------------------------


def test_the_page_lists_the_marts(built: Built) -> None:
    """Every mart and no other, each with the grain its model says."""
    found = dict(re.findall(r"^#### `(\w+)`\n+(.+?)\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
    wanted = {name: first_sentence(model["description"]) for name, model in models(built, "marts").items()}
    assert {name: first_sentence(text) for name, text in found.items()} == wanted


def test_the_page_marks_personal_data(built: Built) -> None:
    """Who may not see addresses reads there which marts they may not be given."""
    sections = re.split(r"^#### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    marked = {section.split("`")[1] for section in sections if "**Personal data.**" in " ".join(section.split())}
    assert marked == {name for name, model in models(built, "marts").items() if is_personal(model)}


def test_the_examples_run(built: Built) -> None:
    """Every query on the page answers, and all but the ones that say so with at least one row."""
    queries = re.findall(r"^```sql\n(.+?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(queries) >= 10
    with psycopg.connect(built.dsn) as connection:
        connection.read_only = True
        empty = [query for query in queries if not connection.execute(query.encode()).fetchall()]
    assert [query for query in empty if "may be empty" not in query] == []


# --- personal data ------------------------------------------------------------------------------------------------


def test_personal_columns_are_in_marked_marts_only(built: Built) -> None:
    """Judged by what the database has, not by what the yml says."""
    rows = built.rows("select table_name, column_name from information_schema.columns where table_schema = 'marts'")
    marts = models(built, "marts")
    found = {row["table_name"] for row in rows if PERSONAL.search(row["column_name"])}
    assert {"dim_person", "dim_crm_contact", "dim_suppression"} <= found
    assert {name for name in found if not is_personal(marts[name])} == set()


def test_no_address_hides_in_other_marts(built: Built) -> None:
    """Titles, links, evidence, stories: no text of an unmarked mart holds an e-mail address or a phone number."""
    rows = built.rows(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = 'marts' and data_type in ('text', 'character varying', 'ARRAY', 'jsonb')"
    )
    marts = models(built, "marts")
    unmarked = [row for row in rows if not is_personal(marts[row["table_name"]])]
    assert len(unmarked) > 20
    leaks = [f"{row['table_name']}.{row['column_name']}" for row in unmarked if leaks_addresses(built, **row)]
    assert leaks == []


def leaks_addresses(built: Built, table_name: str, column_name: str) -> bool:
    """Whether any value looks like an address or a phone."""
    query = (
        f"select exists (select from marts.{table_name} where \"{column_name}\"::text ~ '{ADDRESS}'"
        f" or \"{column_name}\"::text ~ '{PHONE}') as leaks"
    )
    return bool(built.rows(query)[0]["leaks"])


def test_segments_are_personal(built: Built) -> None:
    """Each is a list of addresses, and says so without its author's doing."""
    segments = models(built, "segments")
    assert segments
    assert [name for name, model in segments.items() if not is_personal(model)] == []


# --- exposures ----------------------------------------------------------------------------------------------------


def exposed(built: Built, name: str) -> set[str]:
    """The models an exposure reads."""
    exposures = built.layers["segments"].manifest["exposures"]
    return {node.rpartition(".")[2] for node in exposures[f"exposure.lettertrail.{name}"]["depends_on"]["nodes"]}


def test_the_report_s_exposure_is_what_it_reads(built: Built) -> None:
    """The marts among the relations that the report's queries name."""
    read = {relation.partition(".")[2] for relation in RELATIONS if relation.startswith("marts.")}
    assert exposed(built, "static_report") == read


def test_the_segment_push_reads_segments_and_the_suppression_list(built: Built) -> None:
    """The list is subtracted from each. A segment is one file, so one that is added need not be named here."""
    named = exposed(built, "segment_sync")
    assert "dim_suppression" in named
    assert len(named) > 10
    assert named - {"dim_suppression"} <= set(models(built, "segments"))


def test_every_mart_that_answers_a_question_is_exposed(built: Built) -> None:
    """A `mart_` that no report, push or dashboard needs would be one too many."""
    everywhere = set().union(
        *(exposed(built, name.rpartition(".")[2]) for name in built.layers["segments"].manifest["exposures"])
    )
    assert {name for name in models(built, "marts") if name.startswith("mart_")} <= everywhere


# --- the docs page ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def docs_page(built: Built, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page as the DAG `publish_docs` makes it, save for the compiled SQL, which takes long and says nothing new."""
    work_dir = tmp_path_factory.mktemp("docs")
    (work_dir / "target").mkdir()
    for name in ("manifest.json", "partial_parse.msgpack"):
        shutil.copy(built.layers["segments"].target / name, work_dir / "target")
    run = dbt("docs", "generate", "--static", "--no-compile", dsn=built.dsn, work_dir=work_dir)
    assert run.returncode == 0, run.output[-4000:]
    return (run.target / "static_index.html").read_text(encoding="utf-8")


def test_the_docs_are_one_page(built: Built, docs_page: str) -> None:
    """It describes every mart with its columns as the warehouse has them, and loads nothing from elsewhere."""
    assert EXTERNAL.findall(docs_page) == []
    for name in models(built, "marts"):
        assert f'"model.lettertrail.{name}"' in docs_page
    assert '"revenue_last_touch"' in docs_page
    assert "timestamp with time zone" in docs_page


def test_the_docs_hold_no_secret(built: Built, docs_page: str) -> None:
    """Neither the password that was used to look nor anybody's address."""
    with psycopg.connect(built.dsn) as connection:
        assert connection.info.password
        assert connection.info.password not in docs_page
    emails = [row["primary_email"] for row in built.rows("select primary_email from marts.dim_person")]
    assert len(emails) > 400
    assert [email for email in emails if email and email in docs_page] == []


# --- metrics ------------------------------------------------------------------------------------------------------

METRICS = {
    "letters": "select count(*) from marts.dim_letter where sent_at is not null",
    "messages_delivered": "select sum(delivered_count) from marts.mart_letter_performance where sent_at is not null",
    "open_rate_human": (
        "select 1.0 * sum(opened_human_count) / sum(delivered_count) filter (where is_open_tracked)"
        " from marts.mart_letter_performance where sent_at is not null"
    ),
    "deals_won": "select count(*) from marts.fct_conversions where conversion_type = 'deal_won'",
    "revenue": "select sum(amount) from marts.fct_conversions where conversion_type = 'deal_won'",
    "revenue_last_touch": (
        "select sum(amount) from marts.fct_attribution_credits"
        " where conversion_type = 'deal_won' and model = 'last_touch' and letter_id is not null"
    ),
    "list_joined": "select sum(joined) from marts.mart_list_growth",
    "suppressed_addresses": "select count(distinct email) from marts.dim_suppression where scope = 'everything'",
    "revenue_markov": (
        "select sum(amount) from marts.fct_attribution_data_driven"
        " where conversion_type = 'deal_won' and model = 'markov_2' and unit is not null"
    ),
    "revenue_shapley": (
        "select sum(amount) from marts.fct_attribution_data_driven"
        " where conversion_type = 'deal_won' and model = 'shapley' and unit is not null"
    ),
    "letter_cost": "select sum(cost) from marts.mart_letter_roi where model = 'last_touch'",
    "letter_roi": "select sum(profit) / sum(cost) from marts.mart_letter_roi where model = 'last_touch'",
    "cohort_revenue": "select sum(revenue) from marts.mart_cohort_revenue",
    "cohort_sales": "select sum(sale_count) from marts.mart_cohort_revenue",
    "cohort_revenue_per_person": (
        "select sum(revenue) / sum(people_count) filter (where month_number = 0) from marts.mart_cohort_revenue"
    ),
}
COSTS = """
    update marts.mart_letter_roi set cost = 100 + letter.number, profit = revenue - 100 - letter.number
    from (select letter_id, row_number() over (order by letter_id) as number from marts.dim_letter) as letter
    where mart_letter_roi.letter_id = letter.letter_id and letter.number % 3 > 0
"""


@pytest.fixture(scope="module")
def costed(built: Built, postgres: EmbeddedPostgres) -> Iterator[Built]:
    """The built warehouse with costs of two letters in three."""
    with copy_of_the_built(postgres) as dsn:
        with psycopg.connect(dsn) as connection:
            connection.execute(COSTS)
        yield Built(dsn, built.layers)


@pytest.fixture(scope="module")
def parsed_project(costed: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with its semantic manifest, which names the database, where `mf` looks for it."""
    project = copy_project(tmp_path_factory.mktemp("metrics") / "project")
    run = dbt("parse", dsn=costed.dsn, work_dir=project, project=project)
    assert run.returncode == 0, run.output[-4000:]
    return project


def mf_query(built: Built, project: Path, answer: Path, *arguments: str) -> list[dict[str, str]]:
    """What `mf query` answers, as an analyst runs it in the project's folder."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("mf")), "query", *arguments, "--csv", str(answer)],
        cwd=project,
        env={**dbt_environment(built.dsn), "DBT_PROFILES_DIR": str(project), "HOME": str(answer.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with answer.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_metrics_answer_what_sql_answers(costed: Built, parsed_project: Path, tmp_path: Path) -> None:
    """`mf query` over the real project and warehouse, each metric beside a query written by hand."""
    found = mf_query(costed, parsed_project, tmp_path / "answer.csv", "--metrics", ",".join(METRICS))
    assert len(found) == 1
    for name, query in METRICS.items():
        (wanted,) = costed.rows(f"select ({query}) as value")
        assert float(found[0][name]) == pytest.approx(float(wanted["value"]), rel=1e-9), name


def test_metrics_can_be_cut(costed: Built, parsed_project: Path, tmp_path: Path) -> None:
    """By month and by model of credit, over a join of neither."""
    cut = ("--metrics", "revenue_by_model", "--group-by", "metric_time__month,credit__attribution_model")
    found = mf_query(costed, parsed_project, tmp_path / "answer.csv", *cut)
    wanted = costed.rows(
        "select date_trunc('month', converted_at at time zone 'UTC')::date::text as month, model, sum(amount) as amount"
        " from marts.fct_attribution_credits where conversion_type = 'deal_won' and letter_id is not null group by 1, 2"
    )
    assert len(wanted) > 10
    assert {
        (row["metric_time__month"][:10], row["credit__attribution_model"]): Decimal(row["revenue_by_model"])
        for row in found
    } == {(row["month"], row["model"]): row["amount"] for row in wanted}


def test_returns_are_of_the_sums(costed: Built, parsed_project: Path, tmp_path: Path) -> None:
    """By model of credit: a cost is not counted once for each model, and letters without one are in neither sum."""
    names = ("letter_cost_by_model", "letter_profit_by_model", "letter_roi_by_model")
    cut = ("--metrics", ",".join(names), "--group-by", "return__attribution_model")
    found = mf_query(costed, parsed_project, tmp_path / "answer.csv", *cut)
    wanted = costed.rows(
        "select model, sum(cost) as cost, sum(profit) as profit, sum(profit) / sum(cost) as roi"
        " from marts.mart_letter_roi where cost is not null group by model"
    )
    assert len({row["roi"] for row in wanted}) > 3
    assert {row["return__attribution_model"]: [float(row[name]) for name in names] for row in found} == {
        row["model"]: pytest.approx([float(row["cost"]), float(row["profit"]), float(row["roi"])]) for row in wanted
    }


def test_cohorts_can_be_followed(costed: Built, parsed_project: Path, tmp_path: Path) -> None:
    """By months since the first letter."""
    cut = ("--metrics", "cohort_revenue,cohort_sales", "--group-by", "cohort__month_number")
    found = mf_query(costed, parsed_project, tmp_path / "answer.csv", *cut)
    wanted = costed.rows(
        "select month_number, sum(revenue) as revenue, sum(sale_count) as sales"
        " from marts.mart_cohort_revenue group by 1"
    )
    assert len(wanted) > 5
    assert {
        float(row["cohort__month_number"]): [float(row["cohort_revenue"]), float(row["cohort_sales"])] for row in found
    } == {row["month_number"]: pytest.approx([float(row["revenue"]), float(row["sales"])]) for row in wanted}


def test_every_metric_is_described(built: Built) -> None:
    """With a label that a chart can carry."""
    metrics = built.layers["segments"].manifest["metrics"].values()
    assert len(metrics) > 25
    assert [metric["name"] for metric in metrics if not metric["description"] or not metric["label"]] == []
