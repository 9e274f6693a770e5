from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.language.local.network import Batch
from pricing_platform.language.local.number_tokens import NumberTokens
from pricing_platform.language.local.price_readout import (
    PriceProbabilities,
    TrieReader,
    _sample,
)
from pricing_platform.language.model import Prompt
from pricing_platform_tests.unit.language.local.asked import (
    HIGHEST,
    TEXTS,
    distributions,
    opened,
    two_shots,
    zero_shot,
)


def brute_force(model: LocalLanguageModel, prompt: Prompt) -> np.ndarray[Any, Any]:
    """Every number scored by itself, nothing shared: the trie's definition, unscaled."""
    import torch

    text = model._tokenizer.prompt_text(prompt)
    encode = model._tokenizer.encode
    numbers = NumberTokens.after(text, HIGHEST, encode)
    start = numbers.start(encode([text])[0])
    goes_on = torch.from_numpy(model._number_goes_on)
    found = np.zeros(HIGHEST + 1)
    for length in {len(tokens) for tokens in numbers.sequences}:
        chosen = [n for n, tokens in enumerate(numbers.sequences) if len(tokens) == length]
        ids = torch.tensor([[*start, *numbers.sequences[n]] for n in chosen])
        with torch.inference_mode():
            logits = model._network.module(input_ids=ids, logits_to_keep=length + 1).logits
        probabilities = logits.softmax(-1)
        each = probabilities[:, :-1].gather(2, ids[:, len(start) :, None])[..., 0]
        ends = 1 - probabilities[:, -1, goes_on].sum(-1)
        is_open = torch.tensor([10 * n < HIGHEST for n in chosen])
        found[chosen] = (each.prod(-1) * torch.where(is_open, ends, 1.0)).numpy()
    closed = {tokens for n, tokens in enumerate(numbers.sequences) if 10 * n >= HIGHEST}
    for n, tokens in enumerate(numbers.sequences):
        if any(tokens[:end] in closed for end in range(1, len(tokens))):
            found[n] = 0.0
    return found


def trie_reading(
    model: LocalLanguageModel, asked: list[Prompt], followed: int | None
) -> PriceProbabilities:
    import torch

    texts = [model._tokenizer.prompt_text(prompt) for prompt in asked]
    tokens = model._tokenizer.encode(texts)
    numbers = model._numbers_after(asked[0], texts[0], tokens[0])
    network = model._network
    most = None if followed is None else [followed] * len(asked)
    with torch.inference_mode():
        batch = Batch.of([numbers.start(ids) for ids in tokens], 0, 0, "cpu")
        cache = network.expanded(None, len(asked))
        reader = TrieReader(network, numbers, model._number_goes_on)
        return reader.probabilities(batch, cache, followed=most)


@pytest.fixture
def model(folder: Path) -> LocalLanguageModel:
    return opened(folder)


