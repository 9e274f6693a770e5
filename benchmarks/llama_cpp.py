"""llama.cpp's server on a GGUF file, as a subject of comparisons.

Here belongs starting it, and sending it prompts. Writing such files belongs to
``finetuning.export``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def llama_server(path: Path, *, context: int, slots: int = 1, threads: int = 1) -> Iterator[str]:
    """The base URL of llama.cpp's server on a GGUF file, for as long as the context lasts."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.model_alias = {"model"}
    parameters.n_ctx = context * slots
    parameters.n_parallel = slots
    parameters.n_gpu_layers = 0
    parameters.verbosity = 1  # errors alone
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.cpuparams.n_threads = threads
    parameters.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(parameters)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server


def prompts_as_tokens(folder: Path) -> Callable[[bytes], bytes]:
    """Turns the text in a completion's body into the tokens that the folder's tokenizer makes.

    llama.cpp knows no rules for cutting a text before BPE but those of known tokenizers.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def rewritten(body: bytes) -> bytes:
        told = json.loads(body)
        return json.dumps(told | {"prompt": tokenizer.encode(told["prompt"]).ids}).encode()

    return rewritten
