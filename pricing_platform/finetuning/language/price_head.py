"""A distribution over prices from the states of a language model: an anchor, and what is left.

The anchor is a linear estimate from states that never change; the head gives a histogram over how
far, on the log scale, the price is from it. Here belong both together, and their files. How they
are trained belongs to ``training``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from pricing_platform.finetuning.language.anchor import Anchor
from pricing_platform.finetuning.price_histogram import PriceHistogram

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
HEAD_FOLDER = "price_head"
_HEAD, _ANCHOR, _SETTINGS = "head.safetensors", "anchor.safetensors", "price_head.json"
_HIDDEN = 256
_DROPOUT = 0.3


@dataclass(frozen=True, eq=False)
class PriceHead:
    """The anchor, the histogram of what it leaves, and the network that reads the adapted states.

    The network takes, for each item, the mean of the adapted states over the tokens that describe
    the product, the state of the last token read, and the anchor's estimate: float32 of shape
    (items, 2 * hidden + 1). It gives logits of shape (items, bins).
    """

    anchor: Anchor
    residuals: PriceHistogram
    network: torch.nn.Sequential

    @classmethod
    def fresh(
        cls, anchor: Anchor, residuals: Floats, states: torch.Tensor, anchored: Floats, *, seed: int
    ) -> Self:
        """A head that answers with the anchor's own residuals, whatever it reads.

        Args:
            anchor: gives the estimate that the histogram is laid around.
            residuals: of log prices from what the anchor says out of fold, shape (items,).
            states: of a sample of the items, as the network is to read them before any training:
                by their mean and spread its inputs are scaled.
            anchored: what the anchor says of the sample.
            seed: of the weights.
        """
        import torch

        histogram = PriceHistogram.covering_values(residuals)
        prior = histogram.value_targets(residuals).mean(axis=0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _network(states.shape[1] + 1, histogram.bins)
        inputs = _beside(states, torch.from_numpy(anchored))
        with torch.no_grad():
            scaling: Any = network[0]
            scaling.running_mean.copy_(inputs.mean(dim=0))
            scaling.running_var.copy_(inputs.var(dim=0))
            last: Any = network[-1]
            last.weight.zero_()
            last.bias.copy_(torch.from_numpy(np.log(prior + 1e-6)).float())
        return cls(anchor, histogram, network)

    def log_quantile(
        self, anchored: Floats, probabilities: npt.NDArray[np.floating], level: float
    ) -> Floats:
        """The log price below which ``level`` of each distribution lies, shape (items,)."""
        return anchored + self.residuals.log_quantile(probabilities, level)

    def probabilities(self, states: torch.Tensor, anchored: Floats) -> Singles:
        """The histogram of each item, shape (items, bins)."""
        import torch

        self.network.eval()
        with torch.inference_mode():
            logits = self.network(self.inputs(states, torch.from_numpy(anchored)))
        found: Singles = logits.softmax(dim=-1).cpu().numpy()
        return found

    def inputs(self, states: torch.Tensor, anchored: torch.Tensor) -> torch.Tensor:
        """States of shape (items, 2 * hidden) beside the anchor's estimates, as the network's."""
        return _beside(states, anchored)

    def save(self, folder: Path) -> None:
        """Writes the head into a folder of its own."""
        from safetensors.numpy import save_file as save_arrays
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {
                name: at.detach().cpu().contiguous()
                for name, at in self.network.state_dict().items()
            },
            folder / _HEAD,
        )
        arrays = {name: getattr(self.anchor, name) for name in ("mean", "scale", "weights")}
        save_arrays(arrays, folder / _ANCHOR)
        settings = {
            "residuals": asdict(self.residuals),
            "offset": self.anchor.offset,
            "penalty": self.anchor.penalty,
        }
        (folder / _SETTINGS).write_text(json.dumps(settings), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads what :meth:`save` wrote."""
        from safetensors.numpy import load_file as load_arrays
        from safetensors.torch import load_file

        settings: dict[str, Any] = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        anchor = Anchor(
            **load_arrays(folder / _ANCHOR), offset=settings["offset"], penalty=settings["penalty"]
        )
        histogram = PriceHistogram(**settings["residuals"])
        weights = load_file(folder / _HEAD)
        network = _network(weights["0.running_mean"].shape[0], histogram.bins)
        network.load_state_dict(weights)
        return cls(anchor, histogram, network.eval())


def _beside(states: torch.Tensor, anchored: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.cat([states.float(), anchored.to(states.device).float()[:, None]], dim=1)


def _network(width: int, bins: int) -> torch.nn.Sequential:
    import torch

    class Scaling(torch.nn.Module):
        """Inputs scaled by a mean and a variance that are set once and never trained."""

        running_mean: torch.Tensor
        running_var: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(width))
            self.register_buffer("running_var", torch.ones(width))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            scaled: torch.Tensor = (inputs - self.running_mean) / (self.running_var + 1e-6).sqrt()
            return scaled

    return torch.nn.Sequential(
        Scaling(),
        torch.nn.Linear(width, _HIDDEN),
        torch.nn.GELU(),
        torch.nn.Dropout(_DROPOUT),
        torch.nn.Linear(_HIDDEN, bins),
    )
