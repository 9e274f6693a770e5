"""Which titles of a catalogue name nearly the same product: candidates, and their verification.

Candidates are cheap and many: equal model numbers, MinHash bands in common, near embeddings. Each
is verified by the words that both titles hold before it becomes a link. Here belongs everything up
to the links; how links become families belongs to ``families``.

Work is done in a DuckDB connection that spills to disk, on titles (products of one source and
category with the same normalised title are one title), and every step is linear in the titles, or
n log n, so that ten million of them take hours and not months:

- a bucket of equal bands is not squared: each member is paired with the next few in the order of
  the titles, and a model number that many titles share counts for nothing;
- embeddings are compared exactly up to ``EXACT_LIMIT`` titles, and beyond it inside the leaves of
  random projection trees (Dasgupta and Freund, 2008), which are all of one size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

Encode = Callable[[list[str]], npt.NDArray[np.float32]]
"""Texts to embeddings of unit length, shape (texts, dimensions)."""

MODEL_NUMBER_MINIMUM_LENGTH = 4
MODEL_NUMBER_MAXIMUM_TITLES = 20
"""A number that more titles share names a standard or a device that accessories fit, no product."""
MENTIONED_OVERLAP = 0.5
"""Weighted overlap that a model number which only stands in a title has to be borne out by."""
TITLE_SIMILARITY = 0.7
"""Weighted Jaccard similarity from which titles are near-duplicates by their words alone."""
EMBEDDED_COSINE = 0.9
EMBEDDED_SIMILARITY = 0.5
"""Weighted Jaccard similarity that is enough where the embeddings are near as well."""

NEIGHBOURS = 10
"""Members of a bucket, or nearest embeddings, that a title is paired with."""
EXACT_LIMIT = 32_768
LEAF_SIZE = 1_024
TREES = 8
"""By calculation, not measurement: a pair of cosine 0.9 meets in a leaf in about 95 of 100 cases
among 100,000 titles and in 66 of 100 among ten million; nearer pairs meet more often."""

_PERMUTATIONS = 128
_BANDS = 32  # of 4 rows each: two in three pairs of Jaccard 0.4 meet in a band, 98 % of 0.6
_SEED = 42
_BATCH = 8_192
_BLOCK = 1_024

_MACROS = r"""
CREATE MACRO words(value) AS regexp_extract_all(strip_accents(lower(value)), '[\p{L}\p{N}]+');
-- Decimals stay whole and '4gb' is read as '4 gb', so that quantities can be compared.
CREATE MACRO measured_words(value) AS list_distinct(regexp_extract_all(
    regexp_replace(
        strip_accents(lower(value)), '\b([0-9]+(?:\.[0-9]+)?)([a-z]{1,3})\b', '\1 \2', 'g'
    ),
    '[0-9]+\.[0-9]+|[\p{L}\p{N}]+'
));
CREATE MACRO compact(value) AS array_to_string(words(value), '');
"""

_TITLES = """
CREATE TABLE products AS
WITH keyed AS (
    SELECT
        item_id,
        source,
        category,
        -- A title without a word, or none at all, is like no other but its exact equal.
        coalesce(
            nullif(array_to_string(words(title), ' '), ''), nullif(lower(trim(title)), ''), item_id
        ) AS title_key,
        compact(model_number) AS model_number,
        words(coalesce(brand, '')) AS brand_words,
        content_hash
    FROM read_parquet($products)
),
led AS (
    SELECT *, min(item_id) OVER (PARTITION BY source, category, title_key) AS first_item FROM keyed
)
SELECT
    * EXCLUDE (source, category),
    CAST(dense_rank() OVER (ORDER BY first_item) - 1 AS INTEGER) AS title
FROM led;

CREATE TABLE titles AS
SELECT
    title,
    any_value(first_item) AS first_item,
    any_value(title_key) AS title_key,
    count(*) AS item_count,
    list_distinct(flatten(list(brand_words))) AS brand_words
FROM products
GROUP BY title;

CREATE TABLE title_texts AS
SELECT titles.title, listings.title AS written, measured_words(written) AS words, text
FROM titles JOIN read_parquet($products) AS listings ON listings.item_id = first_item
ORDER BY titles.title;

CREATE TABLE title_words AS
WITH spread AS (SELECT title, unnest(words) AS word FROM title_texts),
frequencies AS (SELECT word, count(*) AS frequency FROM spread GROUP BY word)
SELECT
    title,
    word,
    ln((SELECT count(*) FROM titles) / frequency) + 0.1 AS weight,
    regexp_matches(word, '[0-9]') AS is_number
