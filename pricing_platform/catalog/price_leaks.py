"""Numbers from which a listing's price follows: attributes, and two of them by arithmetic.

Here belongs the search for them, which knows no attribute by name, and the same search over the
finished items. Withholding what was found belongs to :mod:`pricing_platform.catalog.curation`.

The method: for every category, and for the whole source, take a sample of rows, read every number
out of attributes and titles, and ask of each candidate ``c`` (a number, a product or quotient of
two) whether ``price / c`` is one and the same on nearly all rows. That constant is a scale (cents,
a tax) and may be any number. A sum or difference of two is asked whether it is the price itself.
Chance and constants are kept out by asking for enough rows with enough different prices: 20
different prices are not hit within 1 % by accident.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.catalog.items import catalogue_currency
from pricing_platform.catalog.money_in_texts import money_patterns
from pricing_platform.catalog.records import STAGED_AS
from pricing_platform.catalog.text_leaks import price_in_texts
from pricing_platform.price_reading import prepare_price_reading
from pricing_platform.stores.warehouse import Warehouse

PRICE_LEAKS_VERSION = "4"
"""Raise it when the same rows would give other leaks."""

TOLERANCE = 0.01
"""By how much, relatively, a price may differ from what a leak says."""

_CATEGORIES = 200  # of a source, the largest
_FEATURES = 40  # of a category, the most frequent
_SAMPLE = 2_000  # rows of a category, priced and unpriced each


@dataclass(frozen=True)
class Evidence:
    """What a finding needs.

    ``share`` is the share of the rows on which the expression gives the price; ``distinct`` counts
    different prices, and different values of the expression. Of a source, the ``categories``
    largest are looked at; of a category, the ``features`` most frequent numbers.
    """

    share: float
    rows: int
    distinct: int
    categories: int = _CATEGORIES
    features: int = _FEATURES


WITHHELD_ON = Evidence(share=0.85, rows=30, distinct=20)
"""What withholds an attribute."""

REFUSED_ON = Evidence(share=0.95, rows=45, distinct=30, categories=150, features=30)
"""What refuses finished items: clearly more, so that what is refused had been withheld. Without
this distance, an attribute just below the one in the listings could be above the other in the
items, which are fewer and cleaned, and no later run would ever mend that."""

_ROUNDING_LIMIT = 0.05
_CENT = 0.011
"""By how much a price may differ from a sum, with what floating point adds."""

_PREVIEW_ROWS = 200
_PREVIEW_SLACK = 0.15

LEAK_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "category": pl.String(),
    "expression": pl.String(),
    "attributes": pl.List(pl.String()),
    "row_count": pl.Int64(),
    "share_explained": pl.Float64(),
}

# The rows that curation would keep, as last observed, as the items are; and those without a price,
# since what goes missing with the price carries it.
_CANDIDATES = """
SELECT source, listing_id, title, category, attributes, price
FROM raw.listings
SEMI JOIN (
    SELECT
        source,
        unnest(max({
            'observed_at': observed_at, 'snapshot': snapshot, 'row_number': row_number
        }), recursive := true)
    FROM raw.listings
    WHERE unreadable IS NULL AND title IS NOT NULL AND observed_at IS NOT NULL
        AND (price IS NULL OR price BETWEEN $price_minimum AND $price_maximum)
    GROUP BY source, listing_id, price IS NULL
) AS latest
    USING (source, snapshot, row_number)
"""
# Rows are drawn by a hash, the same ones every time.
_SAMPLED = """
SELECT
    source, coalesce(category, 'unknown') AS category, title, attributes, price,
    row_number() OVER drawn AS row,
    row_number() OVER (PARTITION BY source, price IS NULL ORDER BY draw, price, title) AS in_source,
    row_number() OVER (
        PARTITION BY source, coalesce(category, 'unknown'), price IS NULL
        ORDER BY draw, price, title
    ) AS in_category
