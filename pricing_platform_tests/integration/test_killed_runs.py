"""A run that is killed anywhere, and run again, ends like a run that nobody disturbed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from pricing_platform.finetuning.checkpoints import list_checkpoints
from pricing_platform.instance import open_instance
from pricing_platform.pricing.registry import technique_names
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.integration.built_home import BuiltHome, new_home

KILLED_AFTER = (
    "raw_listings",
    "chunk_embeddings",
    "items",
    "fact_observations",
    "item_embeddings",
    "classical_model",
    "language_techniques",
    "predictions",
)

# When things were seen differs between two homes, and so do the numbers of series.
KNOWLEDGE = (
    "SELECT document_id, title, subject, content_hash FROM knowledge.documents ORDER BY 1",
    "SELECT chunk_id, r.fingerprint, e.fingerprint AS embedded, e.model, e.embedding::text"
    " FROM knowledge.chunks AS r FULL JOIN knowledge.chunk_embeddings AS e USING (chunk_id)"
    " ORDER BY 1",
    "SELECT lexeme, chunks FROM knowledge.lexemes ORDER BY 1",
    "SELECT chunks, lexemes FROM knowledge.corpus",
    "SELECT subject, attribute, kind, value, source FROM knowledge.current_facts ORDER BY 1, 2, 4",
    "SELECT subject, attribute, value, source, valid::text, recorded::text"
    " FROM knowledge.fact_versions JOIN knowledge.fact_series USING (series_id)"
    " WHERE connector = 'snapshot_folder'"
    " ORDER BY 1, 2, 5, 6",
    "SELECT subject, attribute, text, e.embedding::text FROM knowledge.fact_sentences"
    " FULL JOIN knowledge.fact_embeddings AS e USING (fact_id) ORDER BY 1, 2, 3",
)


RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
from pricing_platform.cli import main
sys.argv = ["pricing-platform", "run"]
main()
"""


def stop_after(
    environment: Mapping[str, str], folder: Path, asset: str, pause: float, number: signal.Signals
) -> tuple[int, str]:
    """Starts a run and signals it a moment after it has said that the asset is materialized."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if "✓" in line and line.split()[1].partition("[")[0] == asset:
                time.sleep(pause)
                process.send_signal(number)
                break
        seen += process.stderr.readlines()
        return process.wait(60), "".join(seen)


def weights(files: dict[str, str]) -> dict[str, str]:
    """The files that hold what was learnt; JSON and card beside them tell how long it took."""
    return {n: sha256 for n, sha256 in files.items() if not n.endswith((".json", ".md"))}


def contents(settings: Settings) -> dict[str, object]:
    """Everything that a run leaves, by content and not by time."""
    warehouse = Warehouse.from_settings(settings)
    # raw.snapshots holds where the files lie, which differs between two homes; timings differ
    # between any two runs.
    versions = warehouse.frame(
        "SELECT table_name, partition_key, data_version, row_count FROM meta.table_states"
        " WHERE table_name NOT IN ('evaluation.technique_metrics', 'evaluation.inference_cost',"
        " 'evaluation.break_even', 'raw.snapshots') ORDER BY ALL"
    )
    # Latencies and training times are measured, and so differ between any two runs.
    metrics = warehouse.frame(
        "SELECT * FROM evaluation.technique_metrics"
        " WHERE metric NOT LIKE 'latency%' AND metric <> 'training_seconds' ORDER BY ALL"
    )
    postgres = Postgres.from_settings(settings)
    try:
        embeddings = postgres.frame(
            "SELECT item_id, fingerprint, model, embedding::text FROM catalog.item_embeddings"
            " ORDER BY item_id"
        )
        indexes = postgres.frame(
            "SELECT indexname::text FROM pg_indexes"
            " WHERE schemaname IN ('catalog', 'knowledge') ORDER BY 1"
        )
        knowledge = [postgres.frame(query) for query in KNOWLEDGE]
    finally:
        postgres.close()
    checkpoints = {
        name: [
            (checkpoint.path.name, weights(checkpoint.manifest.files))
            for checkpoint in list_checkpoints(settings.checkpoints_folder, name)
        ]
        for name in technique_names()
    }
    return {
        "versions": versions,
        "metrics": metrics,
        "embeddings": embeddings,
        "indexes": indexes,
        **{f"knowledge {number}": rows for number, rows in enumerate(knowledge)},
        "checkpoints": checkpoints,
    }


def test_the_first_run_of_all_reads_the_bundled_catalogue_and_can_be_interrupted(
    built_home: BuiltHome, tmp_path: Path
) -> None:
    named = {"PRICING_SOURCES", "PRICING_HOME"}
    environment = {k: v for k, v in built_home.environment.items() if k not in named}
    status, told = stop_after(environment, tmp_path, "listings", 0.0, signal.SIGINT)
    assert status == 130, told
    assert "raw_listings[harbor_goods]" in told
    assert "run the same command again" in told
    assert "Traceback" not in told


@pytest.mark.timeout(600)
def test_killed_at_every_step_and_run_again_ends_like_an_undisturbed_run(
    built_home: BuiltHome, tmp_path: Path
) -> None:
    killed = new_home(tmp_path / "killed")
    moments = random.Random(0)
    for asset in KILLED_AFTER:
        pause = moments.uniform(0.0, 0.8)
        status, told = stop_after(killed.environment, killed.folder, asset, pause, signal.SIGKILL)
        assert status == -signal.SIGKILL, told
    ran = killed.command("run")
    assert ran.returncode == 0, ran.stderr
    expected, found = contents(built_home.settings), contents(killed.settings)
    for name, value in expected.items():
        same = (
            value.equals(found[name]) if isinstance(value, pl.DataFrame) else value == found[name]
        )  # type: ignore[arg-type]
        assert same, f"{name}: {value} is now {found[name]}"
    leftovers = [
        path
        for path in killed.settings.home_folder.rglob("*")
        if path.name.startswith(".partial")
        or path.name.endswith(".unfinished")
        or path.parent == killed.settings.cache_folder / "staging"
    ]
    assert leftovers == []
    with open_instance(killed.settings) as instance:
        unfinished = [run.run_id for run in instance.get_runs() if not run.is_finished]
    assert unfinished == []