FROM spread JOIN frequencies USING (word);

CREATE TABLE title_weights AS
SELECT title, sum(weight) AS weight, count(*) FILTER (is_number) AS numbers
FROM title_words
GROUP BY title;
"""

_MODEL_NUMBERS = """
CREATE TABLE model_numbers AS
SELECT DISTINCT model_number
FROM products
WHERE length(model_number) >= $minimum_length AND regexp_matches(model_number, '[0-9]');

-- A title mentions a model number in one word or in up to three that follow each other ('TN 560').
CREATE TABLE mentions AS
WITH positions AS (
    SELECT title, words(written) AS words, unnest(range(1, len(words(written)) + 1)) AS i
    FROM title_texts
),
spoken AS (
    SELECT title, unnest([
        words[i],
        words[i] || coalesce(words[i + 1], ''),
        words[i] || coalesce(words[i + 1], '') || coalesce(words[i + 2], '')
    ]) AS model_number, false AS is_own
    FROM positions
    UNION ALL
    SELECT title, model_number, true FROM products WHERE model_number IS NOT NULL
)
SELECT title, model_number, bool_or(is_own) AS is_own
FROM spoken SEMI JOIN model_numbers USING (model_number)
GROUP BY title, model_number;

INSERT INTO candidates
SELECT
    a.title, b.title,
    CASE WHEN a.is_own AND b.is_own THEN 'model_number' ELSE 'mention' END
FROM mentions AS a JOIN mentions AS b USING (model_number)
WHERE a.title < b.title AND (a.is_own OR b.is_own) AND model_number IN (
    SELECT model_number FROM mentions GROUP BY model_number HAVING count(*) <= $maximum_titles
);
"""

_BANDS_IN_COMMON = """
INSERT INTO candidates
WITH ranked AS (
    SELECT
        bands.title, band, high, low,
        row_number() OVER (PARTITION BY band, high, low ORDER BY title_key, bands.title) AS rank
    FROM bands JOIN titles USING (title)
),
reaching AS (SELECT *, rank + unnest(range(1, $neighbours + 1)) AS reached FROM ranked)
SELECT DISTINCT least(a.title, b.title), greatest(a.title, b.title), 'minhash'
FROM reaching AS a
JOIN ranked AS b
    ON a.band = b.band AND a.high = b.high AND a.low = b.low AND a.reached = b.rank
"""

_LINKS = """
CREATE TABLE verified AS
WITH pairs AS (
    SELECT
        left_title, right_title,
        bool_or(found_by = 'model_number') AS same_number,
        bool_or(found_by = 'mention') AS mentioned,
        bool_or(found_by = 'embedding') AS embedded
    FROM candidates
    GROUP BY left_title, right_title
),
shared AS (
    SELECT
        left_title, right_title,
        sum(a.weight) AS weight,
        count(*) FILTER (a.is_number) AS numbers
    FROM pairs
    JOIN title_words AS a ON a.title = left_title
    JOIN title_words AS b ON b.title = right_title AND b.word = a.word
    GROUP BY left_title, right_title
),
compared AS (
    SELECT
        pairs.*,
        coalesce(shared.weight, 0) AS in_common,
        in_common / (a.weight + b.weight - in_common) AS similarity,
        in_common / least(a.weight, b.weight) AS overlap,
        -- Each title names a number that the other lacks: another size, not the same product.
        a.numbers > coalesce(shared.numbers, 0)
            AND b.numbers > coalesce(shared.numbers, 0) AS numbers_differ
    FROM pairs
    JOIN title_weights AS a ON a.title = left_title
    JOIN title_weights AS b ON b.title = right_title
    LEFT JOIN shared USING (left_title, right_title)
)
SELECT
    compared.*,
    -- A brand may stand in the title of the one and in the brand of the other.
    len(a.brand_words) = 0 OR len(b.brand_words) = 0
        OR list_has_any(a.brand_words, list_concat(b.brand_words, words(b.title_key)))
        OR list_has_any(b.brand_words, list_concat(a.brand_words, words(a.title_key)))
        AS brands_agree
FROM compared
JOIN titles AS a ON a.title = left_title
JOIN titles AS b ON b.title = right_title;

