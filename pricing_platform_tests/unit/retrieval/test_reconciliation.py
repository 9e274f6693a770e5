"""Embeddings follow their rows, whatever changes, stops, or happens at the same time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from psycopg.conninfo import make_conninfo

from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent
from pricing_platform.retrieval import item_embeddings, reconciliation
from pricing_platform.retrieval.comparable_search import find_comparables, measure_recall
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Encoder, Vectors
from pricing_platform.retrieval.item_embeddings import (
    items_without_embedding,
    load_item_set,
    reconcile_item_embeddings,
)
from pricing_platform.retrieval.reconciliation import ReconciliationSummary
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.retrieval.curated_items import items, put, with_text
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder
from pricing_platform_tests.unit.retrieval.tiny_encoders import write_modules, write_transformer

ROOT = Path(__file__).parents[3]
STATE = """
    SELECT i.*, e.fingerprint AS embedded, e.model, e.embedding::text
    FROM catalog.items AS i FULL JOIN catalog.item_embeddings AS e USING (item_id)
    ORDER BY item_id
"""
INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'catalog' ORDER BY 1"


def run(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder, limit: float = 0.2
) -> ReconciliationSummary:
    return reconcile_item_embeddings(warehouse, postgres, encoder, deletion_share_limit=limit)


def counts(summary: ReconciliationSummary) -> dict[str, int]:
    """What is not nothing."""
    found = {k: v for k, v in vars(summary).items() if k != "seconds"}
    return {name: count for name, count in found.items() if count}


def indexes(postgres: Postgres) -> list[str]:
    return postgres.frame(INDEXES)["indexname"].to_list()


def test_a_second_run_encodes_and_writes_nothing(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    assert counts(run(warehouse, postgres, encoder)) == {"inserted": 60, "encoded": 60}
    assert indexes(postgres) == [
        "item_embeddings_hnsw",
        "item_embeddings_pkey",
        "items_category",
        "items_pkey",
    ]
    before = postgres.frame("SELECT *, xmin::text FROM catalog.items ORDER BY item_id")
    assert counts(run(warehouse, postgres, encoder)) == {"unchanged": 60}
    after = postgres.frame("SELECT *, xmin::text FROM catalog.items ORDER BY item_id")
    assert after.equals(before)


def test_only_what_changed_is_encoded(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder, hashing: HashingEncoder
) -> None:
    run(warehouse, postgres, encoder)
    hashing.encoded.clear()
    new = items(63)
    put(warehouse, with_text(new.slice(2), ["shop:00005", "shop:00040"], " renewed"))
    assert counts(run(warehouse, postgres, encoder)) == {
        "inserted": 3,
        "updated": 2,
        "deleted": 2,
        "unchanged": 56,
        "encoded": 5,
    }
    assert len(hashing.encoded) == 5
    assert items_without_embedding(warehouse, postgres).is_empty()


def test_a_price_changes_without_encoding(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    put(warehouse, items(60).with_columns(price=pl.col("price") * 2))
    assert counts(run(warehouse, postgres, encoder)) == {"unchanged": 60}
    prices = postgres.frame("SELECT price FROM catalog.items ORDER BY item_id")["price"]
    assert prices.to_list() == [2.0 * (1 + row) for row in range(60)]


def test_moves_and_reverts_come_from_the_cache(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    original = postgres.frame(STATE)
    put(warehouse, with_text(items(60), ["shop:00005"], " renewed"))
    assert counts(run(warehouse, postgres, encoder))["encoded"] == 1
    put(warehouse, items(60))
    assert counts(run(warehouse, postgres, encoder)) == {
        "updated": 1,
        "cached": 1,
        "unchanged": 59,
    }
    assert postgres.frame(STATE).equals(original)


def test_another_model_encodes_everything_again(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    other = CachedEncoder(HashingEncoder("other:fedcba9876543210"), encoder.path)
    assert counts(run(warehouse, postgres, other)) == {"updated": 60, "encoded": 60}
    models = postgres.frame("SELECT DISTINCT model FROM catalog.item_embeddings")
    assert models.rows() == [("other:fedcba987654",)]


def test_another_template_makes_every_embedding_stale(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(warehouse, postgres, encoder)
    monkeypatch.setattr(item_embeddings, "TEXT_TEMPLATE_VERSION", "next")
    assert counts(run(warehouse, postgres, encoder)) == {"updated": 60, "cached": 60}


def test_deleting_too_much_is_refused_and_changes_nothing(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    before = postgres.frame(STATE)
    put(warehouse, with_text(items(60).head(45), ["shop:00001"], " renewed"))
    with pytest.raises(PlatformError, match=r"15 of the 60 rows .* \(25%\)") as raised:
        run(warehouse, postgres, encoder)
    assert "PRICING_DELETION_SHARE_LIMIT=0.26" in raised.value.remedy
    assert postgres.frame(STATE).equals(before)
    assert counts(run(warehouse, postgres, encoder, limit=0.26))["deleted"] == 15


def test_an_empty_warehouse_does_not_empty_postgres(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    put(warehouse, items(0))
    with pytest.raises(PlatformError, match="100%"):
        run(warehouse, postgres, encoder)


def columns(postgres: Postgres) -> dict[str, str]:
    return dict(
        postgres.frame(
            "SELECT attrelid::regclass::text,"
            " format_type(atttypid, atttypmod) || ' ' || attstorage::text FROM pg_attribute"
            " WHERE attname = 'embedding' AND attrelid::regclass::text ~ 's$'"
        ).iter_rows()
    )


def of_dimensions(encoder: CachedEncoder, dimensions: int) -> CachedEncoder:
    hashing = HashingEncoder(f"wide:{dimensions:064}", dimensions)
    return CachedEncoder(hashing, encoder.path)


@pytest.mark.parametrize(
    ("dimensions", "storage", "indexed"),
    [(32, "p", True), (1_100, "p", True), (4_000, "e", True), (4_100, "e", False)],
)
def test_the_column_follows_the_encoders_dimensions_and_back(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    dimensions: int,
    storage: str,
    indexed: bool,
) -> None:
    run(warehouse, postgres, encoder)
    table = "catalog.item_embeddings"
    state, definitions, were = postgres.frame(STATE), postgres.frame(INDEXES), columns(postgres)
    assert were[table] == "halfvec(384) p"
    wide = of_dimensions(encoder, dimensions)
    assert counts(run(warehouse, postgres, wide)) == {"inserted": 60, "encoded": 60}
    assert columns(postgres) == {**were, table: f"halfvec({dimensions}) {storage}"}
    assert ("item_embeddings_hnsw" in indexes(postgres)) is indexed
    assert counts(run(warehouse, postgres, wide)) == {"unchanged": 60}
    found = load_item_set(warehouse, postgres, wide.identity)
    assert found.embeddings.shape == (60, dimensions)
    similar = find_comparables(postgres, found.embeddings[:5], 3, exact_rows=0)
    assert similar.filter(pl.col("rank") == 1)["item_id"].to_list() == [
        f"shop:{row:05}" for row in range(5)
    ]
    assert measure_recall(postgres, sample=20).overall > 0.9
    with pytest.raises(PlatformError, match="60 of 60 items have no embedding"):
        load_item_set(warehouse, postgres, encoder.identity)

    assert counts(run(warehouse, postgres, encoder)) == {"inserted": 60, "cached": 60}
    assert postgres.frame(STATE).equals(state)
    assert postgres.frame(INDEXES).equals(definitions)
    assert columns(postgres) == were


def test_scratch_tables_follow_by_themselves(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    wide = of_dimensions(encoder, 32)
    run(warehouse, postgres, wide)
    were = columns(postgres)
    with postgres.scratch() as scratch:
        for tried, counted in ((wide, "cached"), (encoder, "encoded")):
            assert counts(run(warehouse, scratch, tried)) == {"inserted": 60, counted: 60}
            found = load_item_set(warehouse, scratch, tried.identity)
            assert found.embeddings.shape == (60, tried.dimensions)
    assert columns(postgres) == were
    assert counts(run(warehouse, postgres, wide)) == {"unchanged": 60}


def test_a_real_encoder_of_other_dimensions_is_stored_and_found(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder, tmp_path: Path
) -> None:
    folder = write_transformer(tmp_path / "tiny", hidden=1_100)
    write_modules(folder, "Normalize", pooling={"pooling_mode_cls_token": True})
    tiny = CachedEncoder(Encoder(folder, name="tiny"), encoder.path)
    run(warehouse, postgres, encoder)
    put(warehouse, items(60).with_columns(text=pl.lit("oak drill ") + pl.col("text")))
    run(warehouse, postgres, tiny)
    found = load_item_set(warehouse, postgres, tiny.identity)
    assert found.embeddings.shape == (60, 1_100)
    np.testing.assert_allclose(
        found.embeddings, tiny.encoder.encode(found.frame["text"].to_list()), atol=1e-3
    )
    (nearest,) = find_comparables(postgres, found.embeddings[7:8], 1).iter_rows(named=True)
    assert nearest["similarity"] > 0.999


def test_another_encoder_that_would_delete_too_much_changes_no_column(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    before = postgres.frame(STATE)
    put(warehouse, items(30))
    with pytest.raises(PlatformError, match="30 of the 60 rows"):
        run(warehouse, postgres, of_dimensions(encoder, 32))
    assert columns(postgres)["catalog.item_embeddings"] == "halfvec(384) p"
    assert postgres.frame(STATE).equals(before)


def test_more_dimensions_than_postgres_holds_are_refused(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    with pytest.raises(PlatformError, match="16,001 dimensions"):
        run(warehouse, postgres, of_dimensions(encoder, 16_001))


def test_embeddings_of_another_user_are_told(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    with postgres.connection() as connection:
        connection.execute("CREATE ROLE somebody")
        connection.execute("ALTER TABLE catalog.item_embeddings OWNER TO somebody")
        connection.execute("CREATE ROLE plain")
        connection.execute("GRANT USAGE, CREATE ON SCHEMA catalog, public TO plain")
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA catalog, public TO plain")
        connection.execute("REVOKE TRUNCATE ON catalog.item_embeddings FROM plain")
    try:
        other = Postgres(make_conninfo(str(postgres._url), options="-c role=plain"))
        with closing(other), pytest.raises(PlatformError, match="We may not change"):
            run(warehouse, other, of_dimensions(encoder, 32))
        assert counts(run(warehouse, postgres, encoder)) == {"unchanged": 60}
    finally:
        with postgres.connection() as connection:
            connection.execute("ALTER TABLE catalog.item_embeddings OWNER TO current_user")
            connection.execute("DROP OWNED BY plain, somebody")
            connection.execute("DROP ROLE plain, somebody")


class Interrupted(HashingEncoder):
    """Lets something happen while a chunk is being encoded."""

    def __init__(self, meanwhile: object) -> None:
        super().__init__()
        self.meanwhile = meanwhile

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Vectors:
        meanwhile, self.meanwhile = self.meanwhile, None
        if callable(meanwhile):
            meanwhile()
        return super().encode(texts, progress)


def test_a_row_that_changes_while_it_is_encoded_keeps_its_newer_embedding(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder, tmp_path: Path
) -> None:
    def newer() -> None:
        put(warehouse, with_text(items(60), ["shop:00005"], " renewed"))
        run(warehouse, postgres, encoder)

    slow = CachedEncoder(Interrupted(newer), tmp_path / "slow.sqlite")
    summary = run(warehouse, postgres, slow)
    assert counts(summary) == {"encoded": 60, "superseded": 60}
    found = load_item_set(warehouse, postgres, encoder.identity, "item_id = 'shop:00005'")
    assert found.frame["text"].item().endswith("renewed")
    newest = encoder.embed(found.frame["text"].to_list()).vectors
    np.testing.assert_array_equal(found.embeddings, newest)
    assert counts(run(warehouse, postgres, encoder)) == {"unchanged": 60}


def test_an_encoder_that_another_one_overtakes_writes_none_of_its_vectors(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder, tmp_path: Path
) -> None:
    wide = of_dimensions(encoder, 32)

    def overtakes() -> None:
        assert counts(run(warehouse, postgres, wide)) == {"inserted": 60, "encoded": 60}

    slow = CachedEncoder(Interrupted(overtakes), tmp_path / "slow.sqlite")
    assert counts(run(warehouse, postgres, slow)) == {"encoded": 60, "superseded": 60}
    assert counts(run(warehouse, postgres, wide)) == {"unchanged": 60}
    assert load_item_set(warehouse, postgres, wide.identity).embeddings.shape == (60, 32)


def test_a_row_that_changed_and_is_not_yet_encoded_is_left_to_the_other(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder, tmp_path: Path
) -> None:
    def row_changes() -> None:
        with postgres.connection() as connection:
            connection.execute(
                "UPDATE catalog.items SET fingerprint = 'newer' WHERE item_id = 'shop:00005'"
            )

    slow = CachedEncoder(Interrupted(row_changes), tmp_path / "slow.sqlite")
    assert counts(run(warehouse, postgres, slow)) == {
        "inserted": 59,
        "encoded": 60,
        "superseded": 1,
    }
    missing = postgres.frame(
        "SELECT item_id FROM catalog.items LEFT JOIN catalog.item_embeddings AS e USING (item_id)"
        " WHERE e.item_id IS NULL"
    )
    assert missing["item_id"].to_list() == ["shop:00005"]
    assert counts(run(warehouse, postgres, slow)) == {"inserted": 1, "cached": 1, "unchanged": 59}


def test_an_item_deleted_while_it_is_encoded_stays_deleted(
    warehouse: Warehouse, postgres: Postgres, tmp_path: Path
) -> None:
    def item_goes() -> None:
        with postgres.connection() as connection:
            connection.execute("DELETE FROM catalog.items WHERE item_id = 'shop:00005'")

    slow = CachedEncoder(Interrupted(item_goes), tmp_path / "slow.sqlite")
    assert counts(run(warehouse, postgres, slow))["superseded"] == 1
    assert postgres.frame("SELECT count(*) FROM catalog.item_embeddings").item() == 59


def test_a_large_change_rebuilds_the_index(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def index_id() -> int:
        query = "SELECT 'catalog.item_embeddings_hnsw'::regclass::oid::int8"
        return int(postgres.frame(query).item())

    monkeypatch.setattr(reconciliation, "_REBUILD_ROWS", 10)
    run(warehouse, postgres, encoder)
    first = index_id()
    put(warehouse, with_text(items(60), ["shop:00005"], " renewed"))
    run(warehouse, postgres, encoder)
    assert index_id() == first
    put(warehouse, items(60).with_columns(text=pl.col("text") + " renewed"))
    run(warehouse, postgres, encoder)
    assert index_id() != first


# For each number on standard input, a fork reconciles and kills itself before the statement of that
# number; what it exited with, or how many statements it ran, is printed.
KILLED = """
import os, signal, sys
from pathlib import Path
import psycopg
from pricing_platform.retrieval import reconciliation
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.item_embeddings import reconcile_item_embeddings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.retrieval.hashing_encoder import HashingEncoder

