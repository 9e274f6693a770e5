"""How a language model is adapted and trained.

Here belong the settings and their defaults. How they were found stands in ``docs/fine-tuning.md``.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

LINEAR_LAYERS = "all-linear"


class AdapterConfiguration(BaseModel):
    """Low-rank adapters (LoRA, Hu et al. 2021) on all linear layers of the highest blocks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1, description="The adapters' output is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1)
    adapted_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Of the blocks, the share at the top that is adapted. What the others make of a"
        " text never changes, so it is computed once.",
    )

    def first_adapted(self, blocks: int) -> int:
        """The lowest block that is adapted, of so many."""
        return blocks - max(1, round(self.adapted_share * blocks))


class AdapterTraining(BaseModel):
    """How adapters, and the price head where there is one, are trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    learning_rate: float = Field(6e-4, gt=0, description="Peak, of the adapters.")
    head_learning_rate: float = Field(5e-4, gt=0, description="Peak, of the price head.")
    weight_decay: float = Field(0.01, ge=0)
    warm_up_share: float = Field(0.1, ge=0, lt=1, description="Of all steps.")
    gradient_norm: float = Field(1.0, gt=0, description="Larger gradients are scaled down to it.")
    batch_items: int = Field(16, ge=1)
    gradient_accumulation: int = Field(1, ge=1, description="Batches a step.")
    text_weight: float = Field(
        0.2, ge=0, description="Of the loss of written tokens beside that of the price head."
    )
    saved_steps: int = Field(50, ge=1, description="Steps after which the state is kept.")
