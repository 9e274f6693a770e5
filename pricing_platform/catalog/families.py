"""Families: items so nearly alike that one of them in training would give the other's price away.

Here belongs how verified links between titles become families of items. Finding and verifying the
links belongs to ``near_duplicates``, what a family is used for to ``splits``.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.catalog.items import LAST_OBSERVED
from pricing_platform.catalog.near_duplicates import Encode, link_titles
from pricing_platform.catalog.splits import SET_ASIDE, SPLIT_ASSIGNMENTS, split_expression
from pricing_platform.stores.warehouse import Warehouse

FAMILIES_VERSION = "3"
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
),
assigned AS (
    SELECT
        members.*,
        known_splits.split AS known_split,
        coalesce(
            arg_min(known_splits.split, (known_splits.round, members.item_id))
                FILTER (known_splits.split IS NOT NULL) OVER (PARTITION BY members.family_id),
            {split_expression("members.family_id")}
        ) AS family_split
    FROM members
    LEFT JOIN known_splits USING (item_id)
),
families AS (
    SELECT
        * EXCLUDE (known_split, family_split),
        CASE WHEN known_split <> family_split THEN '{SET_ASIDE}' ELSE family_split END AS split
    FROM assigned
),
cut AS (
    SELECT
        one.first_item AS item_id,
        count(*) AS links_cut,
        count(*) FILTER (left_family.split <> right_family.split) AS links_cut_across_splits
    FROM (SELECT DISTINCT left_title, right_title FROM cut_links)
    JOIN titles AS one ON one.title = left_title
    JOIN titles AS other ON other.title = right_title
    JOIN families AS left_family ON left_family.item_id = one.first_item
    JOIN families AS right_family ON right_family.item_id = other.first_item
    WHERE left_family.family_id <> right_family.family_id
    GROUP BY one.first_item
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
    split,
    coalesce(links_cut, 0) AS links_cut,
    coalesce(links_cut_across_splits, 0) AS links_cut_across_splits
FROM families LEFT JOIN evidence USING (title) LEFT JOIN cut USING (item_id)
ORDER BY item_id
"""


def assign_families(warehouse: Warehouse, encode: Encode) -> pl.DataFrame:
    """Puts every item of ``curated.listings``, as last observed, into a family and a split.

    Items share a family when they have the same normalised title in one source and category, the
    same text, the same distinctive model number without contradicting brands, or titles that are
    verified near-duplicates; and when a chain of such links joins them, unless the family would
    exceed :func:`family_limit`: then its weakest links are cut. The result does not depend on the
    order of the rows.

    A split is for good: it is recorded in ``curated.split_assignments`` when an item is first seen,
    for a new family by a hash of it, for a new item of a known family as that family's. Where
    families of different splits become one, the items of those that were assigned later are set
    aside: they are neither learnt from nor evaluated on while they are of that family.

    Args:
        warehouse: read once and closed; ``encode`` runs with no connection to it open.
        encode: texts to embeddings of unit length, shape (texts, dimensions). It is given the
            items' own ``text``, so that a cache of embeddings serves both uses.

    Returns:
        The rows of ``curated.item_families``, sorted by item_id.
    """
    warehouse.create_schema()
    known = warehouse.frame("SELECT * FROM curated.split_assignments")
    with warehouse.staging_folder() as staging:
        products = staging / "products.parquet"
        _export_products(warehouse, products)
        with warehouse.scratch() as connection:
            families = group_products(connection, products, encode, staging, known)
    _record_splits(warehouse, known, families)
    return families


def _record_splits(warehouse: Warehouse, known: pl.DataFrame, families: pl.DataFrame) -> None:
    """Adds the items that are seen for the first time, with their splits."""
    new = families.join(known, on="item_id", how="anti").select("item_id", "split", "family_id")
    if new.is_empty():
        return
    last = known["round"].max()
    numbered = new.with_columns(
        round=pl.lit((last if isinstance(last, int) else 0) + 1, dtype=pl.Int64)
    )
    warehouse.replace("curated.split_assignments", pl.concat([known, numbered]))


def group_products(
    connection: duckdb.DuckDBPyConnection,
    products: Path,
    encode: Encode,
    folder: Path,
    known: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """:func:`assign_families` for products in a Parquet file, one row an item.

    The arguments are those of :func:`near_duplicates.link_titles`, and ``known``, the rows of
    ``curated.split_assignments`` so far.
    """
    known = SPLIT_ASSIGNMENTS.to_frame() if known is None else known
    connection.register("known_splits", known.cast(pl.Schema(SPLIT_ASSIGNMENTS)).to_arrow())
    link_titles(connection, products, encode, folder)
    _join_titles(connection)
    return _frame(connection, _FAMILIES).sort("item_id")


def cut_links(warehouse: Warehouse) -> dict[str, int]:
    """What the limit on families costs.

    Returns:
        ``links_cut``: verified links between titles that were given up because the family was too
        large; ``links_cut_across_splits``: those of them whose ends stand in different splits, so
        that a near-duplicate of a tested item may be learnt from.
    """
    columns = ("links_cut", "links_cut_across_splits")
    sums = ", ".join(f"coalesce(sum({name}), 0)::BIGINT AS {name}" for name in columns)
    return warehouse.frame(f"SELECT {sums} FROM curated.item_families").row(0, named=True)


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


def _join_titles(connection: duckdb.DuckDBPyConnection) -> None:
    """Leaves the tables components, kept_links and cut_links."""
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
    connection.register("cut_links", links.filter(pl.Series(~kept)).to_arrow())


def _frame(connection: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(connection.sql(query).to_arrow_table()))
