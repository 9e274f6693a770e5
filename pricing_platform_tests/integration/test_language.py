"""The techniques that ask a language model, as a user sees them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.language.prompts import templates_version
from pricing_platform.pricing.registry import LANGUAGE_TECHNIQUES, technique_names
from pricing_platform.pricing.serving.price_service import PricingService
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.integration.built_home import BuiltHome

TEXT = "Cotton & Kay Sheet Set, 400 thread count, queen size"


def frame(home: BuiltHome, query: str) -> pl.DataFrame:
    return Warehouse.from_settings(home.settings).frame(query)


def test_rag_shows_the_comparables_that_it_used_and_its_prompt(built_home: BuiltHome) -> None:
    ran = built_home.command("price", "--technique", "rag", "--json", TEXT)
    assert ran.returncode == 0, ran.stderr
    priced = json.loads(ran.stdout)
    assert priced["comparables"]
    for used in priced["comparables"]:
        assert used["title"].split()[0] in priced["prompt"]
        assert f"Price: ${max(1, round(used['price']))}\n" in priced["prompt"]
    assert TEXT in priced["prompt"]
    explained = built_home.command("price", "--technique", "rag", "--explain", TEXT)
    assert TEXT in explained.stdout


def test_a_technique_without_a_model_says_that_it_has_no_prompt(built_home: BuiltHome) -> None:
    ran = built_home.command("price", "--technique", "category_median", "--explain", TEXT)
    assert "asks no language model" in ran.stdout


@pytest.mark.parametrize("technique", LANGUAGE_TECHNIQUES)
def test_every_call_stands_in_the_ledger(built_home: BuiltHome, technique: str) -> None:
    taken = frame(
        built_home,
        "SELECT p.item_id, any_value(p.tokens_in) AS said, sum(c.tokens_in) AS counted,"
        " any_value(p.prompt_version) AS version, count(c.item_id) AS calls"
        " FROM evaluation.predictions AS p"
        " LEFT JOIN evaluation.llm_calls AS c USING (technique, item_id)"
        f" WHERE technique = '{technique}' GROUP BY p.item_id",
    )
    assert taken.height > 50
    assert taken["calls"].min() >= (3 if technique == "prompt_chain" else 1)  # type: ignore[operator]
    assert taken["said"].to_list() == taken["counted"].to_list()
    assert taken["version"].unique().to_list() == [templates_version()]


def test_what_else_was_asked_stands_there_too(built_home: BuiltHome) -> None:
    purposes = frame(built_home, "SELECT DISTINCT technique FROM evaluation.llm_calls")["technique"]
    for purpose in ("fitting/rag", "context_sweep/shots", "injection_resistance/prompt_chain"):
        assert purpose in purposes


def test_no_comparable_is_of_the_own_family_nor_has_a_later_price(built_home: BuiltHome) -> None:
    """Of what was shown in the run itself, the prompts are not kept: they are made again."""
    with PricingService.open(built_home.settings, "rag") as service:
        technique = service._fitted
        items, _ = service._placed(
            frame(
                built_home,
                "SELECT * FROM curated.items WHERE split = 'test' ORDER BY item_id LIMIT 40",
            )
        )
        shown = technique.shown_comparables(items)  # type: ignore[attr-defined]
    pairs = pl.DataFrame(
        [
            (item_id, moment, at.item_id, at.price)
            for item_id, moment, comparables in zip(
                items.frame["item_id"], items.frame["price_observed_at"], shown, strict=True
            )
            for at in comparables
        ],
        schema=["item_id", "moment", "shown_id", "price"],
        orient="row",
    )
    assert pairs.height > 40
    with Warehouse.from_settings(built_home.settings).read() as connection:
        connection.register("pairs", pairs.to_arrow())
        wrong = connection.sql(
            """
            SELECT * FROM pairs
            JOIN curated.items AS own USING (item_id)
            JOIN curated.items AS other ON other.item_id = shown_id
            WHERE other.family_id = own.family_id OR other.split <> 'train' OR NOT EXISTS (
                SELECT 1 FROM curated.listings AS seen
                WHERE seen.item_id = shown_id AND seen.observed_at <= moment
                    AND seen.price = pairs.price
            )
            """
        ).pl()
    assert wrong.is_empty()


CLOSED = {"PRICING_LLM_BASE_URL": "http://127.0.0.1:9/v1", "PRICING_LLM_MODEL": "x"}


def test_a_model_that_cannot_be_asked_keeps_no_other_technique_from_being_evaluated(
    built_home: BuiltHome, tmp_path: Path
) -> None:
    home, built = BuiltHome(tmp_path, built_home.sources), built_home.settings
    for folder in (built.cache_folder, built.checkpoints_folder):
        shutil.copytree(folder, tmp_path / "home" / folder.name)
    shutil.copy(built.warehouse_path, tmp_path / "home")
    swept = frame(home, "SELECT * FROM evaluation.context_sweep ORDER BY ALL")

    ran = home.command("run", environment=CLOSED, timeout=500)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    told = next(line for line in ran.stderr.splitlines() if line.startswith("not asked"))
    for told_of in (*LANGUAGE_TECHNIQUES, "127.0.0.1:9"):
        assert told_of in told
    assert "context_sweep" in ran.stderr
    assert "not measured: " in ran.stderr
    rows = frame(home, "SELECT technique, failure, estimate FROM evaluation.predictions")
    asking = rows.filter(pl.col("technique").is_in(LANGUAGE_TECHNIQUES))
    assert asking["technique"].n_unique() == len(LANGUAGE_TECHNIQUES)
    assert asking["failure"].str.starts_with("not_asked: ").all()
    others = set(technique_names()) - set(LANGUAGE_TECHNIQUES)
    board = frame(home, "SELECT technique FROM evaluation.leaderboard WHERE mae_common IS NOT NULL")
    assert others <= set(board["technique"])
    for technique in others:
        assert technique in ran.stdout
    assert frame(home, "SELECT * FROM evaluation.context_sweep ORDER BY ALL").equals(swept)
