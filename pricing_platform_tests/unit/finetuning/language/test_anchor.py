"""The closed-form estimate that the adapters start behind."""

from __future__ import annotations

import numpy as np
import pytest

from pricing_platform.finetuning.language.anchor import Anchor


def made(items: int, features: int, *, noise: float, seed: int = 0):  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    known = random.normal(size=(items, features)).astype(np.float32)
    weights = random.normal(size=features)
    targets = 3 + known @ weights / np.sqrt(features) + random.normal(0, noise, items)
    return known, targets, np.arange(items) // 2


@pytest.mark.parametrize(("items", "features"), [(400, 20), (60, 200)])
def test_it_estimates_what_it_has_not_seen(items: int, features: int) -> None:
    known, targets, groups = made(items, features, noise=0.01)
    anchor, unseen = Anchor.fit(known, targets, groups, seed=1)
    spread = np.abs(targets - targets.mean()).mean()
    assert np.abs(unseen - targets).mean() < spread
    assert np.abs(anchor(known) - targets).mean() < np.abs(unseen - targets).mean() + 1e-9


def test_what_is_said_out_of_fold_has_not_seen_the_family() -> None:
    """Targets that follow from the family alone can't be known of one that was left out."""
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 2)
    of_family = random.normal(size=100)
    directions = random.normal(size=(100, 300)).astype(np.float32)
    _, unseen = Anchor.fit(directions[groups], of_family[groups], groups, seed=1)
    assert abs(np.corrcoef(unseen, of_family[groups])[0, 1]) < 0.35


def test_both_forms_of_the_regression_agree() -> None:
    known, targets, groups = made(101, 100, noise=0.3)
    wide = np.concatenate([known, np.zeros((101, 2), np.float32)], axis=1)
    narrow, _ = Anchor.fit(known, targets, groups, seed=1)
    padded, _ = Anchor.fit(wide, targets, groups, seed=1)
    assert narrow.penalty == padded.penalty
    np.testing.assert_allclose(narrow(known), padded(wide), atol=0.03)
