"""From ``raw.listings`` to ``curated.listings`` and ``curated.rejected_listings``.

Here belong the rules by which a listing is kept or refused, and the making of the kept ones: every
raw row ends in exactly one of the two tables. How texts are cleaned belongs to
:mod:`pricing_platform.catalog.normalising`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from pricing_platform.catalog.normalising import (
    DESCRIPTION_LIMIT,
    FIELD_SEPARATOR,
    QUANTITIES,
    TEXT_TEMPLATE,
    TEXT_TEMPLATE_VERSION,
    UNCLEANED_LIMIT,
    VALUE_LIMIT,
    VALUE_SEPARATOR,
    cleaned,
    prepare,
)
from pricing_platform.catalog.records import STAGED_AS
from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import Warehouse

CURATION_VERSION = f"4.{TEXT_TEMPLATE_VERSION}"
"""Raise it when the same raw rows would be curated differently."""

RAW_ROW_LIMIT = 2_000
"""Characters that are kept of a refused row."""


@dataclass(frozen=True)
class Rule:
    """Rows for which ``condition`` holds are refused; ``detail`` is SQL for what was found.

    ``advice`` is what to do where many are.
    """

    name: str
    condition: str
    detail: str
    advice: str


_MAP = 'with format = "generic" map `{}` to the column {}'
"""The other formats know their columns themselves."""

RULES = (
    Rule(
        "unreadable",
        "unreadable IS NOT NULL",
        "unreadable",
        "say in sources.toml how the file is written: `encoding`, `delimiter`, `quote`",
    ),
    Rule(
        "listing_id_missing",
        "trim(coalesce(listing_id, '')) = ''",
        "'no identifier'",
        f"fill it in the file, or {_MAP.format('listing_id', 'that names a product')}",
    ),
    Rule(
        "observed_at_missing",
        "observed_at IS NULL",
        "'no point in time, or none that is one'",
        "check `observed_at_column`",
    ),
    Rule(
        "title_missing",
        r"NOT regexp_matches(coalesce(title, ''), '[\pL\pN]')",
        "'no letter or digit in ' || coalesce(raw_title, 'no title')",
        f"fill it in the file, or {_MAP.format('title', 'with the name of a product')}",
    ),
    Rule(
        "price_missing",
        "price IS NULL AND lower(trim(coalesce(price_text, ''))) IN ('', 'none', 'null')",
        "'no price'",
        f"fill it in the file, or {_MAP.format('price', 'with the price')}",
    ),
    Rule(
        "price_not_a_number",
        "price IS NULL",
        "left(price_text, 100)",
        "check the column of the price, or say what parts the decimals: `decimal`",
    ),
    Rule(
        "price_not_positive",
        "price <= 0",
        "price_text",
        "check the column of the price",
    ),
    Rule(
        "price_out_of_range",
        "price NOT BETWEEN $price_minimum AND $price_maximum",
        "format('{} is not between {} and {}', price, $price_minimum, $price_maximum)",
        "set PRICING_PRICE_MINIMUM and PRICING_PRICE_MAXIMUM",
    ),
    Rule(
        "currency_unknown",
        "NOT regexp_full_match(coalesce(currency, ''), '[A-Z]{3}')",
        "coalesce(currency, 'no currency')",
        "check the column of the currency",
    ),
    Rule(
        "price_in_other_currency",
        "NOT is_price_in(price_text, currency)",
        "format('{} is not {}', left(price_text, 100), currency)",
        "say in `currency` which one the source has",
    ),
)
"""The rules for single rows, in their order: the first that holds refuses the row."""

DUPLICATE = "duplicate_in_snapshot"
"""The rule after these: of the rows of a listing in a snapshot, the first that can be kept is."""

_ADVICE = {rule.name: rule.advice for rule in RULES} | {
    DUPLICATE: _MAP.format("listing_id", "that tells one product from another")
}
_RULES_TOLD = 3
MANY = 0.05
"""The share of a source's rows from which on a rule's refusals are told of."""

_MOST_REFUSALS = f"""
SELECT
    source, rule, count(*) AS refused, any_value(rows) AS rows,
    arg_min(detail, (snapshot, row_number)) AS example,
    arg_min(row_number, (snapshot, row_number)) AS row
