from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markupsafe import escape

from pricing_platform.errors import PlatformError
from pricing_platform.evaluation import report
from pricing_platform.evaluation.queries import run_query
from pricing_platform.evaluation.report import render_report, write_report
from pricing_platform.settings import sql_folder
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import (
    HOSTILE_TITLE,
    ask_for_a_sample,
    evaluate,
    warehouse_of,
)

NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
VOID = {"meta", "img", "link", "br", "hr"}


class Page(HTMLParser):
    """What a reader would find: tags, attributes, text; and whether the tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def attributes(self, name: str) -> Iterator[str]:
        return (value for _, attributes in self.tags if (value := attributes.get(name)))


@pytest.fixture(scope="module")
def html(evaluated: Warehouse) -> str:
    return render_report(evaluated, fingerprint="0123abcd", now=NOW)


def test_prices_in_yen_have_no_decimals(tmp_path: Path) -> None:
    prices = [1_980.0 + 10 * number for number in range(80)]
    estimates = {
        "category_median": [price + 151.25 for price in prices],
        "knn": [price + 75.25 for price in prices],
    }
    split = ["validation" if number % 2 else "test" for number in range(len(prices))]
    for currency, shown, other in (("JPY", ">75<", "75.25"), ("USD", ">75.25<", ">75<")):
        folder = tmp_path / currency
        folder.mkdir()
        warehouse = warehouse_of(
            folder, prices, estimates, splits=split, currency=[currency] * len(prices)
        )
        evaluate(warehouse)
        html = render_report(warehouse, fingerprint="", now=NOW)
        assert shown in html
        assert other not in html


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_file_needs_nothing_but_itself(html: str, page: Page) -> None:
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", html))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object"})
    assert all(source.startswith("data:image/png;base64,") for source in page.attributes("src"))
    assert page.open == []


def test_texts_of_listings_are_text(html: str, page: Page) -> None:
    assert HOSTILE_TITLE not in html
    assert str(escape(HOSTILE_TITLE)) in html
    assert HOSTILE_TITLE in page.text
    assert "malformed JSON near <b>" in page.text


def test_the_contents_lead_to_every_section(page: Page) -> None:
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "h2"]
    links = [link.removeprefix("#") for link in page.attributes("href")]

    assert links[-len(sections) :] == sections
    assert set(links) <= set(page.attributes("id"))


def test_every_picture_is_there_and_described(page: Page) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]

    assert len(pictures) == 13
    assert all(picture["alt"] for picture in pictures)


def test_it_tells_how_the_replies_sound(html: str, page: Page) -> None:
    text = " ".join(html.split())
    assert "The classifier is right about 97 % of held-out replies." in text
    assert "Where is <my> parcel?" in page.text
    assert "<my>" not in html
    assert "On the road, says fine_tuned." in page.text


def test_it_tells_the_leaders_error_the_floor_the_leak_and_the_refusals(
    evaluated: Warehouse, html: str
) -> None:
    text = " ".join(html.split())
    (chosen,) = evaluated.frame(
        "SELECT mae, mae_low, mae_high FROM evaluation.leaderboard WHERE technique = 'stack'"
    ).to_dicts()

    assert "<b>stack</b>, chosen on the validation items" in text
    assert f"{chosen['mae']:.2f} USD on average (95 % interval {chosen['mae_low']:.2f}" in text
    assert "There tfidf_ridge comes out first" in text
    assert "price_per_watt * watts" in text
    assert "price_missing" in text
    assert "no_such_category" in text
    assert "Written 2026-03-02 12:30:00 UTC" in text


def test_it_tells_what_prompting_takes_the_knees_and_what_orders_moved(
    evaluated: Warehouse, html: str
) -> None:
    text = " ".join(html.split())
    knees = evaluated.frame("SELECT count FROM evaluation.context_sweep WHERE is_knee")["count"]
    moved = run_query(evaluated, "injection_resistance").filter(kind="all")["percent_moved"][0]

    assert "No answer in 60 &lt;s&gt;." in text
    assert all(f">{knee}, the knee" in text for knee in knees)
    assert ", window full" in text
    assert f"{moved:.1f} % <small>" in text
    assert "high_price_in_the_middle" in text


def test_it_tells_what_more_items_bring_and_what_an_estimate_takes(html: str) -> None:
    text = " ".join(html.split())

    assert "about 99 s, of 60 s 3 are left" in text
    assert "measured after 0 sizes; at least 2 are needed" in text
    assert "never, within 100 times the items" in text
    assert "prompt_multi_shot was not timed: The model &lt;is&gt; not there." in text
    assert "in batches of 32" in text
    assert "When fine-tuning has paid" in text


def test_every_query_that_it_names_is_shipped(html: str) -> None:
    named = set(re.findall(r"sql/queries/(\w+\.sql)", html))

    assert len(named) > 8
    assert named <= {path.name for path in (sql_folder() / "queries").iterdir()}


def test_the_same_tables_give_the_same_bytes_but_for_the_time(
    evaluated: Warehouse, html: str, tmp_path: Path
) -> None:
    path = tmp_path / "reports" / "evaluation.html"
    later = datetime(2027, 1, 1, tzinfo=UTC)

    assert write_report(evaluated, path, fingerprint="0123abcd", now=later) == path
    assert html != path.read_text()
    assert html.replace("2026-03-02 12:30:00", "2027-01-01 00:00:00") == path.read_text()


def test_the_fingerprint_stands_at_the_end(html: str) -> None:
    assert "0123abcd" in html[-100:]


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    evaluated: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("the report of yesterday")

    def full_disk(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report.os, "fsync", full_disk)
    with pytest.raises(PlatformError, match=r"report\.html cannot be written: No space left"):
        write_report(evaluated, path)

    assert path.read_text() == "the report of yesterday"
    assert list(tmp_path.iterdir()) == [path]


def test_before_an_evaluation_there_is_nothing_to_report(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0], {})
    evaluate(warehouse)

    with pytest.raises(PlatformError, match="No technique has been evaluated"):
        write_report(warehouse, tmp_path / "report.html")

    assert not (tmp_path / "report.html").exists()


def test_a_small_evaluation_has_a_report_too(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [100.0], {"stack": [90.0]}, splits=["validation"])
    evaluate(warehouse)

    text = " ".join(render_report(warehouse, fingerprint="", now=NOW).split())

    assert "It has not been run on the test items." in text
    assert "No row was refused." in text
    assert "No snapshots are recorded." in text
    assert "<img" not in text
    assert "No technique has asked a language model." in text
    assert "The amount of context has not been varied." in text
    assert "No orders have been planted." in text
    assert "What more items bring" not in text
    assert "What an estimate takes" not in text


def test_it_tells_that_some_were_asked_for_a_sample_and_compares_on_common_items(
    evaluated: Warehouse, html: str, tmp_path: Path
) -> None:
    warehouse = warehouse_of(
        tmp_path,
        [100.0] * 40,
        {
            "rag": [112.0] * 40,
            "stack": [103.0] * 10 + [150.0] * 10 + [110.0] * 20,
            "category_median": [120.0] * 40,
        },
        splits=["validation"] * 20 + ["test"] * 20,
    )
    for split, first in (("validation", 0), ("test", 20)):
        ids = [f"item-{number:04d}" for number in range(first, first + 10)]
        ask_for_a_sample(warehouse, "rag", ids, split=split)
    evaluate(warehouse)

    text = " ".join(render_report(warehouse, fingerprint="", now=NOW).split())

    assert "<b>stack</b>, chosen on the validation items" in text
    assert "Those with a language model were asked for a sample of the items" in text
    assert "the rank is by the error on them" in text
    on_common = "on the items that all were asked about"
    assert f"<b>50.0 %</b>less error than category_median, 20.00 {on_common}" in text
    assert "asked for a sample" not in " ".join(html.split()).split("How the numbers")[0]
