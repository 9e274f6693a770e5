"""The two optimizers that train the network together, and their state as flat tensors.

Here belong which weights are moved by what. How fast, step by step, belongs to the training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pricing_platform.language.base_model.configuration import BaseModelConfiguration

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Optimizers:
    """Muon for the layers' matrices, AdamW for the embeddings and norms.

    Method: Jordan and others, "Muon: an optimizer for hidden layers in neural networks", 2024, with
    the step size that Liu and others, "Muon is scalable for LLM training", 2025, match to AdamW's.
    """

    parts: tuple[torch.optim.Optimizer, ...]
    rates: tuple[float, ...]

    @classmethod
    def of(cls, network: Any, configuration: BaseModelConfiguration) -> Self:
        """Of a network of ``transformers``."""
        import torch

        embeddings = network.get_input_embeddings().weight
        parameters = list(network.parameters())
        matrices = [p for p in parameters if p.ndim > 1 and p is not embeddings]
        others = [p for p in parameters if p.ndim < 2 or p is embeddings]
        muon = torch.optim.Muon(
            matrices,
            weight_decay=configuration.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        adam = torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        return cls((muon, adam), (configuration.matrix_learning_rate, configuration.learning_rate))

    def step(self, share: float) -> None:
        """Moves the weights by ``share`` of the peak rates, and forgets the gradients."""
        for part, rate in zip(self.parts, self.rates, strict=True):
            for group in part.param_groups:
                group["lr"] = share * rate
            part.step()
            part.zero_grad()

    def state(self) -> dict[str, torch.Tensor]:
        """What the next step follows from, by optimizer, parameter and name."""
        return {
            f"{number}.{parameter}.{name}": tensor.cpu().contiguous()
            for number, part in enumerate(self.parts)
            for parameter, values in part.state_dict()["state"].items()
            for name, tensor in values.items()
        }

    def restore(self, flat: dict[str, torch.Tensor]) -> None:
        """Takes over what :meth:`state` gave."""
        for number, part in enumerate(self.parts):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, tensor in flat.items():
                owner, parameter, name = key.split(".")
                if int(owner) == number:
                    state.setdefault(int(parameter), {})[name] = tensor
            groups = part.state_dict()["param_groups"]
            part.load_state_dict({"state": state, "param_groups": groups})