FROM (SELECT *, hash(source, listing_id) AS draw FROM {relation})
WHERE price IS NULL OR (price > 0 AND isfinite(price))
WINDOW drawn AS (ORDER BY source, draw, price, title)
QUALIFY in_category <= $sample OR in_source <= $sample
"""
# What reads as a price is one number ('1,234.5', '2,45 €'); '[2,16]' and '2 x 16 GB' are two; what
# has more than six is prose. Part 0 is the number, or the product of several; the other parts are
# those of several, from 1.
_NUMBERS = r"""
-- '1.299,50' and '27,96' between these marks as 1299.50 and 27.96.
CREATE TEMP MACRO with_decimal_points(written, first, last) AS regexp_replace(
    regexp_replace(
        written, '(' || first || '\d{1,3})\.(\d{3}),(\d{1,2}' || last || ')', '\1\2.\3', 'g'
    ),
    '(' || first || '\d+),(\d{1,2}' || last || ')', '\1.\2', 'g'
);
CREATE TEMP VIEW numbers AS
WITH attributes AS (
    SELECT row, key AS name, value AS written
    FROM (SELECT row, unnest(map_entries(attributes), recursive := true) FROM sampled)
),
in_titles AS (
    SELECT
        row,
        unnest(regexp_extract_all(title, '(\d+(?:\.\d+)?)[ -]?([A-Za-z]{1,8}|["”])?', 1)) AS number,
        unnest(regexp_extract_all(title, '(\d+(?:\.\d+)?)[ -]?([A-Za-z]{1,8}|["”])?', 2)) AS unit
    FROM sampled
    UNION ALL
    SELECT row, regexp_extract(title, '(?i)\b(?:pack|set|box|case|lot) of (\d+)', 1), 'pack of'
    FROM sampled
),
found AS (
    SELECT
        row, name, true AS is_attribute,
        CASE
            WHEN price_number(written) IS NOT NULL
                THEN [rtrim(printf('%.6f', price_number(written)), '0')]
            ELSE regexp_extract_all(
                CASE
                    -- In a list or an object a comma parts values, but in a text it parts decimals.
                    WHEN regexp_matches(written, '^\s*[\[{]')
                        THEN with_decimal_points(written, '"', '"')
                    ELSE with_decimal_points(
                        regexp_replace(written, '(\d),(\d{3})(\D|$)', '\1\2\3', 'g'), '', '(?:\D|$)'
                    )
                END,
                '\d+(?:\.\d+)?|\.\d+'
            )
        END AS texts
    FROM attributes
    UNION ALL
    SELECT row, trim('title: ' || lower(coalesce(unit, ''))), false, [min(number)]
    FROM in_titles
    WHERE number <> ''
    GROUP BY ALL
    HAVING count(DISTINCT number) = 1
),
parsed AS (
    SELECT
        *,
        list_transform(texts, lambda t: coalesce(TRY_CAST(t AS DOUBLE), 0)) AS numbers,
        list_transform(texts, lambda t: length(split_part(t, '.', 2))) AS decimals
    FROM found
    WHERE len(texts) BETWEEN 1 AND 6
)
SELECT source, category, in_source, in_category, row, price, name, is_attribute, part, value, places
FROM (
    SELECT row, name, is_attribute, unnest(
        [{'part': 0, 'value': list_product(numbers), 'places': list_max(decimals)}] || if(
            len(numbers) > 1,
            list_transform(numbers, lambda number, part: {
                'part': part::INTEGER, 'value': number, 'places': decimals[part]
            }),
            []
        ), recursive := true)
    FROM parsed
)
JOIN sampled USING (row)
WHERE value > 0 AND isfinite(value)
"""
_MONEY_LEFT = """
SELECT
    source, NULL AS category, 'an amount of money in the text' AS expression,
    []::VARCHAR[] AS attributes, count(*) AS row_count, 1.0 AS share_explained
FROM curated.items
WHERE {is_money}
GROUP BY source
"""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a group of rows: column ``i`` of ``logs`` belongs to ``names[i]``.

    ``logs`` and ``rounding`` (the log of what a number's last decimal may hide) have the shape
    (rows, names), with NaN where a row has no such number. ``log_prices`` is NaN where there is no
    price. ``attributes[i]`` is None for a number out of a title.
    """

    names: list[str]
    attributes: list[str | None]
    log_prices: Floats
    logs: Floats
    rounding: Floats