FROM (SELECT *, count(*) OVER (PARTITION BY source) AS rows FROM {{relation}})
WHERE rule IS NOT NULL
GROUP BY source, rule
HAVING refused >= {MANY} * any_value(rows)
ORDER BY refused DESC, source, rule
"""

_RULE = " ".join(f"WHEN {rule.condition} THEN '{rule.name}'" for rule in RULES)
_DETAIL = " ".join(f"WHEN '{rule.name}' THEN {rule.detail}" for rule in RULES)
# The title is cleaned before the rules are asked: one that is all tags is none.
_JUDGE = f"""
CREATE TEMP TABLE judged AS
WITH titled AS (
    SELECT
        raw_id, source, snapshot, row_number, listing_id, observed_at, price, price_text, currency,
        unreadable, title, left(title, 100) AS raw_title
    FROM raw_listings
)
SELECT
    raw_id, source, snapshot, row_number, listing_id, currency, trim(title) AS title, rule,
    CASE rule {_DETAIL} END AS detail
FROM (SELECT *, CASE {_RULE} END AS rule FROM ({cleaned("titled", "title")}))
"""
_FIND_DUPLICATES = f"""
CREATE TEMP TABLE firsts AS
SELECT source, snapshot, listing_id, min(row_number) AS first
FROM judged
WHERE rule IS NULL
GROUP BY ALL
HAVING count(*) > 1;

CREATE TEMP TABLE verdicts AS
SELECT
    judged.* REPLACE (
        CASE WHEN rule IS NULL AND row_number > first THEN '{DUPLICATE}' ELSE rule END AS rule,
        CASE WHEN rule IS NULL AND row_number > first THEN 'the same listing as row ' || first
            ELSE detail END AS detail
    )
FROM judged
LEFT JOIN firsts USING (source, snapshot, listing_id);

DROP TABLE judged
"""
_OF_MOST_PRICES = """
SELECT currency
FROM raw_listings
WHERE price IS NOT NULL AND currency IS NOT NULL
GROUP BY currency
ORDER BY count(*) DESC, currency
LIMIT 1
"""
_CURRENCIES = """
SELECT source, currency, count(*) AS prices
FROM judged
WHERE rule IS NULL
GROUP BY source, currency
ORDER BY source, currency
"""
_REFUSE_OTHER_CURRENCIES = """
UPDATE judged
SET rule = 'price_in_other_currency', detail = format('{} is not {}', currency, $currency)
WHERE rule IS NULL AND currency <> $currency
"""
# An attribute that gives the price away in one category is withheld in all of its source.
_FIND_WITHHELD = """
CREATE TEMP TABLE withheld AS
SELECT source, list(DISTINCT attribute) AS names
FROM (SELECT source, unnest(attributes) AS attribute FROM price_leaks)
GROUP BY source
"""
_REJECTED = f"""
SELECT
    raw.source, raw.snapshot, raw.row_number, raw.listing_id, rule, detail,
    left(coalesce(raw_row, to_json({{
        'title': raw.title, 'description': left(description, 500), 'brand': brand,
        'category': category, 'attributes': attributes, 'price': price_text,
        'currency': raw.currency, 'url': url
    }})::VARCHAR), {RAW_ROW_LIMIT}) AS raw_row
FROM verdicts
JOIN raw_listings AS raw USING (raw_id)
WHERE rule IS NOT NULL
"""
_FIELD, _VALUE = (f"chr({ord(c)})" for c in (FIELD_SEPARATOR, VALUE_SEPARATOR))


def _one_text(expression: str) -> str:
    return f"replace(replace(coalesce({expression}, ''), {_FIELD}, ' '), {_VALUE}, ' ')"


_BETWEEN = "'¦'"
"""Stands between the texts that are looked at as one: no pattern of cleaning crosses it."""

_JOINED = f"""
SELECT
    raw.source, raw.snapshot, raw.row_number, raw.listing_id, raw.observed_at, raw.price,
    raw.currency, raw.url, verdicts.title, raw.brand, raw.category,
    replace(left(raw.description, {UNCLEANED_LIMIT}), chr(10), ' ') AS description,
    coalesce(raw.attributes, MAP {{}}) AS attributes, withheld.names AS withheld,
    array_to_string(map_keys(raw.attributes), {_BETWEEN}) AS attribute_names,
    array_to_string(map_values(raw.attributes), {_BETWEEN}) AS attribute_values
