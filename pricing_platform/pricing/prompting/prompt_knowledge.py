"""What techniques with a language model are told besides the items themselves.

Here belongs reading it from the stores: what the train items cost at each time, and what is known
of brands now. Which of it stands in a prompt belongs to the technique.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from pricing_platform.language.price_text import states_money
from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse, fingerprint

_HISTORY = """
SELECT l.item_id, l.price, l.observed_at
FROM curated.price_observations AS l JOIN curated.items AS i USING (item_id)
WHERE i.split = 'train'
ORDER BY l.item_id, l.observed_at
"""
_FACTS = """
SELECT subject, attribute, value, source, valid_since, verified_at, freshness
FROM knowledge.current_facts
WHERE subject = ANY(%(subjects)s) AND kind <> 'price'
ORDER BY subject, attribute, value
"""
_STATEMENT = ("subject", "attribute", "value", "valid_since", "freshness")


def price_history(warehouse: Warehouse) -> pl.DataFrame:
    """Every price of every train item: ``item_id``, ``price``, ``observed_at``."""
    return warehouse.frame(_HISTORY)


def price_history_version(warehouse: Warehouse) -> str:
    """Another one where :func:`price_history` is another; no price is read for it."""
    return warehouse.data_version("curated.listings")


def brand_facts(postgres: Postgres, brands: Iterable[str | None]) -> pl.DataFrame:
    """The current facts about these brands, but for prices: an item's own may be among them.

    Those are facts of kind ``price``, whatever they are called, and whatever states an amount of
    money.

    Returns:
        ``subject`` (the brand as it is given here), ``attribute``, ``value``, ``source``,
        ``valid_since``, ``verified_at`` and ``freshness``.
    """
    given = {brand for brand in brands if brand}
    names = pl.DataFrame(
        [(normalise_subject(brand), brand) for brand in sorted(given)],
        schema={"subject": pl.String, "brand": pl.String},
        orient="row",
    )
    found = postgres.frame(_FACTS, {"subjects": names["subject"].to_list()})
    is_price = pl.col("value").map_elements(states_money, return_dtype=pl.Boolean)
    return (
        found.filter(~is_price)
        .join(names, on="subject", how="inner", maintain_order="left")
        .drop("subject")
        .rename({"brand": "subject"})
        .select("subject", pl.exclude("subject"))
    )


def facts_version(facts: pl.DataFrame) -> str:
    """Equal for facts that say the same, however lately they were verified."""
    return fingerprint(*facts.select(_STATEMENT).sort(_STATEMENT).iter_rows())