def test_the_trie_gives_every_number_what_scoring_it_alone_does(model: LocalLanguageModel) -> None:
    asked = [zero_shot(text) for text in TEXTS[:3]]
    found = trie_reading(model, asked, None)
    assert found.interpolated.max() < 1e-9
    assert found.numbers.sum(axis=1).max() <= 1 + 1e-6
    for prompt, numbers in zip(asked, found.numbers, strict=True):
        np.testing.assert_allclose(numbers, brute_force(model, prompt), rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("followed", [1, 4, 16])
def test_interpolating_moves_no_more_than_it_says(model: LocalLanguageModel, followed: int) -> None:
    asked = [zero_shot(text) for text in TEXTS]
    exact, found = trie_reading(model, asked, None), trie_reading(model, asked, followed)
    moved = np.abs(exact.numbers - found.numbers).sum(axis=1)
    assert (moved <= 2 * found.interpolated + 1e-6).all()
    assert (found.numbers >= 0).all()
    assert found.numbers.sum(axis=1).max() <= 1 + 1e-6


def test_the_more_is_followed_the_less_is_interpolated(folders: dict[str, Path]) -> None:
    model = opened(folders["single_digits"])
    asked = [zero_shot(text) for text in TEXTS]
    exact = trie_reading(model, asked, None).numbers
    readings = [trie_reading(model, asked, followed) for followed in (1, 4, 16, 64)]
    shares = [at.interpolated.mean() for at in readings]
    errors = [np.abs(at.numbers - exact).sum(axis=1).mean() for at in readings]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 2 * errors[-1]


def test_a_sample_holds_every_node_that_has_more_than_its_step() -> None:
    random = np.random.default_rng(1)
    for most in (1, 3, 8, 30):
        mass = random.random(90) ** 6
        found = _sample(mass, most)
        assert len(found) <= most
        assert (np.diff(found) > 0).all()
        large = np.flatnonzero(mass >= mass.sum() / most)
        assert set(large) <= set(found)
    assert _sample(np.array([0.0, 1.0, 0.5]), 5).tolist() == [1, 2]
    assert _sample(np.zeros(3), 2).tolist() == [0]
    assert _sample(np.zeros(3), None).tolist() == [0, 1, 2]


def test_what_is_alike_at_all_nodes_is_read_exactly_off_a_few(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that after any digit does the same: nothing is lost by what is not followed."""
    import torch

    model = opened(folders["single_digits"])
    network = type(model._network)
    always = torch.zeros(model._network.vocabulary_size)
    always[torch.from_numpy(model._number_goes_on)] = torch.linspace(
        4.0, 5.0, int(model._number_goes_on.sum())
    )
    followed: list[int] = []

    def alike(self: Any, ids: Any, *_: Any) -> Any:
        followed.append(ids.shape[1])
        return always.expand(*ids.shape, -1)

    with monkeypatch.context() as patched:
        patched.setattr(network, "branch_logits", alike)
        patched.setattr(network, "first_branch_logits", lambda *_: always.expand(1, 1 + 10, -1))
        exact, sampled = (trie_reading(model, [zero_shot()], most) for most in (None, 3))
    assert min(followed) == 3 < max(followed)
    assert sampled.interpolated.max() > 0.1 * exact.numbers.sum()
    np.testing.assert_allclose(sampled.numbers, exact.numbers, rtol=1e-4, atol=1e-9)


def test_a_branch_that_sees_its_neighbour_would_be_noticed(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model = opened(folders["single_digits"])
    exact = trie_reading(model, [zero_shot()], None).numbers
    network = type(model._network)
    honest = network.branch_logits

    def seeing_all(self: Any, ids: Any, positions: Any, seen: Any, cache: Any) -> Any:
        return honest(self, ids, positions, torch.ones_like(seen), cache)

    monkeypatch.setattr(network, "branch_logits", seeing_all)
    mistaken = trie_reading(model, [zero_shot()], None).numbers
    assert not np.allclose(mistaken, exact, rtol=1e-2, atol=1e-9)


def test_distributions_are_of_every_price_and_sum_to_one(model: LocalLanguageModel) -> None:
    found = distributions(model, [two_shots(text) for text in TEXTS])
    assert found.shape == (len(TEXTS), HIGHEST + 1)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert len(np.unique(found.round(6), axis=0)) == len(TEXTS)


def test_a_number_in_groups_of_three_digits_is_not_read_as_its_first_group(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model = opened(folders["three_digits"])
    prompt, network = zero_shot(), type(model._network)
    ids = model._tokenizer.tokenizer.convert_tokens_to_ids
    assert model._numbers_after(prompt, "", []).longest == 1
    honest_last, honest_branches = network.last_logits, network.branch_logits

    def last(self: Any, batch: Any, cache: Any) -> Any:
        """1 or 250, half and half."""
        found = torch.full_like(honest_last(self, batch, cache), -30.0)
        found[:, [ids("1"), ids("250")]] = 0.0
        return found

    def branches(self: Any, tokens: Any, *more: Any) -> Any:
        """After 1 a comma, as of 1,299; after any other number the end of the line."""
        found = torch.full_like(honest_branches(self, tokens, *more), -30.0)
        found[..., ids("Ċ")] = 0.0
        found[..., ids(",")] = torch.where(tokens == ids("1"), 9.0, -30.0)
        return found

    monkeypatch.setattr(network, "last_logits", last)
    monkeypatch.setattr(network, "branch_logits", branches)
    read = distributions(model, [prompt])[0]
    assert read[250] > 0.99


def test_a_thousands_comma_makes_a_number_longer(folders: dict[str, Path]) -> None:
    for name, longer, not_longer in (
        ("single_digits", ["7", "<0x37>", "<0x2C>"], ["▁", "</s>"]),
        ("word_piece", ["##7", "##12", ","], ["7", "##a", "price"]),
        ("three_digits", ["7", "123", ","], ["Ġ$", "Ċ"]),
    ):
        model = opened(folders[name])
        goes_on = model._number_goes_on
        ids = model._tokenizer.tokenizer.convert_tokens_to_ids
        assert goes_on[ids(longer)].all(), name
        assert not goes_on[ids(not_longer)].any(), name