@dataclass(frozen=True)
class _Leak:
    expression: str
    columns: tuple[int, ...]
    carriers: tuple[int, ...]
    row_count: int
    share: float


def find_price_leaks(
    warehouse: Warehouse, *, price_minimum: float = 0.0, price_maximum: float = math.inf
) -> pl.DataFrame:
    """The expressions in ``raw.listings`` from which the price follows, with what to withhold.

    They are sought in every listing as last observed, where its price lies within the limits. Of a
    product or quotient of two, the attribute is withheld that carries the price: the one that goes
    missing where the price is missing; else the one with more than twice as many different values
    (a capacity has few, a price per capacity as many as there are prices); else both. Of the
    expressions that withhold the same, the one with the most rows is told.

    Args:
        warehouse: where the listings are.
        price_minimum: of the prices that curation keeps; others say nothing.
        price_maximum: likewise.

    Returns:
        The columns of ``curated.price_leaks``, sorted; no rows where nothing leaks.
    """
    limits = {"price_minimum": price_minimum, "price_maximum": price_maximum}
    return _search(warehouse, f"({_CANDIDATES})", limits, WITHHELD_ON)


def remaining_price_leaks(warehouse: Warehouse) -> pl.DataFrame:
    """What still gives the price away in ``curated.items``.

    As above, amounts of money, and numbers in the finished texts, whatever the search knows.
    """
    is_money = money_patterns(catalogue_currency(warehouse)).is_in("text")
    money = warehouse.frame(_MONEY_LEFT.format(is_money=is_money)).cast(pl.Schema(LEAK_SCHEMA))
    texts = pl.DataFrame(price_in_texts(warehouse), schema=LEAK_SCHEMA, orient="row")
    return pl.concat([_search(warehouse, "curated.items", {}, REFUSED_ON), money, texts])


def _search(
    warehouse: Warehouse, relation: str, parameters: dict[str, float], evidence: Evidence
) -> pl.DataFrame:
    rows: list[tuple[str, str | None, str, list[str], int, float]] = []
    with warehouse.staging_folder() as staging:
        sample = staging / "sample.parquet"
        with warehouse.read() as connection:
            query = _SAMPLED.format(relation=relation)
            connection.execute(
                f"COPY ({query}) TO $file ({STAGED_AS})",
                {"file": str(sample), "sample": _SAMPLE, **parameters},
            )
        with warehouse.scratch() as connection:
            for source, category, numbers in _groups(connection, sample, staging, evidence):
                for leak in _leaks(numbers, evidence):
                    withheld = _withheld(numbers, leak)
                    found = leak.expression, withheld, leak.row_count, leak.share
                    rows.append((source, category, *found))
    return pl.DataFrame(rows, schema=LEAK_SCHEMA, orient="row").sort(
        "source", "category", "expression", nulls_last=True
    )


def _groups(
    connection: duckdb.DuckDBPyConnection, sample: Path, staging: Path, evidence: Evidence
) -> Iterator[tuple[str, str | None, _Numbers]]:
    """Each large enough category, and each source as a whole, with the numbers of its sample."""
    prepare_price_reading(connection)
    connection.read_parquet(str(sample)).create_view("sampled")
    connection.execute(_NUMBERS)
    staged = staging / "numbers.parquet"
    connection.execute(
        f"COPY (FROM numbers ORDER BY source, category) TO $file ({STAGED_AS})",
        {"file": str(staged)},
    )
    groups = connection.execute(
        "SELECT source, NULL AS category FROM sampled GROUP BY source UNION ALL"
        " SELECT source, category FROM ("
        "  SELECT source, category, row_number() OVER ("
        "   PARTITION BY source ORDER BY count(*) DESC, category) AS rank"
        "  FROM sampled WHERE price IS NOT NULL AND in_category <= $sample"
        "  GROUP BY source, category HAVING count(*) >= $minimum)"
        " WHERE rank <= $categories ORDER BY source, category NULLS FIRST",
        {"sample": _SAMPLE, "minimum": evidence.rows, "categories": evidence.categories},
    ).fetchall()
    for source, category in groups:
        where = "in_source <= $limit" if category is None else "category = $category"
        parameters = {"file": str(staged), "source": source, "limit": _SAMPLE}
        if category is not None:
            where += " AND in_category <= $limit"
            parameters["category"] = category
        found = connection.sql(
            "SELECT row, price, name, is_attribute, part, value, places FROM read_parquet($file)"
            f" WHERE source = $source AND {where}",
            params=parameters,
        ).to_arrow_table()
        yield source, category, _numbers(pl.DataFrame(pl.from_arrow(found)), evidence)


