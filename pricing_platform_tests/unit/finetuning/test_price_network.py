"""The network: it begins as the prior, adapts only its adapters, and reads as it was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pricing_platform.finetuning.base_models import base_model_folder
from pricing_platform.finetuning.price_network import (
    NetworkConfiguration,
    PriceNetwork,
    load_weights,
    save_weights,
)
from pricing_platform.finetuning.text_batches import TextTokeniser, TokenisedTexts
from pricing_platform.retrieval.encoder import EMBEDDED_MODEL

CONFIGURATION = NetworkConfiguration(rank=2, bins=16, hidden=8)
PRIOR = np.arange(1, 17, dtype=np.float32) / np.arange(1, 17).sum()
TEXTS = ["A monitor of 27 inches", "Two cables", "", "A drill with a battery and a long text " * 9]


@pytest.fixture(scope="module")
def tokens() -> TokenisedTexts:
    return TextTokeniser(base_model_folder(EMBEDDED_MODEL), 32)(TEXTS)


@pytest.fixture
def network() -> PriceNetwork:
    return PriceNetwork.to_train(CONFIGURATION, PRIOR, seed=1)


def test_untrained_it_answers_with_the_prior(network: PriceNetwork, tokens: TokenisedTexts) -> None:
    np.testing.assert_allclose(network.probabilities(tokens), np.tile(PRIOR, (4, 1)), atol=1e-4)


def test_untrained_it_embeds_as_the_encoder_does(
    network: PriceNetwork, tokens: TokenisedTexts
) -> None:
    import torch
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(base_model_folder(EMBEDDED_MODEL)).eval()
    ids, mask = tokens.padded(np.arange(4), torch.device("cpu"))
    with torch.inference_mode():
        states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    means = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    expected = torch.nn.functional.normalize(means).numpy()
    assert (expected * network.embed(tokens)).sum(axis=1).min() > 0.999


def test_a_gradient_reaches_adapters_and_head_and_nothing_else(
    network: PriceNetwork, tokens: TokenisedTexts
) -> None:
    import torch

    torch.nn.init.normal_(network.head[-1].weight)
    network.train()
    network.logits(*tokens.padded(np.arange(4), network.device)).logsumexp(-1).sum().backward()
    touched = {name for name, p in network.encoder.named_parameters() if p.grad is not None}
    assert touched
    assert all("lora_" in name for name in touched)
    assert len(touched) == len(network.adapter_weights())
    assert all(p.grad is not None for p in network.head.parameters())


def test_what_is_read_from_disk_answers_as_what_was_trained(
    network: PriceNetwork, tokens: TokenisedTexts, tmp_path: Path
) -> None:
    import torch

    base = network.embed(tokens)
    torch.manual_seed(0)
    for name, weight in network.encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    torch.nn.init.normal_(network.head[-1].weight)
    save_weights(tmp_path, network.adapter_weights(), network.head_weights())
    reader = PriceNetwork.to_read(CONFIGURATION, *load_weights(tmp_path))
    trained = network.embed(tokens)
    assert (trained * base).sum(axis=1).max() < 0.99
    assert (trained * reader.embed(tokens)).sum(axis=1).min() > 0.999
    answers = network.probabilities(tokens)
    np.testing.assert_allclose(reader.probabilities(tokens), answers, atol=0.02)
    assert np.abs(answers[0] - answers[1]).max() > 0.03
