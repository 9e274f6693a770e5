import numpy as np

from pricing_platform.language.base_model.batches import Batches
from pricing_platform.language.base_model.measuring import measure
from pricing_platform.language.base_model.network import new_network
from pricing_platform.language.base_model.tokenizer import PriceTokens, train_tokenizer
from pricing_platform.language.prompts import whole_price
from pricing_platform.progress import silent
from pricing_platform_tests.unit.language.base_model.made_items import CURRENCY, TINY
from pricing_platform_tests.unit.language.base_model.test_corpus import corpus_of


def _batches() -> Batches:
    corpus = corpus_of()
    tokenizer = train_tokenizer(
        corpus.items.texts, CURRENCY, vocabulary=TINY.vocabulary, window=TINY.window
    )
    return Batches(corpus, tokenizer, PriceTokens.of(tokenizer, CURRENCY, 1_000), TINY)


def test_a_network_that_knows_nothing_is_as_perplexed_as_there_are_tokens() -> None:
    import torch

    batches = _batches()
    items = batches.corpus.items
    network = new_network(TINY, batches.tokenizer, batches.price_tokens, ["lamp"], np.array([9]), 0)
    with torch.no_grad():
        network.get_input_embeddings().weight.zero_()
    found = measure(network, batches, np.arange(20), silent)
    assert np.isclose(found["held_out_perplexity"], len(batches.tokenizer), rtol=1e-3)
    # All prices are equally likely, so the median is the middle one.
    middle = float(np.abs(items.prices[:20] - 500.5).mean())
    assert np.isclose(found["held_out_price_mae_zero_shot"], middle, atol=0.5)


def test_prices_that_are_alike_start_with_embeddings_that_are_alike() -> None:
    batches = _batches()
    corpus = batches.corpus
    texts = [corpus.items.texts[row] for row in corpus.learnt]
    whole = np.array([whole_price(corpus.items.prices[row]) for row in corpus.learnt])
    network = new_network(TINY, batches.tokenizer, batches.price_tokens, texts, whole, 0)
    embeddings = network.get_input_embeddings().weight.detach().numpy()
    prices = embeddings[batches.price_tokens.ids]

    def alike(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    assert alike(prices[100], prices[103]) > 0.6
    assert alike(prices[100], prices[103]) > alike(prices[100], prices[400])
    lamp, drill = (
        embeddings[batches.tokenizer(f" {kind}", add_special_tokens=False).input_ids[0]]
        for kind in ("lamp", "drill")
    )
    assert alike(lamp, prices[30]) > alike(drill, prices[30])


def test_every_price_of_a_document_is_learnt_and_no_other_number() -> None:
    batches = _batches()
    row = int(batches.corpus.learnt[0])
    texts = [batches.corpus.priced(row, count) for count in (0, 2)]
    batch = batches.batch(batches.tokenised(texts), np.random.default_rng(0))
    shown = [text.count("Price: $") for text in texts]
    assert len(batch.prices) == sum(shown)
    price = whole_price(batches.corpus.items.prices[row])
    assert batch.prices[0] == batch.prices[-1] == price
    assert set(batch.text_places).isdisjoint(batch.price_places)


def test_blocks_are_the_same_each_time_and_hold_each_document_once() -> None:
    batches = _batches()
    one, again = batches.block(0), batches.block(0)
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(one, again, strict=True))
    assert sum(len(batch.ids) for batch in one) == TINY.block_documents
    assert all(batch.ids.size <= TINY.batch_tokens for batch in one)
    assert all(batch.ids.shape[1] <= TINY.window for batch in one)
