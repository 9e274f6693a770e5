"""Text that the base model writes by itself, to be trained on beside the new task.

What a model is trained on again it does not forget, and where its training data is not at hand, its
own continuations stand in for it (Huang et al., "Mitigating catastrophic forgetting in large
language models with self-synthesized rehearsal", 2024). As in LLM-QAT (Liu et al., 2023), a text
begins with a given opening and a few likeliest tokens, so that it makes sense, and goes on sampled,
so that it is as varied as what the model has read. Here belong writing and mixing; the loss belongs
to the training.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from pricing_platform.finetuning.text_batches import length_sorted_batches
from pricing_platform.language.local.generation import end_ids
from pricing_platform.language.local.network import Batch, Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.progress import Progress, silent

REPLAY_VERSION = "1"
"""Raise it when the same model would write other texts."""

OPENINGS = (
    "The history of", "In the morning,", "To make a good", "Once upon a time,", "Scientists have",
    "My favourite", "The difference between", "First, open the", "She looked at", "According to",
    "In mathematics,", "The human body", "Dear friend,", "It is important to", "Many people",
    "The city of", "How do plants", "A recipe for", "When the war", "The word", "Here is a list of",
    "Two friends", "The government", "During the summer,", "A computer", "The teacher asked",
    "Animals that live", "Thank you for", "The first thing", "In this lesson,", "If you want to",
    "The weather", "Music is", "He opened the door", "The planets", "An example of",
)  # fmt: skip
"""None is in the form of the probes, which are to measure what was not rehearsed."""

_LIKELIEST = 3
_TOP_P = 0.95
_BATCH_TEXTS = 128
_FEWEST_NEW = 8

Example = TypeVar("Example")


def write_replay(
    network: Network,
    tokenizer: PromptTokenizer,
    *,
    texts: int,
    seed: int,
    max_tokens: int = 96,
    progress: Progress = silent,
) -> list[tuple[int, ...]]:
    """Token ids of texts that the base model wrote, each from its beginning to its end.

    The same model, seed and number of threads give the same texts; the random state of ``torch`` is
    left as it was. All tokens but the tokenizer's leading ones are there to be learnt. A text ends
    where the model ends it, with its end token, or at the limit; texts that end at once are left
    out, so there may be fewer than asked for.

    Args:
        network: the base model.
        tokenizer: its own.
        texts: how many are to be written.
        seed: of the sampling.
        max_tokens: of a text, the opening included.
        progress: told after each batch.
    """
    import torch

    openings = [OPENINGS[at % len(OPENINGS)] for at in range(texts)]
    ids = tokenizer.encode(openings)
    lengths = [len(found) for found in ids]
    ends = end_ids(network, tokenizer)
    written: dict[int, tuple[int, ...]] = {}
    devices = [torch.device(network.device)] if network.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices), torch.inference_mode():
        torch.manual_seed(seed)
        for rows in length_sorted_batches(
            np.array(lengths), batch_tokens=_BATCH_TEXTS * max_tokens, batch_items=_BATCH_TEXTS
        ):
            asked = [ids[row] for row in rows]
            found = _continued(network, tokenizer, asked, _LIKELIEST, ends, sampled=False)
            more = max_tokens - max(map(len, found))
            if more > 0:
                found = _continued(network, tokenizer, found, more, ends, sampled=True)
            written |= dict(zip((int(row) for row in rows), map(tuple, found), strict=True))
            progress("writing replay texts", len(written), texts)
    return [written[at] for at in range(texts) if len(written[at]) >= lengths[at] + _FEWEST_NEW]


def mixed(
    examples: Sequence[Example], replay: Sequence[Example], share: float, *, seed: int
) -> list[Example]:
    """All examples of a task with replayed ones among them, in an order that the seed decides.

    Args:
        examples: of the task, each of them once.
        replay: taken in turn, again from the beginning where there are too few.
        share: of the result that is replayed, at least 0 and below 1.
        seed: of the order.

    Raises:
        ValueError: when the share is not in that range, or there is nothing to replay.
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of replay is at least 0 and below 1, not {share}")
    count = round(len(examples) * share / (1 - share))
    if count and not replay:
        raise ValueError("there is nothing to replay")
    found = [*examples, *(replay[at % len(replay)] for at in range(count))]
    random.Random(seed).shuffle(found)  # noqa: S311
    return found


def _continued(
    network: Network,
    tokenizer: PromptTokenizer,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    ends: Sequence[int],
    *,
    sampled: bool,
) -> list[list[int]]:
    """The prompts with what follows them, the end token included; what has ended stays."""
    from transformers import GenerationConfig

    open_rows = [at for at, ids in enumerate(prompts) if ids[-1] not in ends]
    found = [list(ids) for ids in prompts]
    if not open_rows:
        return found
    batch = Batch.of([prompts[at] for at in open_rows], 0, tokenizer.pad_id, network.device)
    options: dict[str, Any] = {"do_sample": False}
    if sampled:
        options = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": _TOP_P}
    written = network.module.generate(
        batch.input_ids,
        attention_mask=batch.mask,
        generation_config=GenerationConfig(
            max_new_tokens=new_tokens,
            eos_token_id=list(ends) or None,
            pad_token_id=tokenizer.pad_id,
            **options,
        ),
    )[:, batch.input_ids.shape[1] :].tolist()
    for at, new in zip(open_rows, written, strict=True):
        last = next((place for place, token in enumerate(new) if token in ends), len(new) - 1)
        found[at] += new[: last + 1]
    return found
