"""Which families are trained, tuned and tested on, and the proof that none stands on two sides.

Here belong the assignment of a family to a split and the checks of that assignment. What a family
is belongs to ``families``.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal, get_args

import polars as pl

from pricing_platform.stores.warehouse import Warehouse

Split = Literal["train", "validation", "test"]

SPLIT_SHARES: dict[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}
"""The share of the families that each split is meant to hold."""

SET_ASIDE = "set_aside"
"""In the place of a split: of an item whose family has, by what joined it later, another one."""

SPLIT_ASSIGNMENTS = pl.Schema(
    {"item_id": pl.String, "split": pl.String, "family_id": pl.String, "round": pl.Int64}
)
"""The columns of ``curated.split_assignments``."""

_HASH_DIGITS = 8
_HASH_RANGE = 16**_HASH_DIGITS


def split_of(family_id: str) -> Split:
    """A new family's split: the same in every process, whatever else is in the catalogue."""
    digest = hashlib.sha256(family_id.encode()).hexdigest()
    position = int(digest[:_HASH_DIGITS], 16)
    for split, bound in _upper_bounds().items():
        if position < bound:
            return split
    raise AssertionError("the bounds cover the whole range of the hash")


def split_expression(family_column: str) -> str:
    """:func:`split_of` as a DuckDB expression over a column of family ids."""
    position = f"CAST('0x' || left(sha256({family_column}), {_HASH_DIGITS}) AS UBIGINT)"
    branches = " ".join(
        f"WHEN {position} < {bound} THEN '{split}'" for split, bound in _upper_bounds().items()
    )
    return f"CASE {branches} END"


def two_sided(warehouse: Warehouse) -> pl.DataFrame:
    """Whatever stands in more than one split: a leak from training into the evaluation.

    Looks at ``curated.items`` by family, by item and by text, at every observation of an item in
    ``curated.listings``, and compares each item's split with that of its family and with the one
    that was recorded when it was first seen. What is set aside is on no side.

    Returns:
        One row a leak: ``kind`` (family, item, text, assignment), ``key`` and ``splits``.
    """
    return warehouse.frame(
        """
        WITH sided AS (
            SELECT 'family' AS kind, family_id AS key, split FROM curated.items
            UNION ALL SELECT 'family', family_id, split FROM curated.item_families
            UNION ALL SELECT 'item', item_id, split FROM curated.items
            UNION ALL SELECT 'item', item_id, split FROM curated.item_families
            UNION ALL
            SELECT 'listing', source || ' ' || listing_id, split
            FROM curated.listings JOIN curated.item_families USING (item_id)
            WHERE listing_id <> ''
            UNION ALL SELECT 'text', content_hash, split FROM curated.items
        )
        SELECT kind, key, list_sort(list(DISTINCT split)) AS splits
        FROM sided
        WHERE split <> $set_aside
        GROUP BY kind, key
        HAVING count(DISTINCT split) > 1
        UNION ALL
        SELECT 'assignment', item_id, [assigned.split, families.split]
        FROM curated.item_families AS families
        JOIN curated.split_assignments AS assigned USING (item_id)
        WHERE families.split NOT IN (assigned.split, $set_aside)
        ORDER BY kind, key
        """,
        {"set_aside": SET_ASIDE},
    )


def split_shares(warehouse: Warehouse, *, minimum_tolerance: float = 0.02) -> pl.DataFrame:
    """How the families fall into the splits, and whether chance explains the deviation.

    A family falls into a split with the split's share as probability, so the share of the families
    is binomial: it is within tolerance up to four standard deviations, and always up to
    ``minimum_tolerance``.

    Returns:
        One row a split: ``split``, ``families``, ``items``, ``share`` (of the families),
        ``expected``, ``tolerance`` and ``within``.
    """
    counted = warehouse.frame(
        "SELECT split, count(DISTINCT family_id) AS families, count(*) AS items"
        " FROM curated.item_families WHERE split <> ? GROUP BY split",
        [SET_ASIDE],
    )
    total = int(counted["families"].sum())
    planned = pl.DataFrame(
        {
            "split": list(SPLIT_SHARES),
            "expected": list(SPLIT_SHARES.values()),
            "tolerance": [
                max(minimum_tolerance, 4 * math.sqrt(share * (1 - share) / max(total, 1)))
                for share in SPLIT_SHARES.values()
            ],
        }
    )
    shares = planned.join(counted, on="split", how="left", maintain_order="left").with_columns(
        pl.col("families", "items").fill_null(0)
    )
    share = pl.col("families") / max(total, 1)
    return shares.select(
        "split",
        "families",
        "items",
        share.alias("share"),
        "expected",
        "tolerance",
        ((share - pl.col("expected")).abs() <= pl.col("tolerance")).alias("within"),
    )


def _upper_bounds() -> dict[Split, int]:
    """Where each split ends on the range of the hash, in the order of ``SPLIT_SHARES``."""
    bounds: dict[Split, int] = {}
    covered = 0.0
    for split in get_args(Split):
        covered += SPLIT_SHARES[split]
        bounds[split] = round(covered * _HASH_RANGE)
    return bounds