FROM verdicts
JOIN raw_listings AS raw USING (raw_id)
LEFT JOIN withheld ON withheld.source = raw.source
WHERE rule IS NULL
"""
_LOOKED_AT = f"""
SELECT
    *,
    CASE
        WHEN withheld IS NOT NULL THEN false
        WHEN needs_cleaning(
            concat_ws({_BETWEEN}, brand, category, description, attribute_names, attribute_values)
        ) THEN false
        WHEN cardinality(attributes) = 0 THEN true
        WHEN may_name_a_price(attribute_names) THEN false
        WHEN list_count(map_values(attributes)) < cardinality(attributes) THEN false
        WHEN regexp_matches(attribute_values, '^(?: |¦|$)|[ ¦]¦|¦ |[ ¦]$') THEN false
        WHEN length(attribute_values) > {VALUE_LIMIT}
            THEN list_max(list_transform(map_values(attributes), lambda v: length(v)))
                <= {VALUE_LIMIT}
        ELSE true
    END AS is_clean
FROM joined
"""
# Most listings are clean: they pass as they are, with the very map of their attributes.
_PASSED = """
SELECT
    * EXCLUDE (withheld, attribute_names, attribute_values, is_clean)
    REPLACE (coalesce(description, '') AS description)
FROM looked_at
WHERE is_clean
"""
_DOCUMENTS = f"""
SELECT
    * EXCLUDE (withheld, attribute_names, attribute_values, is_clean),
    list_filter(
        map_entries(attributes), lambda e: NOT list_contains(coalesce(withheld, []), e.key)
    ) AS published,
    concat(
        {_one_text("brand")}, {_FIELD}, {_one_text("category")}, {_FIELD},
        {_one_text("description")}, {_FIELD},
        array_to_string(list_transform(published, lambda e: {_one_text("e.key")}), {_VALUE}),
        {_FIELD},
        array_to_string(
            list_transform(published, lambda e: {_one_text(f"left(e.value, {VALUE_LIMIT})")}),
            {_VALUE}
        )
    ) AS document
FROM looked_at
WHERE NOT is_clean
"""
_SPLIT = f"""
SELECT
    *,
    string_split(document, {_FIELD}) AS parts,
    string_split(parts[4], {_VALUE}) AS names,
    list_filter(
        list_zip(names, list_transform(string_split(parts[5], {_VALUE}), lambda v: trim(v))),
        lambda e: e[2] <> ''
    ) AS told,
    CASE
        WHEN may_name_a_price(parts[4])
            THEN list_filter(told, lambda e: NOT names_a_price(e[1]))
        ELSE told
    END AS named,
    CASE
        WHEN len(list_distinct(names)) < len(names)
            THEN list_filter(named, lambda e, place: place = list_position(
                list_transform(named, lambda other: other[1]), e[1]
            ))
        ELSE named
    END AS entries
FROM ({cleaned("documents", "document")})
"""
_CLEANED = """
SELECT
    * EXCLUDE (published, document, parts, names, told, named, entries) REPLACE (
        parts[1] AS brand, parts[2] AS category, parts[3] AS description,
        map_from_entries(entries) AS attributes
    )
FROM split
"""
# A word that the limit cuts is dropped: its first letters may be those of a currency.
_CUT = f"""
SELECT
    * REPLACE (
        nullif(trim(brand), '') AS brand,
        coalesce(nullif(trim(category), ''), 'unknown') AS category,
        CASE
            WHEN length(description) > {DESCRIPTION_LIMIT}
                THEN regexp_replace(
                    left(trim(description), {DESCRIPTION_LIMIT}), '(?: [^ ]*|\w+)$', ''
                )
            WHEN starts_with(description, ' ') OR ends_with(description, ' ')
                THEN trim(description)
            ELSE description
        END AS description
    ),
    map_entries(attributes) AS entries
