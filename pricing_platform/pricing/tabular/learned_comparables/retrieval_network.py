"""A network that prices an item from its neighbours in a space that it learns.

After TabR (Gorishniy et al. 2023): an encoder makes keys; the training items nearest by key are the
neighbours; each contributes its price, embedded, and what a small network makes of the difference
between the keys; their sum, weighted by closeness, joins the item's own encoding and is read as a
distribution over prices. Here belong the network and its search. Its training, and the features it
reads, do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pricing_platform.finetuning.price_histogram import PriceHistogram
from pricing_platform.pricing.estimates import Floats
from pricing_platform.pricing.tabular.neighbours import blocks

if TYPE_CHECKING:
    import torch
    from torch import nn

Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_ENCODED_TOGETHER = 4096


@dataclass(frozen=True)
class NetworkSizes:
    """What a retrieval network is made of; ``neighbours`` are looked up for each item."""

    width: int = 256
    key_width: int = 128
    neighbours: int = 32
    bins: int = 96
    input_dropout: float = 0.15
    dropout: float = 0.2


class RetrievalNetwork:
    """The network and the training items as it looks them up, a row an item.

    ``keys`` are theirs by the weights that were there at the last :meth:`remember`, and no gradient
    passes through them; ``targets`` are their prices as histograms, ``families`` the codes of their
    families.
    """

    def __init__(
        self,
        width_in: int,
        sizes: NetworkSizes,
        histogram: PriceHistogram,
        prices: Floats,
        families: Integers,
    ) -> None:
        import torch

        self.sizes = sizes
        self.histogram = histogram
        self.parts = _parts(width_in, sizes)
        self.targets = torch.from_numpy(histogram.targets(prices))
        self.families = torch.from_numpy(families)
        self.keys = torch.empty((0, sizes.key_width))

    def remember(self, inputs: torch.Tensor) -> None:
        """Makes the training items' keys anew, with the weights as they are now."""
        self.keys = self.keys_of(self.encode(inputs))

    def keys_of(self, encoded: torch.Tensor) -> torch.Tensor:
        """The keys of encoded items, without gradients; shape (items, key_width)."""
        import torch

        with torch.no_grad():
            keys: torch.Tensor = self.parts["key"](encoded)
        return keys

    def encode(self, inputs: torch.Tensor) -> torch.Tensor:
        """Encodings without dropout and without gradients; shape (items, width)."""
        import torch

        self.parts.eval()
        with torch.no_grad():
            encoded = [
                self.parts["encoder"](inputs[b]) for b in blocks(len(inputs), _ENCODED_TOGETHER)
            ]
        return torch.cat(encoded) if encoded else torch.empty((0, self.sizes.width))

    def nearest(self, queries: torch.Tensor, families: torch.Tensor) -> torch.Tensor:
        """The nearest training items, none of the own family; shape (items, neighbours).

        ``queries`` are keys. -1 stands where there are fewer of other families than wanted.
        """
        import torch

        with torch.no_grad():
            transposed, half_norms = self.keys.T.contiguous(), (self.keys**2).sum(dim=1) / 2
            count = min(self.sizes.neighbours, len(self.keys))
            found = torch.full((len(queries), count), -1)
            for b in blocks(len(queries)):
                closeness = torch.addmm(-half_norms, queries[b], transposed)
                own = families[b][:, None] == self.families[None, :]
                values, index = closeness.masked_fill_(own, -torch.inf).topk(count, dim=1)
                found[b] = torch.where(torch.isfinite(values), index, -1)
        return found

    def logits(self, encoded: torch.Tensor, neighbours: torch.Tensor) -> torch.Tensor:
        """Over the histogram's bins, from encodings and neighbours; shape (items, bins)."""
        import torch
        from torch.nn import functional

        parts, there = self.parts, neighbours >= 0
        index = neighbours.clamp(min=0)
        difference = parts["key"](encoded)[:, None, :] - self.keys[index]
        distance = (difference**2).sum(dim=2)
        # Finite, so that an item without any neighbour has weights too; they are then set to 0.
        weight = torch.softmax((-distance).masked_fill(~there, -1e9), dim=1) * there
        weight = functional.dropout(weight, self.sizes.dropout, training=parts.training)[:, None, :]
        prices = (weight @ self.targets[index])[:, 0]
        shift = (weight @ parts["difference"](difference))[:, 0]
        context: torch.Tensor = encoded + parts["price"](prices) + parts["shift"](shift)
        logits: torch.Tensor = parts["head"](context)
        return logits

    def log_estimates(self, inputs: Singles, families: Integers) -> Floats:
        """The median ``log(1 + price)`` of each item's distribution; shape (items,)."""
        import torch

        encoded = self.encode(torch.from_numpy(inputs))
        neighbours = self.nearest(self.keys_of(encoded), torch.from_numpy(families))
        self.parts.eval()
        found = np.empty(len(inputs))
        with torch.no_grad():
            for b in blocks(len(inputs)):
                probabilities = torch.softmax(self.logits(encoded[b], neighbours[b]), dim=1)
                found[b] = self.histogram.log_quantile(probabilities.numpy(), 0.5)
        return found


def _parts(width_in: int, sizes: NetworkSizes) -> nn.ModuleDict:
    from torch import nn

    width = sizes.width
    return nn.ModuleDict(
        {
            "encoder": nn.Sequential(
                nn.Dropout(sizes.input_dropout),
                nn.Linear(width_in, width),
                nn.GELU(),
                nn.Dropout(sizes.dropout),
                nn.Linear(width, width),
            ),
            "key": nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sizes.key_width)),
            "price": nn.Linear(sizes.bins, width),
            "difference": nn.Sequential(nn.Linear(sizes.key_width, width), nn.GELU()),
            "shift": nn.Linear(width, width, bias=False),
            "head": nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.GELU(),
                nn.Dropout(sizes.dropout),
                nn.Linear(width, sizes.bins),
            ),
        }
    )
