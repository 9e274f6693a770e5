"""What programs read: CSV and JSON lines of whatever a query answers."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from pricing_platform.console import print_frame, print_leaderboard


def csv_rows(frame: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    print_frame(frame, "csv")
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def json_rows(frame: pl.DataFrame, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    print_frame(frame, "json")
    lines = capsys.readouterr().out.splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def test_nested_columns_are_json_text_in_csv(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.DataFrame(
        {
            "numbers": [[1, 2], None],
            "texts": [["ö", None], []],
            "parts": [{"a": 1, "b": [date(2026, 1, 1)]}, None],
            "fixed": pl.Series([[1.0, float("inf")], None], dtype=pl.Array(pl.Float64, 2)),
            "deep": [[[1], None], None],
        }
    )
    first, second = csv_rows(frame, capsys)
    assert {name: json.loads(cell) for name, cell in first.items()} == {
        "numbers": [1, 2],
        "texts": ["ö", None],
        "parts": {"a": 1, "b": ["2026-01-01"]},
        "fixed": [1.0, None],
        "deep": [[1], None],
    }
    assert [second[name] for name in ("numbers", "parts", "deep", "fixed")] == [""] * 4
    assert second["texts"] == "[]"


def test_what_csv_cannot_hold_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    one = uuid.UUID(int=1)
    frame = pl.DataFrame(
        {
            "binary": [b"a\xff"],
            "duration": [timedelta(days=1)],
            "object": pl.Series([one], dtype=pl.Object),
        }
    )
    assert csv_rows(frame, capsys) == [
        {"binary": r"a\xff", "duration": "1 day, 0:00:00", "object": str(one)}
    ]


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.DataFrame(
        {
            "number": [float("inf"), float("nan"), 1.5],
            "numbers": [[float("-inf")], [0.5], None],
            "parts": [{"a": float("nan")}, None, {"a": 1.0}],
            "binary": [b"a", None, b"b"],
        }
    )
    assert json_rows(frame, capsys) == [
        {"number": None, "numbers": [None], "parts": {"a": None}, "binary": "a"},
        {"number": None, "numbers": [0.5], "parts": None, "binary": None},
        {"number": 1.5, "numbers": None, "parts": {"a": 1.0}, "binary": "b"},
    ]


@pytest.mark.parametrize(
    ("currency", "shown"), [("JPY", "1,980"), ("USD", "1,980.00"), ("KWD", "1,980.000")]
)
def test_prices_have_the_decimals_of_their_currency(
    currency: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_frame(pl.DataFrame({"price": [1980.0], "currency": [currency], "similarity": [0.5]}))
    (row,) = (line for line in capsys.readouterr().out.splitlines() if currency in line)
    assert row.replace("│", " ").split() == [shown, currency, "0.5"]


@pytest.mark.parametrize(
    ("ranked_by", "title"),
    [("mae_common", "best first by MAE on common items"), ("mae", "best first\n")],
)
def test_the_leaderboard_shows_items_and_both_errors(
    ranked_by: str, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    board = pl.DataFrame(
        {
            "rank": [1, None],
            "technique": ["rag", "noise_floor"],
            "items": [150, 505],
            **{name: [7.251, 2.0] for name in ("mae", "mae_low", "mae_high")},
            "mae_common": [6.667, None],
            "answered": [0.98, 1.0],
            "ranked_by": [ranked_by, ranked_by],
            **{
                name: [0.5, 0.1]
                for name in ("rmsle", "smape", "within_20_percent", "r2", "interval_coverage")
            },
            "latency_p50_ms": [12.0, None],
            "training_seconds": [None, None],
        },
        schema_overrides={"training_seconds": pl.Float64},
    )

    print_leaderboard(board, "USD")

    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if " rag " in line)
    for text in (" 147 of 150 ", " 7.25 (7.25 to 7.25) ", " 6.67 "):
        assert text in row
    assert "MAE, common" in printed
    assert title in "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
