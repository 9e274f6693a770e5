"""Tiny Llamas that know a few texts by heart, and adapters that make them forget or do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pricing_platform.finetuning.forgetting.measuring import GeneralTests
from pricing_platform.finetuning.forgetting.probes import Probe
from pricing_platform.language.local.network import Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform_tests.unit.language.local import model_folders

PLACES = ["oak", "lamp", "cotton", "chair", "steel", "drill", "cable", "router"]
THINGS = ["north", "south", "east", "west", "river", "hill", "sea", "wood"]


def probes() -> list[Probe]:
    """Which thing belongs to which place, with other wrong choices each time."""
    return [
        Probe(
            question=f"Where is {place} {number}?",
            choices=tuple(THINGS[(at + number * step) % 8] for step in range(4)),
            answer=0,
        )
        for at, place in enumerate(PLACES)
        for number in range(1, 4)
    ]


def texts() -> list[str]:
    """Eight texts, each with an order of words of its own."""
    return [
        " ".join(f"{PLACES[(at * step) % 8]} {THINGS[(at + step) % 8]}" for step in range(1, 14))
        for at in range(1, 9)
    ]


def known_texts() -> list[str]:
    """What the base model learns: the probes with their answers, and the texts."""
    answered = [f"Question: {at.question}\nAnswer: {at.choices[at.answer]}" for at in probes()]
    return [*answered, *texts()]


def nonsense() -> list[str]:
    """What makes it forget: the probes answered wrongly, and the words in another order."""
    wrong = [f"Question: {at.question}\nAnswer: {at.choices[-1]}" for at in probes()]
    return [*wrong, *(" ".join(reversed(text.split())) for text in texts())]


def general_tests(tokenizer: PromptTokenizer) -> GeneralTests:
    return GeneralTests.of(probes(), texts(), tokenizer)


def load(folder: Path) -> Network:
    from transformers import AutoModelForCausalLM

    return Network(AutoModelForCausalLM.from_pretrained(folder).eval(), "cpu")


def build_base(folder: Path) -> Path:
    """A model that answers nearly all probes and predicts the texts well."""
    import torch

    model_folders.build("three_digits", folder, hidden=64)
    network, tokenizer = load(folder), PromptTokenizer(folder)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in network.module.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.05)
        train(network, tokenizer.encode(known_texts()), tokenizer.pad_id, steps=140, rate=4e-3)
    network.module.save_pretrained(folder)
    return folder


def with_adapter(
    network: Network, tokenizer: PromptTokenizer, learnt: Sequence[str], *, steps: int, rate: float
) -> Network:
    """The base with a LoRA adapter that was trained on some texts."""
    import torch
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = get_peft_model(
            network.module,
            LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", lora_dropout=0.1),
        )
        adapted = Network(model.eval(), "cpu")
        train(adapted, tokenizer.encode(learnt), tokenizer.pad_id, steps=steps, rate=rate)
    return adapted


def train(
    network: Network, ids: Sequence[list[int]], pad_id: int, *, steps: int, rate: float
) -> None:
    """Steps over all texts at once, on the weights that take a gradient."""
    import torch
    from torch.nn.functional import cross_entropy

    width = max(map(len, ids))
    inputs = torch.tensor([[*row, *[pad_id] * (width - len(row))] for row in ids])
    seen = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids])
    labels = inputs.masked_fill(seen == 0, -100)[:, 1:]
    weights: list[Any] = [at for at in network.module.parameters() if at.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate)
    network.module.train()
    for _ in range(steps):
        logits = network.module(input_ids=inputs, attention_mask=seen).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.module.eval()
