"""What calls cost: prices per million tokens, and what a run will cost before it starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TokenPrices:
    """USD per million tokens sent, sent and found in the provider's cache, and written."""

    sent: float = 0.0
    cached: float = 0.0
    written: float = 0.0

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """USD of one call; ``tokens_cached`` are part of ``tokens_in``."""
        cached = min(tokens_cached, tokens_in)
        usd = (tokens_in - cached) * self.sent + cached * self.cached + tokens_out * self.written
        return usd / 1_000_000

    def worst(self, tokens_in: int, tokens_out: int) -> float:
        """The most that one call can cost, whatever of it is found in a cache."""
        dearest = max(self.sent, self.cached)
        return (tokens_in * dearest + tokens_out * self.written) / 1_000_000


@dataclass(frozen=True)
class CostEstimate:
    """What the calls of a run will cost; what the provider will find in its cache is not known.

    ``kept`` of the ``prompts`` are answered already and cost nothing. ``tokens_out`` and ``usd``
    are the most it can be, if each answer is as long as it may be and each call is sent once.
    """

    prompts: int
    kept: int
    tokens_in: int
    tokens_out: int
    usd: float

    def told(self) -> str:
        """In words for people."""
        return (
            f"{self.prompts - self.kept} of {self.prompts} prompts are to be asked:"
            f" about {self.tokens_in:,} tokens in, at most {self.tokens_out:,} out,"
            f" at most {self.usd:.4f} USD"
        )
