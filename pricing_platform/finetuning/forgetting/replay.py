"""Text that the base model writes by itself, to be trained on beside the new task.

What a model is trained on again it does not forget, and where its training data is not at hand, its
own continuations stand in for it (Huang et al., "Mitigating catastrophic forgetting in large
language models with self-synthesized rehearsal", 2024). As in LLM-QAT (Liu et al., 2023), a text
begins with a given opening and a few likeliest tokens, so that it makes sense, and goes on sampled,
so that it is as varied as what the model has read. Here belongs writing it; the loss belongs to the
training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pricing_platform.language.local.generation import end_ids
from pricing_platform.language.local.length_batches import length_sorted_batches
from pricing_platform.language.local.network import Batch, Network
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.progress import Progress, silent

if TYPE_CHECKING:
    import torch

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
_SAMPLED_AMONG = 1024  # the likeliest; to sort a whole vocabulary takes longer than to compute
_BATCH_TEXTS = 128
_FEWEST_NEW = 8


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

    The same model, seed and number of threads give the same texts, whatever the random state of
    ``torch``, which is left as it was. All tokens but the tokenizer's leading ones are there to be
    learnt. A text ends where the model ends it, with its end token, or at the limit; texts that
    end at once are left out, so there may be fewer than asked for.

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
    lengths = np.array([len(found) for found in ids])
    ends = end_ids(network, tokenizer)
    generator = torch.Generator(device=network.device).manual_seed(seed)
    written: dict[int, list[int]] = {}
    with torch.inference_mode():
        for rows in length_sorted_batches(
            lengths, batch_tokens=_BATCH_TEXTS * max_tokens, batch_items=_BATCH_TEXTS
        ):
            prompts = [ids[row] for row in rows]
            new_tokens = max_tokens - max(map(len, prompts))
            found = _continued(network, prompts, new_tokens, ends, tokenizer.pad_id, generator)
            written |= {int(row): new for row, new in zip(rows, found, strict=True)}
            progress("writing replay texts", len(written), texts)
    return [(*ids[at], *written[at]) for at in range(texts) if len(written[at]) >= _FEWEST_NEW]


def _continued(
    network: Network,
    prompts: Sequence[list[int]],
    new_tokens: int,
    ends: Sequence[int],
    pad_id: int,
    generator: torch.Generator,
) -> list[list[int]]:
    """What follows each prompt, the token that ends it included."""
    import torch

    batch = Batch.of(prompts, 0, pad_id, network.device)
    cache = network.expanded(None, len(prompts))
    found: list[list[int]] = [[] for _ in prompts]
    for step in range(new_tokens):
        logits = network.last_logits(batch, cache)
        chosen = logits.argmax(-1) if step < _LIKELIEST else _sampled(logits, generator)
        for new, token in zip(found, chosen.tolist(), strict=True):
            if not new or new[-1] not in ends:
                new.append(token)
        if all(new[-1] in ends for new in found):
            break
        seen = torch.cat([batch.mask, torch.ones_like(batch.mask[:, :1])], dim=1)
        batch = Batch(chosen[:, None], batch.lengths[:, None], seen, batch.lengths + 1)
    return found


def _sampled(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A token a row, of those that make up 95 % of the probability, shape (rows,)."""
    import torch

    values, tokens = logits.topk(min(_SAMPLED_AMONG, logits.shape[-1]), dim=-1)
    shares = (values - logits.logsumexp(-1, keepdim=True)).exp()
    likelier = shares.cumsum(-1) - shares
    place = torch.multinomial(shares * (likelier < _TOP_P), 1, generator=generator)
    return tokens.gather(-1, place)[:, 0]
