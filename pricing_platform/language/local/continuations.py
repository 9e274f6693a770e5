"""How probable a text is after a prompt: what it costs a model in nats, token by token.

Here belongs the computation. Writing a text belongs to ``generation``, and the forward pass to
``network``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language.local.network import Batch, Network


def log_likelihoods(
    network: Network,
    pad_id: int,
    prompts: Sequence[list[int]],
    texts: Sequence[list[int]],
    prefix: Sequence[int] = (),
    prefix_cache: Any | None = None,
) -> npt.NDArray[np.float64]:
    """The sum of the log-probabilities of each text's tokens after its prompt, shape (prompts,).

    Args:
        network: the model.
        pad_id: what fills up a batch.
        prompts: token ids, each beginning with the prefix and longer than it.
        texts: token ids that follow each prompt, at least one.
        prefix: what all prompts begin with.
        prefix_cache: the prefix's keys and values; None for no prefix.
    """
    import torch

    device, rows = network.device, len(prompts)
    found = np.zeros(rows)
    with torch.inference_mode():
        batch = Batch.of(prompts, len(prefix), pad_id, device)
        cache = network.expanded(prefix_cache, rows)
        first = network.last_logits(batch, cache).float().log_softmax(-1)
        for row, text in enumerate(texts):
            found[row] = float(first[row, text[0]])
        width, longest = batch.mask.shape[1], max(map(len, texts)) - 1
        if not longest:
            return found
        ids = torch.full((rows, longest), pad_id)
        seen = torch.zeros((rows, longest, width + longest), dtype=torch.bool)
        seen[:, :, :width] = batch.mask.bool().cpu()[:, None]
        seen[:, :, width:] = torch.ones((longest, longest), dtype=torch.bool).tril()
        for row, text in enumerate(texts):
            ids[row, : len(text) - 1] = torch.tensor(text[:-1], dtype=torch.long)
        positions = batch.lengths.cpu()[:, None] + torch.arange(longest)[None, :]
        logits = network.branch_logits(ids.to(device), positions.to(device), seen.to(device), cache)
        for row, text in enumerate(texts):
            after = logits[row, : len(text) - 1].float().log_softmax(-1)
            chosen = torch.tensor(text[1:], dtype=torch.long, device=after.device)
            found[row] += float(after.gather(-1, chosen[:, None]).sum())
    return found
