"""Part of a model's forward pass: its lower blocks alone, or its upper ones from given states.

Here belongs cutting a forward pass in two at a block's entry. What is computed once and kept
belongs to ``frozen_states``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.language.adapters import block_list, block_owner

if TYPE_CHECKING:
    import torch

_CLOSE = 2e-2
"""Of the states' norm: bfloat16 in between may make so much of a difference."""


class _ReachedError(Exception):
    """Ends a forward pass at the block that was waited for."""


def lower_states(
    model: Any, ids: torch.Tensor, mask: torch.Tensor, depths: Sequence[int]
) -> dict[int, torch.Tensor]:
    """What enters the blocks at some depths; nothing above the highest of them is computed.

    Args:
        model: a causal language model.
        ids: shape (texts, width).
        mask: 1 where a token is seen, of the same shape.
        depths: numbers of blocks; 0 gives the embeddings.

    Returns:
        By depth, shape (texts, width, hidden).
    """
    blocks, found = block_list(model), {}
    highest = max(depths)

    def keeps(depth: int) -> Callable[..., None]:
        def keep(_block: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            found[depth] = positional[0] if positional else named["hidden_states"]
            if depth == highest:
                raise _ReachedError

        return keep

    handles = [
        blocks[depth].register_forward_pre_hook(keeps(depth), with_kwargs=True) for depth in depths
    ]
    try:
        block_owner(model)(input_ids=ids, attention_mask=mask, use_cache=False)
    except _ReachedError:
        pass
    finally:
        for handle in handles:
            handle.remove()
    return found


def upper_blocks(model: Any, first: int) -> Any:
    """The blocks from ``first`` on and the norm after them, as a module that takes states.

    It shares its weights with the model. It is called with ``inputs_embeds`` and
    ``attention_mask``, as the model's own body is.
    """
    import torch

    owner = block_owner(model)
    upper = copy.copy(owner)
    upper._modules = dict(owner._modules)
    upper.config = copy.deepcopy(owner.config)
    text = upper.config.get_text_config()
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[first:]
    text.num_hidden_layers -= first
    blocks = block_list(model)
    name = next(name for name, child in owner.named_children() if child is blocks)
    upper._modules[name] = torch.nn.ModuleList(list(blocks)[first:])
    return upper


def require_divisible(model: Any, first: int, vocabulary: int) -> None:
    """Refuses a model whose upper blocks make of the lower ones' states not what the whole makes.

    Some architectures add or scale something before their first block.

    Raises:
        PlatformError: naming the architecture.
    """
    import torch

    ids = torch.arange(3, 19).remainder(vocabulary)[None]
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        whole = block_owner(model)(input_ids=ids, attention_mask=mask, use_cache=False)
        states = lower_states(model, ids, mask, [first])[first]
        parts = upper_blocks(model, first)(
            inputs_embeds=states, attention_mask=mask, use_cache=False
        )
    difference = (whole.last_hidden_state - parts.last_hidden_state).float().norm()
    if difference > _CLOSE * whole.last_hidden_state.float().norm():
        raise PlatformError(
            f"The blocks of {type(model).__name__} can't be run apart: what is below the adapters"
            " can't be computed once.",
            "Use a base model of another architecture (Llama, Qwen, Mistral and Phi are tested).",
        )
