"""Questions of users: whatever SQL can answer becomes a frame, and what it can't is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings
from pricing_platform.stores.frames import unique_names
from pricing_platform.stores.queries import query_warehouse
from pricing_platform.stores.warehouse import Warehouse


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path)
    Warehouse.from_settings(settings).create_schema()
    return settings


def test_columns_of_one_name_are_numbered(settings: Settings) -> None:
    answer = query_warehouse(settings, "SELECT 1 AS a, 2 AS a, 3 AS b", {})
    assert answer.to_dicts() == [{"a": 1, "a_2": 2, "b": 3}]


def test_a_numbered_name_is_none_that_another_column_has() -> None:
    assert unique_names(["a", "a", "a_2", "a", "A"]) == ["a", "a_3", "a_2", "a_4", "A"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("INTERVAL 1 DAY", "1 day"),
        ("[INTERVAL 1 DAY]", "[1 day]"),
        ("{'a': 1, 'b': [INTERVAL 1 DAY]}", "{'a': 1, 'b': [1 day]}"),
        ("union_value(number := 1)", "1"),
        ("'101'::BIT", "101"),
        ("'a'::BLOB", "a"),
        ("[1, 2]::INTEGER[2]", [1, 2]),
        ("MAP {'a': 1}", {"a": 1}),
        ("'x'::ENUM('x', 'y')", "x"),
    ],
)
def test_what_a_frame_cannot_hold_is_text(settings: Settings, value: str, expected: object) -> None:
    answer = query_warehouse(settings, f'SELECT {value} AS "the ""value""", 1 AS one', {})
    assert answer.to_dicts() == [{'the "value"': expected, "one": 1}]


def test_the_order_of_the_rows_is_kept_where_a_column_becomes_text(settings: Settings) -> None:
    query = (
        "SELECT range AS n, to_days(range::INTEGER) AS d FROM range(100000) ORDER BY hash(range)"
    )
    answer = query_warehouse(settings, query, {})
    plain = query_warehouse(settings, query.replace(", to_days(range::INTEGER) AS d", ""), {})
    assert answer["n"].equals(plain["n"])


def test_a_wrong_query_is_told(settings: Settings) -> None:
    with pytest.raises(PlatformError, match="DuckDB refused the query"):
        query_warehouse(settings, "SELECT nothing", {})
