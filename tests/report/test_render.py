"""The page itself: safe, self-contained, and saying what the data says."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import psycopg
import pytest
from tests.report.conftest import AT

from lettertrail.errors import ContractError
from lettertrail.report import collect, render, write_report
from lettertrail.report.data import DATA_DRIVEN, MODELS
from lettertrail.report.format import NBSP, THIN
from lettertrail.report.render import FUNNEL_STAGES, MODEL_NAMES
from lettertrail.report.truth import Recovery, TruthComparison, TypeComparison
from lettertrail.settings import DBT_PROJECT_DIR

VOID = {"meta", "link", "br", "input", "img", "hr"}
REFERENCES = {"src", "href", "xlink:href", "srcset", "action", "formaction", "data", "poster"}


class Page(HTMLParser):
    """Tags with their attributes, the visible text, and whether every tag is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "head"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.words))


def truth() -> TruthComparison:
    """Two true deals worth 1200; the model credits 1000, of which 700 are true and 400 at the right letter."""
    recovery = Recovery(
        model="last_touch",
        credited=Decimal(3),
        credited_amount=Decimal(1000),
        caused=Decimal(2),
        caused_amount=Decimal(700),
        right_letter=Decimal(1),
        right_letter_amount=Decimal(400),
    )
    won = TypeComparison("deal_won", conversions=2, amount=Decimal(1200), models=(recovery,))
    return TruthComparison(won=won, leads=replace(won, conversion_type="lead_created"))


@pytest.fixture
def page(small_dsn: str) -> str:
    return render(collect(small_dsn, at=AT), truth=truth())


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    """Links lead to places on the page, the icon is empty, and there is no script at all."""
    parsed = Page(page)
    references = [
        value for _, attributes in parsed.tags for name, value in attributes.items() if name in REFERENCES and value
    ]
    assert {reference[:1] for reference in references if reference != "data:,"} == {"#"}
    assert not {"script", "iframe", "object", "embed", "img", "form", "base"} & {tag for tag, _ in parsed.tags}
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert "http:" not in page
    assert "https:" not in page
    assert not re.search(r"@import|@font-face|url\((?!#)", page)


def test_links_on_the_page_lead_somewhere(page: str) -> None:
    """Each entry of the contents and each label has its target; no id is used twice."""
    parsed = Page(page)
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    targets = {(attributes.get("href") or "")[1:] for tag, attributes in parsed.tags if tag == "a"}
    labels = {attributes["for"] for tag, attributes in parsed.tags if tag == "label"}
    assert targets | labels <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_markup_is_balanced(page: str) -> None:
    """Every tag that is opened is closed in its turn."""
    parsed = Page(page)
    assert parsed.unbalanced == []
    assert parsed.open == []


def test_titles_are_text_and_never_markup(page: str) -> None:
    """A title with tags and quotes in it shows them; it neither makes bold type nor ends an attribute."""
    assert "Осенняя &lt;b&gt;распродажа&lt;/b&gt; 🍂" in page
    assert "<b>распродажа" not in page
    assert 'title="Скидки &#34;до 40 %&#34; &amp; more"' in page


def test_no_address_reaches_the_page(page: str) -> None:
    """Neither suppressed addresses nor those in titles and brake reasons."""
    assert not re.search(r"[\w.+-]+@[\w-]+\.\w+", page)
    assert "Ask [address]" in page


def test_all_models_stand_side_by_side(page: str) -> None:
    """Seven by a rule and three data-driven ones, which say nothing of single letters."""
    text = Page(page).text
    for model in (*MODELS, *DATA_DRIVEN):
        assert text.count(MODEL_NAMES[model]) >= (3 if model in MODELS else 1), model
    money = f"1{THIN}000{NBSP}₽"
    by_rule, by_paths = " ".join([money] + [f"250{NBSP}₽"] * 6), " ".join([f"250{NBSP}₽"] * 3)
    assert f"News of [address] {by_rule} {by_paths}" in text
    assert f"Markov, 2nd order 1 1 {money} 66.7{NBSP}% – – mailchimp:autumn (campaign)" in text


