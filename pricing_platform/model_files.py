"""Models' files: fetching them from the hub, hashing them, loading them without noise.

Here belongs what every model on this machine needs before it computes, whatever it is for, and
remembering what was measured of it. Which model is wanted, and what a folder of it must hold,
belongs to whoever computes with it.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import JsonValue

from pricing_platform.errors import PlatformError

BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
_GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Of NVIDIA, AMD, and either within Windows."""

_log = logging.getLogger(__name__)
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?@(?P<revision>[\w./-]+)")


def hub_folder(name: str, *, setting: str, alternative: str, files: Sequence[str]) -> Path:
    """The files of a hub model at a pinned revision; no code is ever loaded from there.

    Args:
        name: a hub id with its revision, ``name@revision``.
        setting: the environment variable that the name stands in, for the errors.
        alternative: what else that variable may hold, for the errors.
        files: the patterns of the files that are fetched.

    Raises:
        PlatformError: when the name has no revision, or the files can't be fetched.
    """
    found = _HUB_NAME.fullmatch(name)
    if found is None:
        raise PlatformError(
            f"{setting} is {name!r}: neither {alternative}, nor a hub id with a pinned revision.",
            "Write a hub id as name@revision, with the commit as the revision.",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    revision = found["revision"]
    repository = name.removesuffix(f"@{revision}")
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(files)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise PlatformError(
            f"The model {repository} at revision {revision} could not be fetched:"
            f" {type(error).__name__}.",
            f"Check the name, the revision and the network, or set {setting} to a folder.",
        ) from None


def return_freed_memory() -> None:
    """Collects garbage, and has the C library return to the system what is free.

    Activations of many sizes leave a heap in pieces, and glibc by itself returns its end alone;
    so a process that trains one model after another holds several times what it uses. Where the C
    library can't be asked for it, nothing happens.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def file_sha256(path: Path) -> str:
    """A file's sha256, computed once for each size and time of change."""
    stat = path.stat()
    return _file_sha256(path, stat.st_size, stat.st_mtime_ns)


def files_sha256(paths: Iterable[Path]) -> str:
    """One sha256 over several files of a folder and their names, in order of path."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(f"{path.name} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


@functools.lru_cache(maxsize=64)
def _file_sha256(path: Path, _size: int, _modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def processor() -> tuple[str, frozenset[str]]:
    """The processor's name and its feature flags."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor(), frozenset()
    name = re.search(r"^model name\s*: (.*)$", text, re.M)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.M)
    return name[1] if name else platform.machine(), frozenset(flags[1].split() if flags else ())


@functools.cache
def accelerator() -> str | None:
    """The name of the GPU that torch computes on by default; None where there is none.

    torch is imported only where there is a driver: most that ask compute nothing.
    """
    if not any(Path(driver).exists() for driver in _GPU_DRIVERS):
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def machine() -> tuple[str, ...]:
    """What timings of a model follow from: the processor, and the GPU where there is one."""
    gpu = accelerator()
    return (processor()[0],) if gpu is None else (processor()[0], gpu)


def measured_once(
    folder: Path | None, name: str, model: str, measure: Callable[[], dict[str, JsonValue]]
) -> dict[str, JsonValue]:
    """What was measured of a model with this machine and this version of torch.

    Args:
        folder: where it is remembered as JSON; None measures anew.
        name: of what is measured; the file's name begins with it.
        model: equal for models that measure alike.
        measure: called where nothing is remembered yet.
    """
    import torch

    if folder is None:
        return measure()
    name_of_processor, *gpu = machine()
    follows_from = [model, name_of_processor, os.cpu_count(), torch.__version__, *gpu]
    key = hashlib.sha256(json.dumps(follows_from).encode()).hexdigest()[:16]
    path = folder / f"{name}-{key}.json"
    if path.exists():
        remembered: dict[str, JsonValue] = json.loads(path.read_text(encoding="utf-8"))
        return remembered
    measured = measure()
    _log.info("Measured on this machine, %s of %s: %s", name, model, measured)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps(measured), encoding="utf-8")
    temporary.replace(path)
    return measured


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without its progress bar, its reports of weights that are not used, and bitsandbytes' advice.

    The latter is imported by peft wherever it is installed, and misses faster kernels.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()
