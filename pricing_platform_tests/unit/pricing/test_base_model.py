"""When the platform's own language model is trained, and what its checkpoint is filed under."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.errors import PlatformError
from pricing_platform.language.model import Tool
from pricing_platform.language.prompts import Currency
from pricing_platform.pricing import base_model
from pricing_platform.pricing.base_model import (
    BaseModelFitting,
    fit_base_model,
    read_documents,
)
from pricing_platform.retrieval.documents import reconcile_documents
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.language.base_model.made_items import TINY
from pricing_platform_tests.unit.retrieval.document_files import folder_of, write

Planned = Callable[[], BaseModelFitting]


@pytest.fixture
def planned(postgres: Postgres, tmp_path: Path) -> Planned:
    """Plans the smallest of trainings over the documents that now stand in Postgres."""
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    with warehouse.write() as connection:
        connection.execute("CREATE SCHEMA curated")
        connection.execute("CREATE TABLE curated.items (currency VARCHAR)")
    small = TINY.model_copy(update={"token_budget": 2_000})

    def fitting() -> BaseModelFitting:
        settings = Settings(home=tmp_path)
        found = BaseModelFitting.current(warehouse, postgres, "encoder", settings)
        return replace(found, configuration=small)

    keep_documents(postgres, tmp_path, "# Acme\n\nActs soon.")
    return fitting


def keep_documents(postgres: Postgres, tmp_path: Path, text: str) -> None:
    folder = folder_of(tmp_path / "documents")
    write(folder.root, {"acme.md": text})
    reconcile_documents(postgres, [folder], deletion_share_limit=1.0)


def test_documents_that_were_replaced_since_are_not_learnt_from(
    postgres: Postgres, tmp_path: Path, planned: Planned, catalogue: ItemSet
) -> None:
    fitting = planned()
    assert read_documents(postgres, fitting.documents_version) == ["# Acme\n\nActs soon."]
    keep_documents(postgres, tmp_path, "# Acme\n\nActs late.")

    def documents() -> list[str]:
        return read_documents(postgres, fitting.documents_version)

    with pytest.raises(PlatformError, match="documents were replaced"):
        fit_base_model(fitting, lambda: catalogue, documents)
    assert fitting.find() is None


def test_a_model_is_trained_once_for_the_same_items_and_documents(
    postgres: Postgres, tmp_path: Path, planned: Planned, catalogue: ItemSet
) -> None:
    items = ItemSet(
        catalogue.frame.with_columns(content_hash="text"), np.asarray(catalogue.embeddings)
    )

    def fit() -> tuple[str, bool]:
        fitting = planned()
        checkpoint, reused = fit_base_model(
            fitting,
            lambda: items,
            lambda: read_documents(postgres, fitting.documents_version),
        )
        return checkpoint.path.name, reused

    first, reused = fit()
    assert not reused
    assert fit() == (first, True)
    keep_documents(postgres, tmp_path, "# Acme\n\nActs late.")
    assert fit()[1] is False


def _tool(name: str, description: str) -> Tool:
    return Tool(name, description, BaseModel)


@pytest.mark.parametrize(
    "changed",
    [
        {"items_version": "other"},
        {"documents_version": "other"},
        {"encoder": "other"},
        {"configuration": TINY},
        {"currency": Currency("EUR")},
        {"seed": 99},
    ],
)
def test_the_fingerprint_follows_what_the_training_follows_from(
    planned: Planned, changed: dict[str, Any]
) -> None:
    fitting = planned()
    assert fitting.fingerprint == planned().fingerprint
    assert replace(fitting, **changed).fingerprint != fitting.fingerprint


def test_the_fingerprint_follows_the_names_and_descriptions_of_the_tools(
    planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    for tools in (
        [_tool("find", "finds")],
        [_tool("find", "finds more")],
        [_tool("look", "finds")],
    ):
        monkeypatch.setattr(base_model, "TOOLS", tools)
        seen.add(planned().fingerprint)
    assert len(seen) == 3
