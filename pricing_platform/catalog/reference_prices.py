"""The best estimates that a source knows of its own prices, for a reference row.

Here belongs reading the files that ``reference_prices`` in ``sources.toml`` names. Nothing of it is
ever seen by a technique.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from pricing_platform.catalog.sources import Source
from pricing_platform.errors import PlatformError

COLUMNS = ("listing_id", "observed_at", "reference_price")


def read_reference_prices(sources: Sequence[Source]) -> pl.DataFrame:
    """``source``, ``listing_id``, ``price_observed_at``, ``reference_price`` of all sources.

    Raises:
        PlatformError: when a named file is missing or is no Parquet file with these columns.
    """
    frames = [_read(source) for source in sources if source.reference_prices is not None]
    if frames:
        return pl.concat(frames)
    return pl.DataFrame(
        schema={
            "source": pl.String,
            "listing_id": pl.String,
            "price_observed_at": pl.Datetime("us", "UTC"),
            "reference_price": pl.Float64,
        }
    )


def _read(source: Source) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(str(source.reference_prices), glob=False)
        frame = frame.filter(pl.col("source") == source.name) if "source" in frame else frame
        return frame.select(
            pl.lit(source.name).alias("source"),
            pl.col("listing_id").cast(pl.String).str.strip_chars(),
            pl.col("observed_at").cast(pl.Datetime("us", "UTC")).alias("price_observed_at"),
            pl.col("reference_price").cast(pl.Float64),
        )
    except (OSError, pl.exceptions.PolarsError) as error:
        raise PlatformError(
            f"Source {source.name!r}: its reference_prices {source.reference_prices} cannot be"
            f" read: {str(error).splitlines()[0]}.",
            f"It is a Parquet file with the columns {', '.join(COLUMNS)}.",
        ) from None
