"""How large the platform's own language model is, and how it is trained.

Here belong the figures and what they mean. What is done with them belongs to the other modules.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

BASE_MODEL_VERSION = "3"
"""Changes with anything here that changes the weights that come out of equal inputs."""


class DocumentShares(BaseModel):
    """How often each kind of training document is drawn; the shares need not sum to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rag: float = Field(0.66, ge=0, description="Comparables with their prices, then the product.")
    multi_shot: float = Field(0.08, ge=0, description="Random products as turns, then the product.")
    zero_shot: float = Field(0.06, ge=0, description="The product alone.")
    chain: float = Field(0.08, ge=0, description="Attributes, comparable products, price.")
    tools: float = Field(0.10, ge=0, description="Actions, their results, price.")
    knowledge: float = Field(0.02, ge=0, description="A piece of a knowledge document.")


class BaseModelConfiguration(BaseModel):
    """The model's sizes, its documents and its training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(3_000, ge=1_400, description="Tokens, the 1,001 numbers included.")
    hidden: int = Field(128, ge=8, description="Width of the residual stream.")
    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)
    feed_forward: int = Field(384, ge=8)
    window: int = Field(1_024, ge=64, description="Tokens of the longest document.")
    highest_price: int = Field(1_000, ge=1, le=1_000, description="Whole prices are 1 to this.")

    token_budget: int = Field(2_000_000, ge=1, description="Tokens read in the whole training.")
    batch_tokens: int = Field(2_048, ge=64, description="Of a batch, padding included.")
    block_documents: int = Field(1_024, ge=1, description="Documents sorted by length together.")
    learning_rate: float = Field(4e-3, gt=0, description="Peak, of embeddings and norms.")
    matrix_learning_rate: float = Field(4e-3, gt=0, description="Peak, of the layers' matrices.")
    warm_up_share: float = Field(0.05, ge=0, lt=1, description="Of the budget.")
    weight_decay: float = Field(0.05, ge=0, description="Of the matrices, not of embeddings.")
    gradient_norm: float = Field(1.0, gt=0, description="Larger gradients are scaled down to it.")
    price_smoothing: float = Field(
        0.15, gt=0, description="Standard deviation of a price's target in log(1 + price)."
    )
    text_share: float = Field(0.15, ge=0, le=1, description="Positions whose text loss is taken.")
    text_weight: float = Field(0.3, ge=0, description="Of the text loss beside the price loss.")
    shares: DocumentShares = DocumentShares()
    most_comparables: int = Field(10, ge=0, description="Of a usual document.")
    shifted_share: float = Field(
        0.5, ge=0, le=1, description="Of the documents with comparables: all prices are shifted."
    )
    shift: float = Field(0.6, ge=0, description="Standard deviation of such a shift's logarithm.")
    left_out_share: float = Field(
        0.2, ge=0, lt=1, description="Families that are not trained on, so that others may be."
    )
    held_out_items: int = Field(
        400, ge=1, description="Items of left-out families that are measured on, at most."
    )
    state_steps: int = Field(200, ge=1, description="Steps between two saved states.")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.hidden % (2 * self.heads):
            raise ValueError("hidden must be an even multiple of heads")
        return self
