"""Families: items so nearly alike that one of them in training would give the other's price away.

Here belongs how verified links between titles become families of items. Finding and verifying the
links belongs to ``near_duplicates``, what a family is used for to ``splits``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.catalog.items import LAST_OBSERVED
from pricing_platform.catalog.near_duplicates import Encode, link_titles
from pricing_platform.catalog.splits import split_expression
from pricing_platform.stores.warehouse import Warehouse

FAMILIES_VERSION = "1"
"""Raised when the same listings would be put into other families."""

FAMILY_SHARE_LIMIT = 0.005
"""A family that holds a larger share of the items is no family but a chain of resemblances."""
FAMILY_SIZE_BOUNDS = (8, 64)
"""The same limit in items for small and for large catalogues."""

_STRENGTHS = (0.6, 0.7, 0.8, 0.9, 1.0, np.inf)
"""What links inside too large a family must reach, step by step; equal texts are never cut."""

_FAMILIES = f"""
WITH members AS (
    SELECT
        item_id,
        min(item_id) OVER family AS family_id,
        count(*) OVER family AS family_size,
        title,
        item_count
    FROM products
    JOIN titles USING (title)
    JOIN components USING (title)
    WINDOW family AS (PARTITION BY component)
),
evidence AS (
    SELECT title, arg_min(evidence, rank) AS evidence
    FROM (
        SELECT
            unnest([left_title, right_title]) AS title,
            evidence,
            list_position(['same_title', 'model_number', 'minhash', 'embedding'], evidence) AS rank
        FROM kept_links
    )
    GROUP BY title
)
SELECT
    item_id,
    family_id,
    family_size,
    CASE
        WHEN family_size = 1 THEN 'alone'
        WHEN item_count > 1 THEN 'same_title'
        ELSE evidence.evidence
    END AS evidence,
    {split_expression("family_id")} AS split
FROM members LEFT JOIN evidence USING (title)
ORDER BY item_id
"""


@dataclass(frozen=True)
class FamilySummary:
    """How the families came about.

    ``links`` counts the verified links between titles by evidence (the items of one title, which
    need no link, are not in it), ``links_cut`` those given up because a family was too large.
    """

    items: int
    titles: int
    families: int
    largest_family: int
    links: dict[str, int]
    links_cut: int


def assign_families(warehouse: Warehouse, encode: Encode) -> pl.DataFrame:
    """The rows of ``curated.item_families``; see :func:`find_families`."""
    return find_families(warehouse, encode)[0]


def find_families(warehouse: Warehouse, encode: Encode) -> tuple[pl.DataFrame, FamilySummary]:
    """Puts every item of ``curated.listings``, as last observed, into a family and a split.

    Items share a family when they have the same normalised title in one source and category, the
    same text, the same distinctive model number without contradicting brands, or titles that are
    verified near-duplicates; and when a chain of such links joins them, unless the family would
    exceed :func:`family_limit`: then its weakest links are cut. The result does not depend on the
    order of the rows.

    Args:
        warehouse: read once and closed; ``encode`` runs with no connection to it open.
        encode: texts to embeddings of unit length, shape (texts, dimensions). It is given the
            items' own ``text``, so that a cache of embeddings serves both uses.

    Returns:
        A frame with the columns of ``curated.item_families``, sorted by item_id, and how it came
        about.
    """
    with warehouse.staging_folder() as staging:
        products = staging / "products.parquet"
        _export_products(warehouse, products)
        with warehouse.scratch() as connection:
            return group_products(connection, products, encode, staging)


def group_products(
    connection: duckdb.DuckDBPyConnection, products: Path, encode: Encode, folder: Path
) -> tuple[pl.DataFrame, FamilySummary]:
    """:func:`find_families` for products in a Parquet file, one row an item.

    The arguments are those of :func:`near_duplicates.link_titles`.
    """
    link_titles(connection, products, encode, folder)
    links_cut = _join_titles(connection)
    families = _frame(connection, _FAMILIES).sort("item_id")
    return families, _summary(connection, families, links_cut)


def family_limit(items: int) -> int:
    """The most items that chains of links may join; one title's items stay together regardless."""
    smallest, largest = FAMILY_SIZE_BOUNDS
    return min(max(int(items * FAMILY_SHARE_LIMIT), smallest), largest)


def connect(
    sizes: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
    strength: npt.NDArray[np.float64],
    limit: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Connected components, those above the limit cut apart by ever stricter links.

    Args:
        sizes: the weight of each node.
        left: one end of each link, an index into ``sizes``.
        right: its other end.
        strength: of each link; an infinite one is never cut.
        limit: the largest total weight of a component that links of finite strength may join.

    Returns:
        The component of each node, and which links were kept.
    """
    kept = np.ones(len(left), dtype=np.bool_)
    for required in _STRENGTHS:
        components = _components(len(sizes), left[kept], right[kept])
        oversized = np.bincount(components, weights=sizes, minlength=1) > limit
        weak = oversized[components[left]] & (strength < required) & kept
        if not oversized.any():
            break
        kept &= ~weak
    return _components(len(sizes), left[kept], right[kept]), kept


def _components(
    nodes: int, left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]
) -> npt.NDArray[np.int32]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(nodes, nodes))
    labels: npt.NDArray[np.int32] = connected_components(links.tocsr(), directed=False)[1]
    return labels


def _export_products(warehouse: Warehouse, products: Path) -> None:
    with warehouse.read() as connection:
        connection.execute(
            f"COPY (SELECT item_id, source, category, title, brand, model_number, text,"
            f" content_hash FROM ({LAST_OBSERVED})) TO ? (FORMAT parquet)",
            [str(products)],
        )


def _join_titles(connection: duckdb.DuckDBPyConnection) -> int:
    """Leaves the tables components and kept_links; returns how many links were cut."""
    sizes = connection.execute("SELECT item_count FROM titles ORDER BY title").fetchnumpy()
    links = _frame(connection, "SELECT * FROM links ORDER BY left_title, right_title, evidence")
    weights = np.asarray(sizes["item_count"], dtype=np.int64)
    components, kept = connect(
        weights,
        links["left_title"].to_numpy(),
        links["right_title"].to_numpy(),
        links["strength"].to_numpy(),
        family_limit(int(weights.sum())),
    )
    joined = pl.DataFrame(
        {"title": np.arange(len(weights), dtype=np.int32), "component": components}
    )
    connection.register("components", joined.to_arrow())
    connection.register("kept_links", links.filter(pl.Series(kept)).to_arrow())
    return int((~kept).sum())


def _summary(
    connection: duckdb.DuckDBPyConnection, families: pl.DataFrame, links_cut: int
) -> FamilySummary:
    counted = connection.execute(
        "SELECT evidence, count(*) FROM links GROUP BY evidence ORDER BY evidence"
    ).fetchall()
    titles = connection.execute("SELECT count(*) FROM titles").fetchall()
    return FamilySummary(
        items=families.height,
        titles=titles[0][0],
        families=families["family_id"].n_unique(),
        largest_family=int(families["family_size"].max() or 0),  # type: ignore[arg-type]
        links=dict(counted),
        links_cut=links_cut,
    )


def _frame(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(connection.sql(query).to_arrow_table()))
