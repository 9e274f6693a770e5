"""The shipped SQL about knowledge: each query answers the question that its first line asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.observations import Observation, record
from pricing_platform.settings import sql_folder
from pricing_platform.stores.postgres import Postgres

NOW = datetime.now(UTC)
RULES = FactRules()


def ask(postgres: Postgres, name: str, **parameters: str) -> pl.DataFrame:
    path = sql_folder() / "queries" / f"{name}.postgres.sql"
    return postgres.frame(path.read_text(encoding="utf-8"), parameters)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def said(attribute: str, value: str, days: float, **more: Any) -> Observation:
    values = (value,) if value else ()
    subject = more.pop("subject", "Kvist Acoustics")
    return Observation(subject, attribute, "docs:a.md", values, days_ago(days), **more)


@pytest.fixture
def known(postgres: Postgres) -> Postgres:
    observations = [
        said("ceo", "Anna Berg", 100),
        said("ceo", "Ben Ode", 3),
        said("founder", "Cleo Das", 100),
        said("founder", "", 2),
        said("headquarters", "Aarhus", 1),
        said("price", "$1,100.00", 50, subject="speaker"),
        said("price", "$990.00", 4, subject="speaker"),
        said("price", "$50.00", 50, subject="cable"),
        said("price", "$10.00", 5, subject="cable"),
        said("price", "on request", 50, subject="amplifier"),
        said("price", "$10.00", 5, subject="amplifier"),
    ]
    record(postgres, observations, RULES)
    return postgres


def test_what_is_stale_comes_with_since_when(known: Postgres) -> None:
    answer = ask(known, "facts_stale", count="10")
    assert set(answer["subject"]) == {"cable", "amplifier", "speaker"}
    row = answer.row(by_predicate=pl.col("subject") == "speaker", named=True)
    assert row["stale_since"] == days_ago(3)
    assert (row["value"], row["freshness"]) == ("$990.00", "expired")
    assert ask(known, "facts_stale", count="1").height == 1


def test_what_changed_in_the_last_days(known: Postgres) -> None:
    answer = ask(known, "facts_changed", days="7", count="10")
    rows = answer.filter(pl.col("subject") == "kvist acoustics").drop("learnt_at", "subject").rows()
    assert rows == [
        ("headquarters", None, "Aarhus", "new"),
        ("founder", "Cleo Das", None, "gone"),
        ("ceo", "Anna Berg", "Ben Ode", "changed"),
    ]
    assert answer["learnt_at"][0] == days_ago(1)
    assert ask(known, "facts_changed", days="0", count="10").is_empty()
    assert ask(known, "facts_changed", days="1000", count="100").height > answer.height


def test_the_history_of_a_subject(known: Postgres) -> None:
    answer = ask(known, "facts_of_subject", subject=" KVIST Acoustics ")
    assert answer.select("attribute", "value", "valid_from", "valid_until").rows() == [
        ("ceo", "Ben Ode", days_ago(3), None),
        ("ceo", "Anna Berg", days_ago(100), days_ago(3)),
        ("founder", "Cleo Das", days_ago(100), days_ago(2)),
        ("headquarters", "Aarhus", days_ago(1), None),
    ]


def test_what_was_believed_on_a_date(known: Postgres) -> None:
    correction = said("ceo", "Dana Ek", 1, valid_from=days_ago(60))
    record(known, [correction], RULES)
    date = days_ago(40).date().isoformat()
    answer = ask(known, "facts_believed_on", date=date, count="100")
    rows = answer.filter(pl.col("subject") == "kvist acoustics")
    assert rows.select("attribute", "value", "was_wrong").rows() == [
        ("ceo", "Anna Berg", True),
        ("founder", "Cleo Das", False),
    ]


def test_passages_of_a_subject_are_its_own_first(postgres: Postgres) -> None:
    texts = {"kvist": "Loud speakers.", "news": "Kvist Acoustics is sold.", "other": "Pots."}
    with postgres.connection() as connection:
        for name, text in texts.items():
            subject = "kvist acoustics" if name == "kvist" else name
            connection.execute(
                "INSERT INTO knowledge.documents VALUES (%s, 's', %s, 'k', %s, %s, %s, '', %s, %s)",
                [name, name, name, subject, text, days_ago(2), days_ago(1)],
            )
            connection.execute(
                "INSERT INTO knowledge.chunks VALUES"
                " (%s, %s, 's', 'k', %s, 0, '', 0, 9, %s, '', '')",
                [f"{name}#0", name, subject, text],
            )
    answer = ask(postgres, "passages_of_subject", subject="Kvist Acoustics", count="5")
    assert answer.select("document_id", "is_its_own").rows() == [("kvist", True), ("news", False)]
    assert answer["verified_at"][0] == days_ago(1)


def test_failures_are_counted_by_connector(known: Postgres) -> None:
    with known.connection() as connection:
        (series_id,) = connection.execute(
            "UPDATE knowledge.fact_series SET failures = 2 WHERE attribute = 'ceo'"
            " RETURNING series_id"
        ).fetchone() or (0,)
        for connector, outcome, detail, days in (
            ("http:shop", "failed", "timed out", 2),
            ("http:shop", "failed", "answered 503", 1),
            ("http:shop", "confirmed", None, 3),
            ("http:shop", "failed", "long ago", 30),
            ("snapshot_folder", "changed", None, 1),
        ):
            connection.execute(
                "INSERT INTO knowledge.checks VALUES (%s, %s, %s, %s, %s, 0.5)",
                [days_ago(days), series_id, connector, outcome, detail],
            )
    answer = ask(known, "refresh_failures", days="7")
    shop, folder = answer.rows(named=True)
    assert (shop["connector"], shop["checks"], shop["failed"]) == ("http:shop", 3, 2)
    assert shop["percent_failed"] == pytest.approx(66.7)
    assert (shop["last_failure"], shop["last_failed_at"]) == ("answered 503", days_ago(1))
    assert (folder["connector"], folder["failed"], folder["last_failure"]) == (
        "snapshot_folder",
        0,
        None,
    )


def test_prices_that_moved_come_largest_first(known: Postgres) -> None:
    answer = ask(known, "price_moves", days="7", count="10")
    assert answer.select("subject", "value_before", "value", "percent_change").rows() == [
        ("cable", "$50.00", "$10.00", -80.0),
        ("speaker", "$1,100.00", "$990.00", -10.0),
    ]
    assert ask(known, "price_moves", days="4", count="10").is_empty()