FROM (FROM passed UNION ALL BY NAME FROM cleaned)
"""
_KEPT = f"""
WITH joined AS ({_JOINED}),
looked_at AS MATERIALIZED ({_LOOKED_AT}),
passed AS ({_PASSED}),
documents AS ({_DOCUMENTS}),
split AS ({_SPLIT}),
cleaned AS ({_CLEANED}),
cut AS ({_CUT}),
worded AS (
    SELECT
        *, title || ', ' || quantity_attributes(entries) AS amounts, {TEXT_TEMPLATE} AS text
    FROM cut
)
SELECT
    left(sha256(source || {_FIELD} || listing_id), 16) AS item_id,
    source, snapshot, row_number, listing_id, observed_at, title, description, brand, category,
    normalised_model_number(
        coalesce(model_number_in_attributes(entries), model_number_in_title(title))
    ) AS model_number,
    attributes, quantity, unit, price, currency, url, text, sha256(text) AS content_hash
FROM ({QUANTITIES.format(relation="worded")})
"""
_UNACCOUNTED = """
WITH told AS (
    SELECT source, snapshot, row_number, true AS kept FROM curated.listings
    UNION ALL
    SELECT source, snapshot, row_number, false FROM curated.rejected_listings
),
read AS (SELECT source, snapshot, count(*) AS read FROM raw.listings GROUP BY ALL),
counted AS (
    SELECT
        source, snapshot,
        count(*) FILTER (kept) AS kept,
        count(*) FILTER (NOT kept) AS rejected,
        count(*) - count(DISTINCT row_number) AS twice
    FROM told
    GROUP BY ALL
)
SELECT
    source, snapshot, coalesce(row_count, 0) AS rows_in, coalesce(read, 0) AS read,
    coalesce(kept, 0) AS kept, coalesce(rejected, 0) AS rejected, coalesce(twice, 0) AS twice