def test_figures_are_those_of_the_data(page: str) -> None:
    """Tiles, rates and credits say what the small warehouse holds."""
    text = Page(page).text
    assert f"Letters are credited with 1{THIN}000{NBSP}₽, 66.7{NBSP}% of what was won" in text
    assert f"Won revenue 1{THIN}500{NBSP}₽ 2 won deals" in text
    assert "People written to 2 140 messages sent" in text
    assert "Suppressed people 2 3 addresses" in text
    assert "Records pushed 7" in text
    assert f"42 30.0{NBSP}% of delivered" in text
    assert f"Of 65 opened messages 42 (64.6{NBSP}%) were opened by people" in text
    assert "120 joined and 26 left; 60 are active now" in text
    assert f"4{THIN}003 rows of 1 tables were copied" in text


def test_funnel_stages_are_those_of_the_model() -> None:
    """A stage renamed in dbt would quietly lose its denominator; here it is noticed."""
    model = (DBT_PROJECT_DIR / "models" / "marts" / "mart_funnel.sql").read_text(encoding="utf-8")
    assert re.findall(r"\('([a-z ]+)', '\w+'\)", model) == [*FUNNEL_STAGES, "revenue"]


def test_a_rate_that_was_not_tracked_is_a_dash(page: str) -> None:
    """Not tracked is not zero: the letter without rates shows dashes."""
    row = page[page.index('title="Ask [address]"', page.index('<table class="letters">')) :]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", row[: row.index("</tr>")])
    assert cells[3:6] == ["–", "–", "–"]


def test_each_model_ranks_the_letters_for_itself(page: str) -> None:
    """Last touch and first touch credit different letters; the linear model both."""
    panes = re.findall(r'<div class="pane pane-(\w+)">(.*?)</ol>', page, flags=re.DOTALL)
    assert {model: pane.count("<li>") for model, pane in panes} == {
        "last_touch": 1,
        "first_touch": 1,
        "linear": 2,
        "position_based": 1,
        "time_decay": 2,
        "w_shape": 1,
        "last_non_direct": 1,
    }


def test_a_stopped_push_says_why(page: str) -> None:
    """The brake's reason stands under the push it stopped."""
    assert "too many would leave: [address]" in Page(page).text


def test_every_chart_has_words_for_it(page: str) -> None:
    """Charts carry a label, and their numbers stand in a table beneath."""
    figures = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    assert len(figures) == 6
    assert all("aria-label=" in figure and "<h3>" in figure and "<table" in figure for figure in figures)


def test_recovered_and_true_is_shown_only_where_the_truth_is_known(page: str, small_dsn: str) -> None:
    """Two thirds of the credit are true, and half of that is at the right letter."""
    text = Page(page).text
    assert f"Last touch Deal won 2 3 100{NBSP}% 66.7{NBSP}% 50.0{NBSP}%" in text
    without = Page(render(collect(small_dsn, at=AT))).text
    assert "truly caused" not in without
    assert "#truth" not in without


@pytest.mark.parametrize("warehouse", ["warehouse_dsn", "marts_dsn"])
def test_an_empty_warehouse_says_what_is_missing(warehouse: str, request: pytest.FixtureRequest) -> None:
    """Without marts, and with marts that hold nothing, each part names the relation it waits for."""
    page = render(collect(request.getfixturevalue(warehouse), at=AT))
    parsed = Page(page)
    assert parsed.unbalanced == []
    assert "There is no letter yet." in parsed.text
    assert "No table has been loaded yet." in parsed.text
    assert ("Not there yet" in parsed.text) == (warehouse == "warehouse_dsn")


def test_writing_replaces_the_page_in_one_step(small_dsn: str, tmp_path: Path) -> None:
    """Who is reading the old page reads it to its end; the new one is whole, and no draft is left beside it."""
    path = tmp_path / "report" / "index.html"
    assert write_report(small_dsn, path, at=AT) == path
    with path.open(encoding="utf-8") as reader:
        write_report(small_dsn, path, at=AT + timedelta(days=1))
        before, after = reader.read(), path.read_text(encoding="utf-8")
    assert before != after
    assert before.endswith("</html>")
    assert after.endswith("</html>")
    assert [file.name for file in path.parent.iterdir()] == ["index.html"]


def test_a_failed_report_leaves_the_old_one_in_place(small_dsn: str, tmp_path: Path) -> None:
    """A page that cannot be made does not destroy the page there was."""
    path = tmp_path / "index.html"
    path.write_text("yesterday", encoding="utf-8")
    with psycopg.connect(small_dsn) as connection:
        connection.execute("alter table marts.dim_suppression drop column state")
    with pytest.raises(ContractError):
        write_report(small_dsn, path, at=AT)
    assert path.read_text(encoding="utf-8") == "yesterday"
