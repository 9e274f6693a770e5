"""Reference rows: estimates that no technique made, for techniques to be measured against.

The noise floor is what a model that knew everything but the noise would say. A source that knows
those prices, such as the bundled catalogue, brings them in a file. How they are made belongs to the
source.
"""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

NOISE_FLOOR = "noise_floor"
"""The name under which reference prices stand beside the techniques; the views know it too."""


def reference_predictions(items: pl.DataFrame, reference: pl.DataFrame) -> pl.DataFrame:
    """Rows for ``evaluation.predictions``: each item's reference price at the time of its price.

    Args:
        items: rows of ``curated.items``.
        reference: ``source``, ``listing_id``, ``price_observed_at`` and ``reference_price``.

    Returns:
        One row an item of validation and test whose reference is known, ordered by item.
    """
    keys = ["source", "listing_id", "price_observed_at"]
    moment = pl.col("price_observed_at").cast(pl.Datetime("us", "UTC"))
    known = reference.with_columns(moment).unique(keys, keep="first", maintain_order=True)
    return (
        items.filter(pl.col("split").is_in(["validation", "test"]))
        .with_columns(moment)
        .join(known.select(*keys, "reference_price"), on=keys)
        .sort("item_id")
        .select(
            "item_id",
            "split",
            "price",
            pl.lit(NOISE_FLOOR).alias("technique"),
            pl.lit("reference prices").alias("model"),
            pl.col("price_observed_at").alias("snapshot"),
            pl.col("reference_price").alias("estimate"),
            pl.lit(datetime.now(UTC)).alias("created_at"),
        )
    )