FROM raw.snapshots
FULL JOIN read USING (source, snapshot)
FULL JOIN counted USING (source, snapshot)
WHERE NOT (
    coalesce(row_count, 0) = coalesce(kept, 0) + coalesce(rejected, 0)
    AND coalesce(row_count, 0) = coalesce(read, 0)
    AND coalesce(twice, 0) = 0
)
ORDER BY source, snapshot
"""


def curate_listings(
    warehouse: Warehouse,
    *,
    price_minimum: float,
    price_maximum: float,
    fingerprint: str,
    minimum_products: int = 0,
) -> None:
    """Replaces ``curated.listings`` and ``curated.rejected_listings``, both in one transaction.

    Reads ``raw.listings`` and ``curated.price_leaks``. All of it is SQL, so memory stays at the
    warehouse's limit; DuckDB spills what is larger.

    Args:
        warehouse: where the tables are.
        price_minimum: cheaper listings are refused.
        price_maximum: dearer listings are refused.
        fingerprint: of the inputs, to be remembered with the tables.
        minimum_products: where it is above 0, fewer products, or a source of which nothing can be
            kept, are refused.

    Raises:
        PlatformError: when too little would be kept, or when sources have prices in different
            currencies; the kept listings are then as they were, and the refused ones tell why.
    """
    with warehouse.staging_folder() as staging:
        with warehouse.read() as connection:
            raw, leaks = staging / "raw.parquet", staging / "leaks.parquet"
            _copy(connection, "SELECT rowid AS raw_id, * FROM raw.listings", raw)
            _copy(connection, "FROM curated.price_leaks", leaks)
        kept, rejected = staging / "kept.parquet", staging / "rejected.parquet"
        with warehouse.scratch() as connection:
            connection.read_parquet(str(raw)).create_view("raw_listings")
            of_most = connection.execute(_OF_MOST_PRICES).fetchall()
            prepare(connection, of_most[0][0] if of_most else "")
            connection.read_parquet(str(leaks)).create_view("price_leaks")
            prices = {"price_minimum": price_minimum, "price_maximum": price_maximum}
            connection.execute(_JUDGE, prices)
            stopped = _refuse_other_currencies(connection)
            connection.execute(_FIND_DUPLICATES)
            _copy(connection, _REJECTED, rejected)
            if stopped is None and minimum_products:
                stopped = _too_few_products(connection, minimum_products)
            if stopped is None:
                connection.execute(_FIND_WITHHELD)
                _copy(connection, _KEPT, kept)
        if stopped is not None:
            warehouse.replace("curated.rejected_listings", rejected)
            raise stopped
        warehouse.replace_all(
            {"curated.listings": kept, "curated.rejected_listings": rejected},
            fingerprint=fingerprint,
        )


def unaccounted_rows(warehouse: Warehouse) -> pl.DataFrame:
    """Snapshots whose rows are not all kept or refused, each exactly once; none is right.

    Returns:
        ``source``, ``snapshot``, ``rows_in`` (counted in the file), ``read``, ``kept``,
        ``rejected`` and ``twice`` (rows that stand in both tables or in one of them repeatedly).
    """
    return warehouse.frame(_UNACCOUNTED)


def many_refusals(warehouse: Warehouse) -> list[str]:
    """A line a source and rule that refused many of its rows: share, example and advice."""
    told = (
        "(SELECT source, snapshot, row_number, NULL AS rule, NULL AS detail FROM curated.listings"
        " UNION ALL SELECT source, snapshot, row_number, rule, detail"
        " FROM curated.rejected_listings)"
    )
    found = warehouse.frame(_MOST_REFUSALS.format(relation=told))
    return [_told_refusals(*row) for row in found.iter_rows()]


def _told_refusals(
    source: str, rule: str, refused: int, rows: int, example: str | None, row: int
) -> str:
    return (
        f"{source}: {refused:,} of {rows:,} rows ({refused / rows:.0%}) are refused by {rule}, as"
        f" row {row:,}: {example}. To keep them, {_ADVICE.get(rule, 'check the file')}."
    )


def _refuse_other_currencies(connection: duckdb.DuckDBPyConnection) -> PlatformError | None:
    """Refuses the rows whose price is not in the currency of the catalogue.

    All prices are learnt from and compared as one pool, so they have to be in one currency: that of
    most prices of every source. Where sources differ in it, or one has no such currency, which
    prices are wanted is not for us to say, and the error that says so is returned.
    """
    found: dict[str, dict[str, int]] = {}
    for source, currency, prices in connection.execute(_CURRENCIES).fetchall():
        found.setdefault(source, {})[currency] = prices
    of_most = {
        next((at for at, count in prices.items() if 2 * count > sum(prices.values())), None)
        for prices in found.values()
    }
    if len(of_most) > 1 or None in of_most:
        told = ", ".join(f"{source} in {' and '.join(prices)}" for source, prices in found.items())
        return PlatformError(
            f"The listings have prices in several currencies: {told}.",
            "Keep the sources of one currency in sources.toml (its key `currency` says which one a"
            " source has), and give each of the others a home of its own.",
        )
    for currency in of_most:
        connection.execute(_REFUSE_OTHER_CURRENCIES, {"currency": currency})
    return None


def _too_few_products(connection: duckdb.DuckDBPyConnection, minimum: int) -> PlatformError | None:
    """What to say where a source has nothing, or all have too little, to learn from."""
    sources = connection.execute(
        "SELECT source, count(DISTINCT listing_id) FILTER (rule IS NULL) FROM verdicts"
        " GROUP BY source ORDER BY source"
    ).fetchall()
    kept = sum(products for _, products in sources)
    empty = next((source for source, products in sources if not products), None)
    if empty is None and kept >= minimum:
        return None
    what = (
        f"Source {empty!r} has no priced rows that can be kept."
        if empty is not None
        else f"The sources have {kept} priced products; at least {minimum} are needed to fit,"
        " validate and test a technique."
    )
    refusals = connection.execute(_MOST_REFUSALS.format(relation="verdicts")).fetchall()
    told = [_told_refusals(*row) for row in refusals if empty in (None, row[0])]
    shown = "`pricing-platform sql @sql/queries/rejected_by_rule.sql` shows every rule's rows"
    return PlatformError(
        " ".join([what, *told[:_RULES_TOLD]]),
        f"{shown}; or add listings to the sources." if told else "Add listings to the sources.",
    )


def _copy(connection: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    connection.execute(f"COPY ({query}) TO $file ({STAGED_AS})", {"file": str(file)})
