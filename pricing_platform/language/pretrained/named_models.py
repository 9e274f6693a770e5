"""Which language model the settings name, and its folder.

Here belongs telling the kinds of names apart. How each becomes a folder belongs to the modules
beside this one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pricing_platform.errors import PlatformError
from pricing_platform.language.local.folder import check_folder, content_sha256, found_folder
from pricing_platform.language.local.weights import weight_sizes
from pricing_platform.language.pretrained.adapter import Adapter
from pricing_platform.language.pretrained.embedded import (
    EMBEDDED_GGUF_SHA256,
    EMBEDDED_LANGUAGE_MODEL,
    embedded_gguf,
)
from pricing_platform.language.pretrained.gguf_file import convert_gguf, read_header
from pricing_platform.language.pretrained.made_folder import MadeFolder
from pricing_platform.model_files import file_sha256
from pricing_platform.settings import Settings


@dataclass(frozen=True)
class NamedModel:
    """A model that was found by its name.

    ``source_sha256`` is that of the file or folder which the name means. ``making`` makes
    ``folder`` out of it; None where the name means that folder itself.
    """

    name: str
    folder: Path
    source_sha256: str
    making: MadeFolder | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the folder is there, verified."""
        return self.making is None or self.making.is_made

    def ready(self) -> bool:
        """Makes the folder where it has to be made, and tells whether it had to be.

        Raises:
            PlatformError: when it can't be made.
        """
        return self.making is not None and self.making.made()


def language_model_name(settings: Settings) -> str:
    """What tables call the model that the settings name."""
    return settings.base_model or EMBEDDED_LANGUAGE_MODEL


def language_model_folder(settings: Settings) -> Path:
    """The verified folder of the model that the settings name, made now where it has to be.

    Its weights are safetensors, beside them configuration, tokenizer and chat template.

    Raises:
        PlatformError: when there is no such model, a package or file is missing, or a file is not
            what it has to be.
    """
    found = named_model(settings)
    found.ready()
    return found.folder


def source_gguf(settings: Settings) -> Path | None:
    """The GGUF file that the model which the settings name is converted from, if it is from one.

    Raises:
        PlatformError: when the embedded model's file is not there, or not the published one.
    """
    name = language_model_name(settings)
    path = Path(name).expanduser()
    if name == EMBEDDED_LANGUAGE_MODEL and not path.is_dir():
        return embedded_gguf()
    return path.resolve() if path.suffix == ".gguf" and path.is_file() else None


def named_model(settings: Settings) -> NamedModel:
    """The model that the settings name; of one that has to be converted, nothing is yet.

    Raises:
        PlatformError: when there is no such model.
    """
    return _found(language_model_name(settings), settings.cache_folder / "models")


def _found(name: str, models: Path, adapted: tuple[Path, ...] = ()) -> NamedModel:
    """``adapted`` are the folders of the adapters that name it as their base."""
    path = Path(name).expanduser()
    if name == EMBEDDED_LANGUAGE_MODEL and not path.is_dir():
        return _embedded(models)
    if path.suffix == ".gguf" and path.is_file():
        return _gguf(name, path.resolve(), models)
    folder = found_folder(name)
    adapter = Adapter.in_folder(folder)
    if adapter is not None and folder in adapted:
        raise PlatformError(
            f"The adapter in {folder} is its own base, by way of what it names as that.",
            "Name the model that it was trained on as base_model_name_or_path in its"
            " adapter_config.json.",
        )
    if adapter is not None:
        return _merged(name, adapter, models, (*adapted, folder))
    check_folder(folder)
    return NamedModel(name, folder, content_sha256(folder))


def _embedded(models: Path) -> NamedModel:
    """The file is looked at only where the folder is not there: that one has been verified."""

    def size() -> int:
        return read_header(embedded_gguf()).float32_bytes

    def write(folder: Path) -> None:
        convert_gguf(embedded_gguf(), folder, name=EMBEDDED_LANGUAGE_MODEL)

    place = models / EMBEDDED_GGUF_SHA256[:16]
    making = MadeFolder(place, EMBEDDED_GGUF_SHA256, size, write)
    return NamedModel(EMBEDDED_LANGUAGE_MODEL, place, EMBEDDED_GGUF_SHA256, making)


def _gguf(name: str, path: Path, models: Path) -> NamedModel:
    sha256 = file_sha256(path)

    def size() -> int:
        return read_header(path).float32_bytes

    place = models / sha256[:16]
    making = MadeFolder(place, sha256, size, partial(convert_gguf, path, name=path.stem))
    return NamedModel(name, place, sha256, making)


def _merged(name: str, adapter: Adapter, models: Path, adapted: tuple[Path, ...]) -> NamedModel:
    try:
        base = _found(adapter.base, models, adapted)
    except PlatformError as error:
        raise PlatformError(
            f"The base of the adapter in {adapter.folder} can't be had. {error.problem}",
            "Name a folder, a hub id with its revision, or"
            f" {EMBEDDED_LANGUAGE_MODEL} as base_model_name_or_path in its adapter_config.json.",
        ) from error
    sha256 = hashlib.sha256(f"{adapter.sha256} {base.source_sha256}".encode()).hexdigest()

    def size() -> int:
        base.ready()
        return weight_sizes(base.folder).float32_bytes

    def write(folder: Path) -> None:
        adapter.merge(base.folder, folder, name=adapter.folder.name)

    place = models / sha256[:16]
    return NamedModel(name, place, sha256, MadeFolder(place, sha256, size, write))
