"""Texts that give away what an item of test costs, which none that a model learns from may.

Here belongs the search, for probes, replayed texts and any other. That they are refused belongs to
the asset check.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

FOUND_SCHEMA = pl.Schema(
    {
        "text": pl.Int64,
        "item_id": pl.String,
        "title": pl.String,
        "price": pl.Float64,
        "share_of_title": pl.Float64,
    }
)

_WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_TITLE_SHARE = 0.8


def texts_with_prices(texts: Sequence[str], items: pl.DataFrame) -> pl.DataFrame:
    """The items whose title and price both stand in one of the texts.

    A title stands there when at least 80 % of its words do, whatever their order: texts are seldom
    word for word. A price stands there as it is, or rounded to whole units, with or without commas.
    That errs towards finding too much. Only items whose price is a number of some text are looked
    at, so millions of items take as long as reading their prices.

    Args:
        texts: what a model is asked or trained on.
        items: ``item_id``, ``title`` and ``price`` of the items of test.

    Returns:
        ``text`` (place among the texts, from 0), ``item_id``, ``title``, ``price`` and
        ``share_of_title``, sorted; no rows where nothing is given away.
    """
    texts_of: dict[float, list[int]] = {}
    words = [frozenset(_WORD.findall(text.casefold())) for text in texts]
    for place, text in enumerate(texts):
        for number in sorted({float(at.replace(",", "")) for at in _NUMBER.findall(text)}):
            texts_of.setdefault(number, []).append(place)
    numbers = pl.Series(list(texts_of), dtype=pl.Float64).implode()
    price = pl.col("price").cast(pl.Float64)
    candidates = (
        items.select("item_id", "title", price)
        .drop_nulls()
        .with_columns(exact=pl.col("price").round(2), rounded=(pl.col("price") + 0.5).floor())
        .filter(pl.col("exact").is_in(numbers) | pl.col("rounded").is_in(numbers))
    )
    rows = []
    for item_id, title, cost, exact, rounded in candidates.iter_rows():
        wanted = frozenset(_WORD.findall(title.casefold()))
        places = {*texts_of.get(exact, ()), *texts_of.get(rounded, ())}
        for place in places if wanted else ():
            share = len(wanted & words[place]) / len(wanted)
            if share >= _TITLE_SHARE:
                rows.append((place, item_id, title, cost, share))
    return pl.DataFrame(rows, schema=FOUND_SCHEMA, orient="row").sort("text", "item_id")