def _numbers(found: pl.DataFrame, evidence: Evidence) -> _Numbers:
    """The most frequent numbers of the rows as a matrix."""
    labelled = found.with_columns(
        label=pl.when(pl.col("part") == 0)
        .then(pl.col("name"))
        .otherwise(pl.format("{}[{}]", "name", "part"))
    )
    columns = (
        labelled.group_by("label", "name", "is_attribute")
        .agg(
            rows=pl.col("price").is_not_null().sum(),
            values=pl.col("value").n_unique(),
            places=pl.col("places").max(),
        )
        .filter(pl.col("rows") >= evidence.rows, pl.col("values") > 1)
        .sort(["rows", "label"], descending=[True, False])
        .head(evidence.features)
        .with_row_index("column")
    )
    prices = found.select("row", "price").unique().sort("row").with_row_index("at")
    cells = labelled.join(
        columns.select("label", "is_attribute", "column", most="places"),
        on=["label", "is_attribute"],
    ).join(prices.select("row", "at"), on="row")
    logs = np.full((prices.height, columns.height), np.nan)
    rounding = np.full_like(logs, np.nan)
    at, column = cells["at"].to_numpy(), cells["column"].to_numpy()
    values, most = cells["value"].to_numpy(), cells["most"].to_numpy()
    logs[at, column] = np.log(values)
    # A whole number is taken as exact; one with decimals as rounded to them.
    hidden = np.where(most > 0, 0.5 * 10.0 ** -most.astype(float) / values, 0.0)
    rounding[at, column] = np.minimum(hidden, _ROUNDING_LIMIT)
    with np.errstate(invalid="ignore"):
        log_prices = np.log(prices["price"].cast(pl.Float64).to_numpy())
    return _Numbers(
        names=columns["label"].to_list(),
        attributes=[
            name if is_attribute else None
            for name, is_attribute in columns.select("name", "is_attribute").iter_rows()
        ],
        log_prices=log_prices,
        logs=logs,
        rounding=rounding,
    )


def _leaks(numbers: _Numbers, evidence: Evidence) -> list[_Leak]:
    """The findings, best first; what an earlier one withholds is no part of a later one."""
    singles = [
        _Leak(numbers.names[i], (i,), (i,), *explained)
        for i, attribute in enumerate(numbers.attributes)
        if attribute is not None and (explained := _explained(numbers, {i: 1}, evidence))
    ]
    found = _not_withheld_before(numbers, [], sorted(singles, key=_best_first))
    taken = {numbers.attributes[i] for leak in found for i in leak.carriers}
    free = [i for i, name in enumerate(numbers.attributes) if name is None or name not in taken]
    pairs = [
        leak
        for i, j in combinations(free, 2)
        if numbers.attributes[i] != numbers.attributes[j]
        for leak in _pair_leaks(numbers, i, j, evidence)
    ]
    return _not_withheld_before(numbers, found, sorted(pairs, key=_best_first))


def _not_withheld_before(
    numbers: _Numbers, found: list[_Leak], candidates: list[_Leak]
) -> list[_Leak]:
    withheld = {numbers.attributes[i] for leak in found for i in leak.carriers}
    for leak in candidates:
        if not withheld & {numbers.attributes[i] for i in leak.columns}:
            found = [*found, leak]
            withheld |= {numbers.attributes[i] for i in leak.carriers}
    return found


def _best_first(leak: _Leak) -> tuple[float, str]:
    return -leak.share * leak.row_count, leak.expression


