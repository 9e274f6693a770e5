"""From the vectors of a text's tokens to the text's one vector of unit length.

Here belongs the arithmetic. Which of it an encoder's authors want is read by ``encoder_modules``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.encoder_modules import Dense, EncoderUsage, PoolingMode

if TYPE_CHECKING:
    import torch

    Layer = tuple[torch.Tensor, torch.Tensor | None, torch.nn.Module]


class Pooling:
    """What follows an encoder's last layer: pooling, dense layers, and scaling to unit length.

    Method: Reimers and Gurevych, "Sentence-BERT", 2019; by position: Muennighoff, "SGPT", 2022.
    """

    def __init__(self, usage: EncoderUsage, device: str) -> None:
        """Reads the weights of dense layers.

        Raises:
            PlatformError: when they are not those of a dense layer.
        """
        self._modes = usage.pooling
        self._layers = [None if layer is None else _read(layer, device) for layer in usage.layers]

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor, skipped: int = 0) -> torch.Tensor:
        """The texts' vectors, float32 of shape (texts, dimensions), each of unit length.

        Args:
            hidden: the tokens' vectors, of shape (texts, tokens, hidden).
            mask: of shape (texts, tokens), true for tokens of the text, which come first.
            skipped: how many of the first tokens are not pooled: those of a prompt.
        """
        import torch

        hidden = hidden.float()
        read = mask
        if skipped:
            read = mask.clone()
            read[:, :skipped] = False
            read = torch.where(read.any(1, keepdim=True), read, mask)
        parts = [_pooled(mode, hidden, read) for mode in self._modes]
        found = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        for layer in self._layers:
            if layer is None:
                found = torch.nn.functional.normalize(found)
            else:
                weight, bias, activation = layer
                found = activation(torch.nn.functional.linear(found, weight, bias))
        return torch.nn.functional.normalize(found)


def _pooled(mode: PoolingMode, hidden: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    import torch

    texts = torch.arange(len(hidden), device=hidden.device)
    if mode == "cls":
        return hidden[texts, read.int().argmax(1)]
    if mode == "lasttoken":
        return hidden[texts, read.shape[1] - 1 - read.flip(1).int().argmax(1)]
    if mode == "max":
        return hidden.masked_fill(~read[:, :, None], -torch.inf).max(1).values
    weights = read[:, :, None].float()
    if mode == "weightedmean":
        weights = weights * torch.arange(1, read.shape[1] + 1, device=hidden.device)[None, :, None]
    total = (hidden * weights).sum(1)
    return total / (weights.sum(1).sqrt() if mode == "mean_sqrt_len_tokens" else weights.sum(1))


def _read(layer: Dense, device: str) -> Layer:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(layer.weights, device=device)
    except SafetensorError as error:
        raise PlatformError(f"{layer.weights} can't be read: {error}.") from None
    weight, bias = tensors.get("linear.weight"), tensors.get("linear.bias")
    if weight is None or len(weight) != layer.dimensions:
        raise PlatformError(
            f"{layer.weights} has no linear.weight for {layer.dimensions} dimensions.",
            "Put the file of the model's authors there.",
        )
    activation: torch.nn.Module = getattr(torch.nn, layer.activation)()
    return weight.float(), None if bias is None else bias.float(), activation