home, database = Path(sys.argv[1]), sys.argv[2]
encoder = HashingEncoder(sys.argv[3], int(sys.argv[4]))
reconciliation._CHUNK = 20
reconciliation._REBUILD_ROWS = 10
execute = psycopg.Connection.execute

def reconcile(fatal):
    statements = 0
    postgres = Postgres(database)
    with postgres.connection():
        pass

    def counted(self, *arguments, **options):
        nonlocal statements
        statements += 1
        if statements == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(self, *arguments, **options)

    psycopg.Connection.execute = counted
    cache = home / "cache" / "killed.sqlite"
    reconcile_item_embeddings(
        Warehouse(home / "warehouse.duckdb"),
        postgres,
        CachedEncoder(encoder, cache),
        deletion_share_limit=0.2,
    )
    print(statements, flush=True)
    os._exit(0)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        reconcile(int(line))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print(status, flush=True)
"""


@pytest.mark.parametrize("dimensions", [384, 32])
def test_killed_anywhere_and_run_again_it_ends_like_a_clean_build(
    tmp_path: Path,
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    monkeypatch: pytest.MonkeyPatch,
    dimensions: int,
) -> None:
    other = encoder if dimensions == 384 else of_dimensions(encoder, dimensions)
    monkeypatch.setattr(reconciliation, "_REBUILD_ROWS", 10)
    old, new = items(60), items(66).slice(3).with_columns(text=pl.col("text") + " renewed")
    put(warehouse, new)
    run(warehouse, postgres, other)
    clean, clean_indexes = postgres.frame(STATE), postgres.frame(INDEXES)
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(postgres._url)]
    command += [other.identity, str(dimensions)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as runner:

        def killed_before(statement: int) -> int:
            put(warehouse, old)
            run(warehouse, postgres, encoder, limit=1.0)
            put(warehouse, new)
            (tmp_path / "cache" / "killed.sqlite").unlink(missing_ok=True)
            assert runner.stdin is not None
            assert runner.stdout is not None
            print(statement, file=runner.stdin, flush=True)
            return int(runner.stdout.readline())

        statements = killed_before(-1)
        assert statements > 20
        assert postgres.frame(STATE).equals(clean)
        for statement in range(2, statements + 1, 4 if dimensions == 384 else 3):
            assert killed_before(statement) == -9
            run(warehouse, postgres, other)
            assert postgres.frame(STATE).equals(clean), statement
            assert postgres.frame(INDEXES).equals(clean_indexes), statement


def test_items_come_beside_their_embeddings(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    found = load_item_set(
        warehouse, postgres, encoder.identity, "category = $category", {"category": "category 1"}
    )
    assert found.frame["item_id"].is_sorted()
    assert found.frame.columns == [column.name for column in warehouse.columns("curated.items")]
    assert len(found) == 15
    np.testing.assert_array_equal(
        found.embeddings, encoder.embed(found.frame["text"].to_list()).vectors
    )


def test_items_without_a_current_embedding_are_named(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    assert items_without_embedding(warehouse, postgres).is_empty()
    with postgres.connection() as connection:
        connection.execute("DELETE FROM catalog.item_embeddings WHERE item_id = 'shop:00007'")
    put(warehouse, with_text(items(60), ["shop:00009"], " renewed"))
    missing = items_without_embedding(warehouse, postgres)
    assert missing["item_id"].to_list() == ["shop:00007", "shop:00009"]
    with pytest.raises(PlatformError, match="2 of 60 items have no embedding"):
        load_item_set(warehouse, postgres, encoder.identity)
    first = load_item_set(warehouse, postgres, encoder.identity, "item_id < 'shop:00007'")
    assert len(first) == 7


def test_another_encoders_embeddings_are_not_taken_for_this_ones(
    warehouse: Warehouse, postgres: Postgres, encoder: CachedEncoder
) -> None:
    run(warehouse, postgres, encoder)
    with pytest.raises(PlatformError, match=r"60 of 60 items have no embedding .* by another"):
        load_item_set(warehouse, postgres, "another:0123")


def test_progress_ends_where_it_said_it_would(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconciliation, "_CHUNK", 25)
    reported: list[tuple[int, int]] = []
    reconcile_item_embeddings(
        warehouse,
        postgres,
        encoder,
        deletion_share_limit=0.2,
        progress=lambda _what, done, total: reported.append((done, total)),
    )
    assert reported == [(25, 60), (50, 60), (60, 60)]


def test_a_table_without_an_index_gets_none(
    warehouse: Warehouse,
    postgres: Postgres,
    encoder: CachedEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_embeddings, "_ITEMS", replace(item_embeddings._ITEMS, index=None))
    run(warehouse, postgres, encoder)
    assert "item_embeddings_hnsw" not in indexes(postgres)
