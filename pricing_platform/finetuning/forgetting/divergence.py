"""The Kullback-Leibler divergence from a base model, as a loss and as a measure.

Here belong both forms. Which texts it is taken on belongs to whoever trains or measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LIKELIEST = 128
"""Tokens of the base's distribution that are kept one by one; the others are kept as a sum."""

_LEAST = 1e-9


def kl_loss(
    student_logits: torch.Tensor,
    base_logits: torch.Tensor,
    mask: torch.Tensor | None = None,
) -> torch.Tensor:
    """KL(base || student) in nats, the mean over positions; a penalty that keeps a model near its
    base where it is added to the loss (as in Li and Hoiem, "Learning without Forgetting", 2016).

    With peft, the base's logits are those of the same model within ``model.disable_adapter()`` and
    ``torch.no_grad()``.

    Args:
        student_logits: of shape (..., vocabulary).
        base_logits: of the same shape; no gradient flows into them.
        mask: of shape (...), true at the positions that count; all if None.

    Returns:
        A scalar, float32; 0 where no position counts.
    """
    base = base_logits.detach().float().log_softmax(-1)
    student = student_logits.float().log_softmax(-1)
    # One position at a time sums to its divergence; kl_div() would need the same two tensors.
    found: torch.Tensor = (base.exp() * (base - student)).sum(-1)
    if mask is None:
        return found.mean()
    seen = mask.to(found.dtype)
    return (found * seen).sum() / seen.sum().clamp(min=1)


@dataclass(frozen=True)
class BaseDistributions:
    """The base's next-token distributions at some positions, the unlikely tokens as one.

    ``tokens``: ids of the likeliest, shape (positions, likeliest); ``log_probabilities``: theirs,
    of the same shape, float32 on the CPU.
    """

    tokens: torch.Tensor
    log_probabilities: torch.Tensor

    @classmethod
    def of(cls, logits: torch.Tensor, likeliest: int = LIKELIEST) -> BaseDistributions:
        """Of logits of shape (positions, vocabulary)."""
        values, tokens = logits.topk(min(likeliest, logits.shape[-1]), dim=-1)
        return cls(tokens.cpu(), (values - logits.logsumexp(-1, keepdim=True)).cpu())

    def divergence(self, logits: torch.Tensor) -> torch.Tensor:
        """KL(base || model) in nats at each position, shape (positions,), from the model's logits.

        Both distributions have the unlikely tokens as one, so this is a lower bound of the whole
        divergence (data processing inequality), and the whole where all tokens are kept.
        """
        tokens = self.tokens.to(logits.device)
        base = self.log_probabilities.to(logits.device)
        model = logits.gather(-1, tokens) - logits.logsumexp(-1, keepdim=True)
        kept: torch.Tensor = (base.exp() * (base - model)).sum(-1)
        base_rest = (1 - base.exp().sum(-1)).clamp(min=_LEAST)
        model_rest = (1 - model.exp().sum(-1)).clamp(min=_LEAST)
        return kept + base_rest * (base_rest / model_rest).log()
