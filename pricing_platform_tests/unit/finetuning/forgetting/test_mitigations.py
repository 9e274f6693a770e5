"""Replayed texts, the divergence as a loss, and scaled adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pricing_platform.finetuning.forgetting.divergence import kl_loss
from pricing_platform.finetuning.forgetting.replay import OPENINGS, write_replay
from pricing_platform.finetuning.language.adapters import adapter_scale
from pricing_platform.language.local.network import Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform_tests.unit.finetuning.forgetting import trained_models
from pricing_platform_tests.unit.language.local import model_folders


def logits(network: Network) -> Any:
    import torch

    with torch.inference_mode():
        return network.module(input_ids=torch.arange(5, 25).reshape(2, 10)).logits


@pytest.fixture
def adapted(base_folder: Path) -> Network:
    return trained_models.with_adapter(
        trained_models.load(base_folder),
        PromptTokenizer(base_folder),
        trained_models.nonsense(),
        steps=3,
        rate=5e-3,
    )


def test_replay_is_the_models_own_and_the_same_again(base_folder: Path) -> None:
    import torch

    network, tokenizer = trained_models.load(base_folder), PromptTokenizer(base_folder)
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    told: list[tuple[str, int, int]] = []

    texts = write_replay(
        network, tokenizer, texts=60, seed=4, max_tokens=40, progress=lambda *at: told.append(at)
    )

    assert torch.equal(torch.random.get_rng_state(), before)
    assert write_replay(network, tokenizer, texts=60, seed=4, max_tokens=40) == texts
    assert write_replay(network, tokenizer, texts=60, seed=5, max_tokens=40) != texts
    assert len(texts) > 40
    assert len(set(texts)) > 0.9 * len(texts)
    assert all(len(ids) <= 40 for ids in texts)
    opened = {tuple(ids) for ids in tokenizer.encode(OPENINGS)}
    assert all(any(ids[: len(at)] == at for at in opened) for ids in texts)
    assert told[-1] == ("writing replay texts", 60, 60)


@pytest.mark.parametrize("family", model_folders.FAMILIES)
def test_replay_is_what_the_model_finds_likely(tmp_path: Path, family: str) -> None:
    import torch

    network = trained_models.load(model_folders.build(family, tmp_path))
    tokenizer = PromptTokenizer(tmp_path)
    openings = tokenizer.encode(OPENINGS[:12])

    texts = write_replay(network, tokenizer, texts=12, seed=1, max_tokens=48)

    assert len(texts) > 6
    for ids in texts:
        (start,) = {len(at) for at in openings if list(ids[: len(at)]) == at}
        with torch.inference_mode():
            shares = network.module(input_ids=torch.tensor([ids])).logits[0].float().softmax(-1)
        for at in range(start, len(ids)):
            before, token = shares[at - 1], ids[at]
            if at < start + 3:
                assert before[token] >= before.max() - 1e-5
            assert before[before > before[token] + 1e-5].sum() < 0.951
        assert tokenizer.eos_id is None or tokenizer.eos_id not in ids[start:-1]
        assert ids[-1] == tokenizer.eos_id or len(ids) > 48 - max(map(len, openings))


def test_the_loss_is_the_divergence_of_torch_and_pulls_the_student() -> None:
    import torch

    torch.manual_seed(3)
    base = torch.randn(2, 5, 11, requires_grad=True)
    student = torch.randn(2, 5, 11, requires_grad=True)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]])

    loss = kl_loss(student, base)
    expected = torch.nn.functional.kl_div(
        student.log_softmax(-1), base.log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)

    assert loss.item() == pytest.approx(expected.mean().item(), rel=1e-5)
    masked = kl_loss(student, base, mask)
    assert masked.item() == pytest.approx(expected[mask.bool()].mean().item(), rel=1e-5)
    assert kl_loss(base, base).item() == pytest.approx(0, abs=1e-6)
    assert kl_loss(student, base, torch.zeros(2, 5)).item() == 0
    loss.backward()
    assert base.grad is None
    with torch.no_grad():
        assert kl_loss(student - 0.5 * student.grad, base) < loss


def test_a_penalty_keeps_a_model_nearer_to_its_base(base_folder: Path) -> None:
    import torch

    def distance(weight: float) -> float:
        tokenizer = PromptTokenizer(base_folder)
        adapted = trained_models.with_adapter(
            trained_models.load(base_folder), tokenizer, ["oak"], steps=0, rate=0.0
        )
        module = adapted.module
        optimizer = torch.optim.AdamW(
            [at for at in module.parameters() if at.requires_grad], lr=5e-3
        )
        task = torch.tensor(tokenizer.encode(["steel oak router drill lamp cable 12"]))
        general = torch.tensor(tokenizer.encode([trained_models.texts()[0]]))
        with torch.no_grad(), module.disable_adapter():
            base = module(input_ids=general).logits
        for _ in range(12):
            loss = module(input_ids=task, labels=task).loss
            loss = loss + weight * kl_loss(module(input_ids=general).logits, base)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return kl_loss(module(input_ids=general).logits, base).item()

    assert distance(5.0) < 0.5 * distance(0.0)


def test_a_scaled_adapter_is_between_and_is_put_back(base_folder: Path, adapted: Network) -> None:
    import torch

    base, whole = logits(trained_models.load(base_folder)), logits(adapted)
    distances = []
    for scale in (0.0, 0.25, 0.5, 0.75, 1.0):
        with adapter_scale(adapted.module, scale):
            distances.append((logits(adapted) - base).norm().item())

    assert distances[0] == pytest.approx(0, abs=1e-4)
    assert distances == sorted(distances)
    assert distances[1] > 0
    with pytest.raises(RuntimeError, match="in between"), adapter_scale(adapted.module, 0.5):
        raise RuntimeError("in between")
    assert torch.equal(logits(adapted), whole)
