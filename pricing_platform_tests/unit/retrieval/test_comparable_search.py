"""The nearest items, against brute force in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.retrieval import comparable_search
from pricing_platform.retrieval.comparable_search import find_comparables, measure_recall
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.item_embeddings import load_item_set, reconcile_item_embeddings
from pricing_platform.stores.embedded_postgres import EmbeddedPostgres
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.conftest import new_database
from pricing_platform_tests.unit.retrieval.curated_items import items, put
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder

COUNT = 2_500
BY_INDEX = 0  # no filter is narrow enough to be searched exactly


@pytest.fixture(scope="module")
def catalogue(
    postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Postgres, ItemSet]]:
    folder = tmp_path_factory.mktemp("catalogue")
    warehouse = Warehouse(folder / "warehouse.duckdb")
    put(warehouse, items(COUNT, categories=100))
    encoder = CachedEncoder(HashingEncoder(), folder / "embeddings.sqlite")
    with new_database(postgres_server) as database, closing(Postgres(database)) as postgres:
        postgres.migrate()
        reconcile_item_embeddings(warehouse, postgres, encoder, deletion_share_limit=1.0)
        yield postgres, load_item_set(warehouse, postgres, encoder.identity)


def nearest(items: ItemSet, query: int, mask: pl.Series, k: int) -> list[float]:
    """The similarities of the k nearest, by looking at all of them."""
    among = items.where(mask)
    return sorted((among.embeddings @ items.embeddings[query]).tolist(), reverse=True)[:k]


@pytest.mark.parametrize("exact_rows", [BY_INDEX, COUNT])
def test_the_nearest_are_found(catalogue: tuple[Postgres, ItemSet], exact_rows: int) -> None:
    postgres, found = catalogue
    result = find_comparables(postgres, found.embeddings[:20], 5, exact_rows=exact_rows)
    assert result.height == 100
    for query in range(20):
        rows = result.filter(pl.col("query_index") == query)
        assert rows["rank"].to_list() == [1, 2, 3, 4, 5]
        assert rows["item_id"][0] == found.frame["item_id"][query]
        expected = nearest(found, query, pl.repeat(True, COUNT, eager=True), 5)
        assert rows["similarity"].to_list() == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("exact_rows", [BY_INDEX, COUNT])
def test_filters_are_kept_and_filled(catalogue: tuple[Postgres, ItemSet], exact_rows: int) -> None:
    postgres, found = catalogue
    families = found.frame["family_id"].to_list()
    result = find_comparables(
        postgres,
        found.embeddings[:30],
        10,
        category="category 7",
        split="train",
        excluded_family_ids=families[:30],
        exact_rows=exact_rows,
    )
    assert result.group_by("query_index").len()["len"].to_list() == [10] * 30
    matched = result.join(found.frame, on="item_id")
    assert set(matched["category"]) == {"category 7"}
    assert set(matched["split"]) == {"train"}
    for query in range(30):
        rows = matched.filter(pl.col("query_index") == query).sort("rank")
        assert families[query] not in rows["family_id"].to_list()
        mask = (
            (found.frame["category"] == "category 7")
            & (found.frame["split"] == "train")
            & (found.frame["family_id"] != families[query])
        )
        expected = nearest(found, query, mask, 10)
        assert rows["similarity"].to_list() == pytest.approx(expected, abs=2e-3)


def test_a_price_comes_with_its_age(catalogue: tuple[Postgres, ItemSet]) -> None:
    postgres, found = catalogue
    row = find_comparables(postgres, found.embeddings[:1], 1).row(0, named=True)
    assert (row["price"], row["currency"]) == (1.0, "USD")
    assert row["price_observed_at"] == datetime(2026, 1, 1, tzinfo=UTC)
    now = datetime.now(UTC)
    assert abs((now - row["price_observed_at"] - row["age"]).total_seconds()) < 60


def test_there_are_fewer_only_where_fewer_match(catalogue: tuple[Postgres, ItemSet]) -> None:
    postgres, found = catalogue
    result = find_comparables(postgres, found.embeddings[:2], 50, category="category 7")
    assert result.group_by("query_index").len()["len"].to_list() == [25, 25]
    assert find_comparables(postgres, found.embeddings[:2], 5, category="nothing").is_empty()
    assert find_comparables(postgres, found.embeddings[:0], 5).is_empty()


def test_a_value_is_a_parameter_and_never_sql(catalogue: tuple[Postgres, ItemSet]) -> None:
    postgres, found = catalogue
    hostile = "' OR true; DROP TABLE catalog.items; --"
    assert find_comparables(postgres, found.embeddings[:1], 5, category=hostile).is_empty()
    assert postgres.frame("SELECT count(*) FROM catalog.items").item() == COUNT


def test_recall_is_measured_at_the_shipped_settings(catalogue: tuple[Postgres, ItemSet]) -> None:
    postgres, _ = catalogue
    recall = measure_recall(postgres, sample=60)
    assert recall.overall >= 0.99
    assert recall.filtered >= 0.95
    assert recall.rows_returned == 10
    assert recall.category_share == pytest.approx(0.01)
    assert measure_recall(postgres, sample=60) == recall


def test_a_narrow_filter_is_filled_by_the_index_too(catalogue: tuple[Postgres, ItemSet]) -> None:
    postgres, _ = catalogue
    recall = measure_recall(postgres, sample=30, exact_rows=BY_INDEX)
    assert recall.filtered >= 0.95
    assert recall.rows_returned == 10


def test_recall_falls_where_the_search_finds_the_wrong_items(
    catalogue: tuple[Postgres, ItemSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres, _ = catalogue
    farthest = comparable_search._BY_INDEX.replace(
        "<=> %(vector)s\n    LIMIT", "<=> %(vector)s DESC\n    LIMIT"
    )
    assert farthest != comparable_search._BY_INDEX
    monkeypatch.setattr(comparable_search, "_BY_INDEX", farthest)
    recall = measure_recall(postgres, sample=20, exact_rows=BY_INDEX)
    assert recall.overall < 0.5
    assert recall.filtered < 0.95


def test_recall_counts_an_equal_item_and_misses_a_worse_one() -> None:
    def found(*similarities: float) -> pl.DataFrame:
        return pl.DataFrame(
            {"query_index": [0] * len(similarities), "similarity": similarities}
        ).cast({"query_index": pl.Int64})

    truth = found(0.9, 0.8, 0.8, 0.7)
    assert comparable_search._shared(found(0.9, 0.8, 0.7), truth) == 0.75
    assert comparable_search._shared(found(0.9, 0.8, 0.8, 0.6), truth) == 0.75
    assert comparable_search._shared(found(0.9, 0.8, 0.8, 0.7), truth) == 1.0
    assert comparable_search._shared(truth.clear(), truth) == 0.0


def test_a_catalogue_without_items_has_no_misses(postgres: Postgres) -> None:
    recall = measure_recall(postgres)
    assert (recall.overall, recall.filtered, recall.category) == (1.0, 1.0, None)
    assert np.isfinite(recall.category_share)