def _pair_leaks(numbers: _Numbers, i: int, j: int, evidence: Evidence) -> Iterator[_Leak]:
    i, j = sorted((i, j), key=lambda k: numbers.names[k])
    a, b = numbers.names[i], numbers.names[j]
    products = {f"{a} * {b}": (1, 1), f"{a} / {b}": (1, -1), f"{b} / {a}": (-1, 1)}
    sums = {f"{a} + {b}": (1, 1), f"{a} - {b}": (1, -1), f"{b} - {a}": (-1, 1)}
    for expression, (sign_a, sign_b) in (*products.items(), *sums.items()):
        explained = _explained if expression in products else _explained_as_sum
        if found := explained(numbers, {i: sign_a, j: sign_b}, evidence):
            carriers = _carriers(numbers, i, j)
            if carriers:
                yield _Leak(expression, (i, j), carriers, *found)


def _explained_as_sum(
    numbers: _Numbers, signs: dict[int, int], evidence: Evidence
) -> tuple[int, float] | None:
    """As below, for a sum of two numbers, which is the price to the cent."""
    columns, factors = list(signs), np.array(list(signs.values()), dtype=float)
    logs = numbers.logs[:, columns]
    known = np.isfinite(logs.sum(axis=1) + numbers.log_prices)
    if known.sum() < evidence.rows:
        return None
    prices = np.exp(numbers.log_prices[known])
    value = np.exp(logs[known]) @ factors
    near = np.abs(prices - value) <= _CENT
    if np.mean(near[:_PREVIEW_ROWS]) < evidence.share - _PREVIEW_SLACK:
        return None
    share = np.mean(near)
    distinct = min(np.unique(np.round(numbers.log_prices[known], 2)).size, np.unique(value).size)
    if share < evidence.share or distinct < evidence.distinct:
        return None
    return int(known.sum()), float(share)


def _explained(
    numbers: _Numbers, signs: dict[int, int], evidence: Evidence
) -> tuple[int, float] | None:
    """On how many rows the expression can be computed, and on what share it gives the price."""
    columns, powers = list(signs), np.array(list(signs.values()), dtype=float)
    value = numbers.logs[:, columns] @ powers
    ratio = numbers.log_prices - value
    known = np.isfinite(ratio)
    if known.sum() < evidence.rows:
        return None
    preview = ratio[known][:_PREVIEW_ROWS]
    near = np.abs(preview - np.median(preview)) <= TOLERANCE + _ROUNDING_LIMIT
    if np.mean(near) < evidence.share - _PREVIEW_SLACK:
        return None
    tolerance = TOLERANCE + numbers.rounding[np.ix_(known, columns)].sum(axis=1)
    share = np.mean(np.abs(ratio[known] - np.median(ratio[known])) <= tolerance)
    prices = np.unique(np.round(numbers.log_prices[known], 2)).size
    values = np.unique(np.round(value[known], 2)).size
    if share < evidence.share or min(prices, values) < evidence.distinct:
        return None
    return int(known.sum()), float(share)


def _carriers(numbers: _Numbers, i: int, j: int) -> tuple[int, ...]:
    """Which of the two carries the price; none where both stand in the title."""
    candidates = tuple(k for k in (i, j) if numbers.attributes[k] is not None)
    if len(candidates) < 2:
        return candidates
    unpriced = np.isnan(numbers.log_prices)
    if unpriced.sum() >= WITHHELD_ON.rows:
        there = np.isfinite(numbers.logs[:, [i, j]])
        kept = there[unpriced].mean(axis=0) / there[~unpriced].mean(axis=0)
        if abs(kept[0] - kept[1]) > 0.5:
            return (i if kept[0] < kept[1] else j,)
    both = np.isfinite(numbers.logs[:, i] + numbers.logs[:, j] + numbers.log_prices)
    distinct = [np.unique(numbers.logs[both, k]).size for k in (i, j)]
    if max(distinct) > 2 * min(distinct):
        return (i if distinct[0] > distinct[1] else j,)
    return (i, j)


def _withheld(numbers: _Numbers, leak: _Leak) -> list[str]:
    return sorted({name for i in leak.carriers if (name := numbers.attributes[i]) is not None})