CREATE TABLE links AS
SELECT left_title, right_title, evidence, strength
FROM (
    SELECT
        left_title, right_title,
        CASE
            WHEN brands_agree AND (same_number OR mentioned AND overlap >= $mentioned_overlap)
                THEN 'model_number'
            WHEN similarity >= $title_similarity AND NOT numbers_differ
                THEN 'minhash'
            WHEN embedded AND similarity >= $embedded_similarity AND NOT numbers_differ
                THEN 'embedding'
        END AS evidence,
        CASE evidence WHEN 'model_number' THEN 1.0 ELSE similarity END AS strength
    FROM verified
)
WHERE evidence IS NOT NULL
UNION ALL
-- One text under two titles can only be the same product, and nothing cuts that link.
SELECT DISTINCT first_title, title, 'same_title', CAST('inf' AS DOUBLE)
FROM (
    SELECT title, min(title) OVER (PARTITION BY content_hash) AS first_title FROM products
)
WHERE title <> first_title;
"""


def link_titles(
    connection: duckdb.DuckDBPyConnection, products: Path, encode: Encode, folder: Path
) -> None:
    """Leaves the tables ``products``, ``titles`` and ``links`` in the connection.

    Args:
        connection: an empty in-memory database.
        products: Parquet with item_id, source, category, title, brand, model_number, text and
            content_hash, one row an item.
        encode: gives the embeddings of texts; called once for each distinct title's text.
        folder: where the embeddings are kept meanwhile, as float16.

    ``links`` has left_title, right_title, evidence (same_title, model_number, minhash, embedding)
    and strength: the weighted Jaccard similarity of the titles' words, 1 for a model number, and
    infinite where the texts are equal.
    """
    for statements in (_MACROS, _TITLES):
        _run(connection, statements, {"products": str(products)})
    connection.execute(
        "CREATE TABLE candidates (left_title INTEGER, right_title INTEGER, found_by VARCHAR)"
    )
    _run(
        connection,
        _MODEL_NUMBERS,
        {
            "minimum_length": MODEL_NUMBER_MINIMUM_LENGTH,
            "maximum_titles": MODEL_NUMBER_MAXIMUM_TITLES,
        },
    )
    _add_minhash_candidates(connection)
    _add_embedding_candidates(connection, encode, folder)
    _run(
        connection,
        _LINKS,
        {
            "mentioned_overlap": MENTIONED_OVERLAP,
            "title_similarity": TITLE_SIMILARITY,
            "embedded_similarity": EMBEDDED_SIMILARITY,
        },
    )


def nearest_pairs(
    vectors: npt.NDArray[np.floating], minimum_cosine: float
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Pairs of rows with at least that cosine, at most ``NEIGHBOURS`` for each row and leaf.

    Args:
        vectors: rows of unit length, shape (rows, dimensions); a memory map is read in blocks.

    Yields:
        Smaller rows and larger rows; a pair may come more than once.
    """
    rows = np.arange(len(vectors))
    if len(rows) <= EXACT_LIMIT:
        yield from _pairs_within(vectors, rows, minimum_cosine)
        return
    for tree in range(TREES):
        projections = _projections(vectors, np.random.default_rng([_SEED, tree]))
        for leaf in _leaves(projections, rows):
            yield from _pairs_within(vectors, leaf, minimum_cosine)


