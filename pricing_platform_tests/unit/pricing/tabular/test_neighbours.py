from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.pricing.tabular.neighbours import (
    BLOCK,
    STATISTICS,
    FamilyCodes,
    Neighbours,
    dense_neighbours,
    price_statistics,
    sparse_neighbours,
    weighted_median,
)


@pytest.mark.parametrize("sparse", [False, True])
def test_neighbours_are_the_nearest_of_other_families(sparse: bool) -> None:
    import scipy.sparse

    random = np.random.default_rng(0)
    count, k = BLOCK + 40, 7
    vectors = random.normal(size=(count, 12)).astype(np.float32)
    vectors = np.abs(vectors)  # so that every pair shares something in the sparse case too
    families: list[str | None] = [f"f{n // 3}" for n in range(count)]
    codes = FamilyCodes(families)
    given_vectors = scipy.sparse.csr_matrix(vectors) if sparse else vectors
    search = sparse_neighbours if sparse else dense_neighbours
    found = search(given_vectors, given_vectors, k, codes.of(families), codes.reference)
    similarity = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    similarity[np.arange(count)[:, None] // 3 == np.arange(count)[None, :] // 3] = -np.inf
    np.testing.assert_array_equal(found.index, np.argsort(-similarity, axis=1)[:, :k])


@given(st.integers(0, 10_000))
def test_what_is_not_known_yet_takes_no_place_from_what_is(seed: int) -> None:
    random = np.random.default_rng(seed)
    queries, references = (random.normal(size=(n, 3)).astype(np.float32) for n in (4, 30))
    known_from, asked_at = random.integers(0, 9, 30), random.integers(-1, 9, 4)
    nobody = np.full(30, -1)
    found = dense_neighbours(
        queries, references, 5, np.full(4, -2), nobody, asked_at=asked_at, known_from=known_from
    )
    for row, moment in enumerate(asked_at):
        known = np.flatnonzero(known_from <= moment)
        nearest = known[np.argsort(-(references[known] @ queries[row]), kind="stable")][:5]
        assert found.index[row, : len(nearest)].tolist() == nearest.tolist()
        assert (found.index[row, len(nearest) :] == -1).all()


def test_with_fewer_references_than_wanted_the_rest_is_marked() -> None:
    codes = FamilyCodes(["a", "a", "b"])
    vectors = np.eye(3, dtype=np.float32)
    found = dense_neighbours(vectors, vectors, 5, codes.of(["a", "b", None]), codes.reference)
    assert found.index[0].tolist() == [2, -1, -1, -1, -1]
    assert sorted(found.index[1, :2].tolist()) == [0, 1]
    assert (found.index[2, :3] >= 0).all(), "who belongs to no family is nobody's own"


def test_sharing_no_word_makes_no_neighbour() -> None:
    import scipy.sparse

    codes = FamilyCodes(["a", "b"])
    found = sparse_neighbours(
        scipy.sparse.csr_matrix(np.array([[0.0, 1.0]])),
        scipy.sparse.csr_matrix(np.array([[1.0, 0.0], [0.0, 0.5]])),
        2,
        codes.of(["c"]),
        codes.reference,
    )
    assert found.index.tolist() == [[1, -1]]


def test_price_statistics() -> None:
    neighbours = Neighbours(np.array([[0, 1, 2], [-1, -1, -1]]), np.array([[1, 1, 1], [0, 0, 0]]))
    rows = price_statistics(neighbours, np.array([1.0, 2.0, 6.0]))
    named = dict(zip(STATISTICS, rows[0], strict=True))
    assert named["weighted_mean"] == pytest.approx(3.0)
    assert (named["nearest"], named["median"]) == (1.0, 2.0)
    assert named["spread"] == pytest.approx(np.std([1, 2, 6]))
    assert np.isnan(rows[1, :4]).all()
    assert (rows[1, 4:] == 0).all()


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 5)), min_size=1, max_size=12).filter(
        lambda pairs: any(weight for _, weight in pairs)
    )
)
def test_weighted_median_is_the_lower_median_of_the_repeated_values(
    pairs: list[tuple[float, int]],
) -> None:
    values, weights = np.array([pairs]).transpose(2, 0, 1)
    repeated = np.sort(np.repeat(values[0], weights[0].astype(int)))
    assert weighted_median(values, weights)[0] == repeated[(len(repeated) - 1) // 2]


def test_weighted_median_of_nothing_is_unknown() -> None:
    assert np.isnan(weighted_median(np.array([[3.0]]), np.array([[0.0]])))[0]
