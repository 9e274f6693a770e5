"""A GGUF file, as llama.cpp reads it, as a folder of ``transformers``.

Here belongs the conversion. Where the file comes from and where the folder goes does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing_platform.errors import PlatformError
from pricing_platform.language.local.weights import require_memory
from pricing_platform.language.pretrained.card import write_card
from pricing_platform.model_files import quiet_transformers

_FLOAT32 = 4
# Each digit is a token, and the rest is cut as GPT-2 does. transformers knows the cuts of other
# vocabularies that GGUF files name, and takes these for GPT-2's.
_SINGLE_DIGITS = frozenset(
    {"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}
)


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file tells before its weights are read.

    ``pre_tokenizer`` names how texts are cut before BPE; ``licence`` is empty where none is told.
    """

    architecture: str
    parameters: int
    licence: str
    pre_tokenizer: str

    @property
    def float32_bytes(self) -> int:
        """What the weights take when they are no longer quantized."""
        return _FLOAT32 * self.parameters


def read_header(path: Path) -> GgufHeader:
    """The header of a file.

    Raises:
        PlatformError: when it is no GGUF file, or cut short.
    """
    from gguf import GGUFReader

    try:
        reader = GGUFReader(path)
        architecture = _field(reader, "general.architecture")
    except (OSError, ValueError, IndexError, KeyError) as error:
        raise PlatformError(
            f"{path} can't be read as GGUF: {error}.",
            "Fetch the file again, or set PRICING_BASE_MODEL to another one.",
        ) from error
    return GgufHeader(
        architecture,
        sum(math.prod(int(size) for size in tensor.shape) for tensor in reader.tensors),
        _field(reader, "general.license"),
        _field(reader, "tokenizer.ggml.pre"),
    )


def convert_gguf(path: Path, folder: Path, *, name: str) -> None:
    """Writes weights as float32 safetensors, configuration, tokenizer and chat template.

    Quantized weights are multiplied out; float32 holds exactly what they stand for.

    Args:
        path: the GGUF file.
        folder: an empty one.
        name: what the model is called on its card.

    Raises:
        PlatformError: when ``transformers`` knows no such architecture or tokenizer, or memory is
            too small.
    """
    header = read_header(path)
    require_memory(name, 2 * header.float32_bytes)
    module, tokenizer = _read(path, header)
    with quiet_transformers():
        _save(module, folder)
    tokenizer.save_pretrained(folder)
    write_card(folder, name=name, licence=header.licence, source=path.name)


def _read(path: Path, header: GgufHeader) -> tuple[Any, Any]:
    """The model and its tokenizer, as ``transformers`` reads them from the file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    with quiet_transformers(), _without_bar():
        try:
            tokenizer = AutoTokenizer.from_pretrained(path.parent, **source)
            module = AutoModelForCausalLM.from_pretrained(
                path.parent, dtype=torch.float32, **source
            )
        except (ValueError, KeyError, IndexError, OSError, NotImplementedError, RuntimeError) as e:
            raise PlatformError(
                f"No causal language model can be read from {path}, whose architecture is"
                f" {header.architecture!r}: {e}",
                "Use a GGUF file of an architecture that transformers reads, or set"
                " PRICING_BASE_MODEL to a folder of the same model with weights as safetensors.",
            ) from e
    if header.pre_tokenizer in _SINGLE_DIGITS:
        _cut_digits(tokenizer)
    return module, tokenizer


@contextmanager
def _without_bar() -> Iterator[None]:
    """Without the bar that transformers draws here whatever it is told of progress bars."""
    from transformers import modeling_gguf_pytorch_utils as reading

    drawn = reading.tqdm
    reading.tqdm = lambda tensors, **_: tensors
    try:
        yield
    finally:
        reading.tqdm = drawn


def _save(module: Any, folder: Path) -> None:
    """Saves the model's tensors as a fresh model: one that was read from GGUF can't be saved."""
    import torch
    from transformers import AutoModelForCausalLM

    config = module.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    tensors = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
    with torch.device("meta"):  # it takes the tensors over: nothing is copied
        fresh = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    fresh.load_state_dict(tensors, assign=True)
    fresh.tie_weights()
    fresh.generation_config = module.generation_config
    fresh.save_pretrained(folder)


def _cut_digits(tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers

    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _field(reader: Any, name: str) -> str:
    field = reader.get_field(name)
    return "" if field is None else str(field.contents())