def _projections(
    vectors: npt.NDArray[np.floating], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """The rows along one random direction for each level of a tree, in one pass over them."""
    levels = math.ceil(math.log2(len(vectors) / LEAF_SIZE))
    directions = random.standard_normal((vectors.shape[1], levels), dtype=np.float32)
    blocks = (vectors[start : start + _BATCH] for start in range(0, len(vectors), _BATCH))
    return np.concatenate([block.astype(np.float32) @ directions for block in blocks])


def _leaves(
    projections: npt.NDArray[np.float32], rows: npt.NDArray[np.int64], level: int = 0
) -> Iterator[npt.NDArray[np.int64]]:
    """Halves the rows at the median of the next projection until they are few enough."""
    if len(rows) <= LEAF_SIZE:
        yield rows
        return
    order = np.argsort(projections[rows, level], kind="stable")
    for half in np.array_split(order, 2):
        yield from _leaves(projections, np.sort(rows[half]), level + 1)


def _pairs_within(
    vectors: npt.NDArray[np.floating], rows: npt.NDArray[np.int64], minimum_cosine: float
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """The near pairs among some rows, by exact comparison in blocks."""
    leaf = vectors[rows].astype(np.float32)
    for start in range(0, len(rows), _BLOCK):
        cosines = leaf[start : start + _BLOCK] @ leaf.T
        np.fill_diagonal(cosines[:, start:], -1.0)
        here, there = np.nonzero(_nearest(cosines, minimum_cosine))
        first, second = rows[here + start], rows[there]
        yield np.minimum(first, second), np.maximum(first, second)


def _nearest(cosines: npt.NDArray[np.float32], minimum_cosine: float) -> npt.NDArray[np.bool_]:
    """Which entries are near, in a row with more than ``NEIGHBOURS`` of them only the largest."""
    near = cosines >= minimum_cosine
    crowded = np.flatnonzero(np.count_nonzero(near, axis=1) > NEIGHBOURS)
    if len(crowded):
        values = cosines[crowded]
        least = np.partition(values, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS]
        near[crowded] = values >= least[:, None]
    return near


def _add_minhash_candidates(connection: duckdb.DuckDBPyConnection) -> None:
    """Pairs whose word sets agree in a band of their MinHash (Broder, 1997), found with rensa."""
    from rensa import RMinHash

    connection.execute(
        "CREATE TABLE bands (title INTEGER, band INTEGER, high UBIGINT, low UBIGINT)"
    )
    for titles, words in _batches(connection, "words"):
        matrix = RMinHash.digest_matrix_from_token_sets(words, _PERMUTATIONS, _SEED)
        digests = np.array(matrix.to_rows(), dtype=np.uint32)
        halves = digests.view(np.uint64).reshape(len(titles) * _BANDS, 2)
        _insert(
            connection,
            "bands",
            title=np.repeat(titles, _BANDS),
            band=np.tile(np.arange(_BANDS, dtype=np.int32), len(titles)),
            high=halves[:, 0],
            low=halves[:, 1],
        )
    _run(connection, _BANDS_IN_COMMON, {"neighbours": NEIGHBOURS})
    connection.execute("DROP TABLE bands")


def _add_embedding_candidates(
    connection: duckdb.DuckDBPyConnection, encode: Encode, folder: Path
) -> None:
    vectors = _embed(connection, encode, folder / "embeddings.float16")
    if vectors is None:
        return
    for left, right in nearest_pairs(vectors, EMBEDDED_COSINE):
        _insert(
            connection,
            "candidates",
            left_title=left.astype(np.int32),
            right_title=right.astype(np.int32),
            found_by=np.full(len(left), "embedding"),
        )


def _embed(
    connection: duckdb.DuckDBPyConnection, encode: Encode, path: Path
) -> npt.NDArray[np.float16] | None:
    """The embeddings of the titles' texts, in the titles' order, as a memory map on disk."""
    total = connection.execute("SELECT count(*) FROM title_texts").fetchall()[0][0]
    vectors: np.memmap[tuple[int, int], np.dtype[np.float16]] | None = None
    for titles, texts in _batches(connection, "text"):
        encoded = encode(texts)
        if vectors is None:
            shape = (total, encoded.shape[1])
            vectors = np.memmap(path, dtype=np.float16, mode="w+", shape=shape)
        vectors[titles] = encoded
    return vectors


def _batches(
    connection: duckdb.DuckDBPyConnection, column: str
) -> Iterator[tuple[npt.NDArray[np.int32], list[str]]]:
    """Title numbers and one column of ``title_texts``, in the titles' order."""
    start = 0
    while rows := connection.execute(
        f"SELECT title, {column} FROM title_texts WHERE title >= ? AND title < ? ORDER BY title",
        [start, start + _BATCH],
    ).fetchall():
        yield np.array([row[0] for row in rows], dtype=np.int32), [row[1] for row in rows]
        start += _BATCH


def _insert(
    connection: duckdb.DuckDBPyConnection, table: str, **columns: npt.NDArray[np.generic]
) -> None:
    connection.register("inserted", pl.DataFrame(columns).to_arrow())
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM inserted")
    connection.unregister("inserted")


def _run(
    connection: duckdb.DuckDBPyConnection, statements: str, parameters: dict[str, object]
) -> None:
    """Runs SQL statements, each with those of the parameters that it names."""
    for statement in duckdb.extract_statements(statements):
        connection.execute(
            statement, {name: parameters[name] for name in statement.named_parameters}
        )
