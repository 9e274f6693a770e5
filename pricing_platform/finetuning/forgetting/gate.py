"""Whether a checkpoint forgets too much, and which part or variant of it is taken instead.

Here belongs the decision, from numbers alone. Measuring, training and promoting belong elsewhere.

The decision is by the point estimates: each share of what was forgotten, of probe accuracy and of
perplexity, is to be within the limit. With a few hundred probes the interval of the accuracy lost
is often wider than the limit, so that a rule by its upper end would refuse nearly everything, and
one by its lower end nearly nothing. The intervals say how sure the decision is: whether the limit
lies outside of them, which the reason tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pricing_platform.finetuning.forgetting.comparison import Forgetting, Interval

NONE = "none"
SCALED = "scaled"
REPLAY = "replay"
KL = "kl"
LOWER_RANK = "lower_rank"


@dataclass(frozen=True)
class Candidate:
    """A checkpoint that may be promoted.

    ``mitigation``: ``none`` for the one that was trained without any; other names for those trained
    with one, and ``scaled`` for the first at a part of its strength. ``price_mae``: on validation
    items, in the currency; None where it is not known.
    """

    mitigation: str
    adapter_scale: float
    forgetting: Forgetting
    price_mae: float | None = None

    @property
    def is_unmitigated(self) -> bool:
        """Whether it was trained without a mitigation, whatever its scale."""
        return self.mitigation in (NONE, SCALED)

    def is_within(self, limit: float) -> bool:
        """Whether both shares are at most the limit; what is no number is not."""
        shares = (
            self.forgetting.accuracy_lost.value,
            self.forgetting.perplexity_gained.value,
        )
        return all(share <= limit for share in shares)

    def told(self) -> str:
        """What it is, in words."""
        part = f"adapter scale {self.adapter_scale:g}"
        return part if self.is_unmitigated else f"{self.mitigation.replace('_', ' ')}, {part}"


@dataclass(frozen=True)
class GateDecision:
    """What may be promoted; ``chosen`` is None where everything forgets too much.

    ``is_first_choice``: whether that is the checkpoint as it was trained. ``is_certain``: whether
    the intervals of what decided lie on one side of the limit.
    """

    chosen: Candidate | None
    limit: float
    is_first_choice: bool
    is_certain: bool
    reason: str

    @property
    def passed(self) -> bool:
        """Whether there is something to promote."""
        return self.chosen is not None

    def metadata(self) -> dict[str, float | str | bool]:
        """For an asset check: numbers that plot over time, and the reason."""
        found: dict[str, float | str | bool] = {
            "limit": self.limit,
            "is_certain": self.is_certain,
            "reason": self.reason,
        }
        if self.chosen is not None:
            forgetting = self.chosen.forgetting
            found |= {
                "mitigation": self.chosen.mitigation,
                "adapter_scale": self.chosen.adapter_scale,
                "accuracy_lost": forgetting.accuracy_lost.value,
                "perplexity_gained": forgetting.perplexity_gained.value,
                "kl_divergence": forgetting.kl_divergence.value,
            }
            if self.chosen.price_mae is not None:
                found["price_mae"] = self.chosen.price_mae
        return found


def decide(candidates: Sequence[Candidate], limit: float) -> GateDecision:
    """Which candidate is taken.

    The unmitigated one at the largest scale within the limit; where there is none, of those trained
    with a mitigation that are within the limit the one with the smallest price error, at equal
    errors the one that forgets less. Scale 0 is the base model and is never taken.

    Args:
        candidates: at least one of them unmitigated, at scale 1 if the checkpoint itself is meant.
        limit: a share; 0.05 lets 5 % of the accuracy go and the perplexity grow by 5 %.

    Raises:
        ValueError: when no candidate is unmitigated.
    """
    unmitigated = sorted(
        (at for at in candidates if at.is_unmitigated), key=lambda at: -at.adapter_scale
    )
    if not unmitigated:
        raise ValueError("the gate needs the checkpoint that was trained without a mitigation")
    trained = unmitigated[0]
    within = [at for at in unmitigated if at.adapter_scale > 0 and at.is_within(limit)]
    mitigated = [at for at in candidates if not at.is_unmitigated and at.adapter_scale > 0]
    others = sorted((at for at in mitigated if at.is_within(limit)), key=_preference)
    chosen = next(iter([*within, *others]), None)
    decisive = chosen or trained
    return GateDecision(
        chosen=chosen,
        limit=limit,
        is_first_choice=chosen is trained,
        is_certain=_is_certain(decisive, limit),
        reason=_reason(trained, chosen, limit),
    )


def _preference(candidate: Candidate) -> tuple[float, float]:
    error = float("inf") if candidate.price_mae is None else candidate.price_mae
    return error, candidate.forgetting.share


def _is_certain(candidate: Candidate, limit: float) -> bool:
    """Whether a candidate would be decided on alike at either end of its intervals."""
    shares = (candidate.forgetting.accuracy_lost, candidate.forgetting.perplexity_gained)
    if candidate.is_within(limit):
        return all(at.high is not None and at.high <= limit for at in shares)
    over = [at for at in shares if not at.value <= limit]
    return any(at.low is not None and at.low > limit for at in over)


def _reason(trained: Candidate, chosen: Candidate | None, limit: float) -> str:
    told = _losses(trained.forgetting)
    if chosen is trained:
        text = f"As trained it {told}; the limit is {limit:.1%}."
    elif chosen is None:
        text = (
            f"As trained it {told}, and no adapter scale and no mitigation that was tried stays"
            f" within the limit of {limit:.1%}: nothing is promoted."
        )
    else:
        text = (
            f"As trained it {told}, which is over the limit of {limit:.1%}; {chosen.told()}"
            f" {_losses(chosen.forgetting)}."
        )
        if chosen.price_mae is not None and trained.price_mae is not None:
            text += f" Its price error is {chosen.price_mae:.2f} against {trained.price_mae:.2f}."
    decisive = chosen or trained
    if not _is_certain(decisive, limit):
        text += " The limit lies within an interval, so more probes or text could decide otherwise."
    return text


def _losses(forgetting: Forgetting) -> str:
    lost, gained = forgetting.accuracy_lost, forgetting.perplexity_gained
    verb = "loses" if lost.value >= 0 else "gains"
    grows = "raises" if gained.value >= 0 else "lowers"
    return (
        f"{verb} {_told(lost)} of the probe accuracy and {grows} the perplexity by {_told(gained)}"
    )


def _told(share: Interval) -> str:
    if share.low is None or share.high is None:
        return f"{abs(share.value):.1%}"
    low, high = (share.low, share.high) if share.value >= 0 else (-share.high, -share.low)
    return f"{abs(share.value):.1%} ({low:.1%} to {high:.1%})"
