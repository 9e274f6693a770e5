"""Checkpoints of every technique: written whole or not at all, and verified before they are used.

A checkpoint is the folder ``checkpoints/<name>/<fingerprint[:16]>/``: the files that a technique
saved and a ``manifest.json`` that says what they were made from and the sha256 of each. Here belong
writing, finding, verifying and pruning such folders. What is in the files belongs to the technique.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError
from safetensors import SafetensorError

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.base_models import check_weights
from pricing_platform.stores.warehouse import make_folder

MANIFEST = "manifest.json"
_PARTIAL_PREFIX = ".partial-"
_UNFINISHED_SUFFIX = ".unfinished"
_LIBRARIES = (
    "lightgbm",
    "numpy",
    "peft",
    "polars",
    "safetensors",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def library_versions() -> dict[str, str]:
    """Python and the libraries that fitting depends on, with their versions."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class Manifest(BaseModel):
    """What a checkpoint was made from, and how to tell that it is still what was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="Of everything that decides the result: data, base weights, configuration,"
        " the technique's version, seed. Equal fingerprints, equal checkpoints.",
    )
    data_hash: str = Field(description="Of the items trained and validated on; see data_hash().")
    base_weights: dict[str, str] = Field(
        default_factory=dict, description="Base model's name -> sha256 of its files."
    )
    configuration: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, FiniteFloat] = Field(default_factory=dict)
    seed: int
    library_versions: dict[str, str] = Field(default_factory=library_versions)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    files: dict[str, str] = Field(
        default_factory=dict, description="Path in the checkpoint -> sha256; filled when written."
    )


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk beside its manifest."""

    path: Path
    manifest: Manifest


def checkpoint_label(technique: str, checkpoint: Checkpoint) -> str:
    """What predictions and measurements name a technique's checkpoint by."""
    return f"{technique}/{checkpoint.path.name}"


def data_hash(train: pl.DataFrame, validation: pl.DataFrame) -> str:
    """The sha256 of the item ids, content hashes, categories and prices, in order of item id.

    Args:
        train: items with the columns of ``curated.items``.
        validation: the same; which side an item stands on is part of the hash.
    """
    digest = hashlib.sha256()
    for side, frame in (("train", train), ("validation", validation)):
        digest.update(f"{side} {frame.height}\n".encode())
        columns = frame.select("item_id", "content_hash", "category", "price").sort("item_id")
        for rows in columns.iter_slices(100_000):
            digest.update(rows.write_csv(include_header=False).encode())
    return digest.hexdigest()


def write_checkpoint(
    folder: Path, name: str, write: Callable[[Path], None], manifest: Manifest
) -> Path:
    """Writes a checkpoint beside its final place and renames it, so that it is there or not.

    An equal checkpoint that is there already is replaced. The work folder of its training (see
    :func:`unfinished_folder`) is removed, and so is what killed writers left behind.

    Args:
        folder: ``Settings.checkpoints_folder``.
        name: the technique's name.
        write: writes the technique's files into the empty folder that it is given.
        manifest: without ``files``, which are hashed here.

    Returns:
        The checkpoint's folder.

    Raises:
        PlatformError: when the disk is full or the folder may not be written.
    """
    final = _place(folder, name, manifest.fingerprint)
    make_folder(final.parent)
    with _translate_errors(final), _only_writer(final.parent):
        partial = final.with_name(f"{_PARTIAL_PREFIX}{final.name}")
        partial.mkdir()
        try:
            write(partial)
            if (partial / MANIFEST).exists():
                raise ValueError(f"{name} wrote a {MANIFEST} of its own")
            complete = manifest.model_copy(update={"files": _hash_files(partial)})
            (partial / MANIFEST).write_text(complete.model_dump_json(indent=2), encoding="utf-8")
            _flush_to_disk(partial)
            _put_in_place(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(unfinished_folder(folder, name, manifest.fingerprint), ignore_errors=True)
    return final


def find_checkpoint(folder: Path, name: str, fingerprint: str) -> Path | None:
    """The folder of the checkpoint with this fingerprint, or None; its files are not verified."""
    place = _place(folder, name, fingerprint)
    if not place.exists() or read_manifest(place).fingerprint != fingerprint:
        return None
    return place


def open_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint, after comparing each of its files and its base weights with the manifest.

    Raises:
        PlatformError: naming the file that is missing, changed or not of this checkpoint.
    """
    manifest = read_manifest(path)
    actual = _hash_files(path)
    for problem, files in (
        ("is missing", manifest.files.keys() - actual.keys()),
        ("does not belong there", actual.keys() - manifest.files.keys()),
        (
            "is not what was written: its sha256 differs",
            {
                file
                for file in actual.keys() & manifest.files.keys()
                if actual[file] != manifest.files[file]
            },
        ),
    ):
        if files:
            raise _damaged(path, f"{min(files)} {problem}")
    for name, sha256 in manifest.base_weights.items():
        check_weights(name, sha256)
    return Checkpoint(path, manifest)


def read_manifest(path: Path) -> Manifest:
    """What a checkpoint says of itself; its files are not verified.

    Raises:
        PlatformError: when the manifest is missing or cannot be read.
    """
    try:
        return Manifest.model_validate_json((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise _damaged(path, f"{MANIFEST} is missing") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{MANIFEST} cannot be read ({where} {first['msg']})") from None


def list_checkpoints(folder: Path, name: str) -> list[Checkpoint]:
    """The technique's checkpoints, newest first; their files are not verified."""
    found = [
        Checkpoint(path.parent, read_manifest(path.parent))
        for path in (folder / name).glob(f"*/{MANIFEST}")
        if not path.parent.name.startswith(_PARTIAL_PREFIX)
    ]
    return sorted(found, key=lambda c: (c.manifest.created_at, c.path), reverse=True)


def prune_checkpoints(folder: Path, name: str, *, keep: int) -> list[Path]:
    """Deletes all but the newest checkpoints of a technique and returns what was deleted.

    Of the work folders of trainings that have no checkpoint yet, the newest is kept: it is to be
    resumed. An older one is of data or settings that are gone.
    """
    if keep < 1:
        raise ValueError("at least one checkpoint is kept")
    if not (folder / name).is_dir():
        return []
    with _only_writer(folder / name):
        unfinished = sorted(
            (folder / name).glob(f"*{_UNFINISHED_SUFFIX}"), key=lambda at: at.stat().st_mtime
        )
        removed = [checkpoint.path for checkpoint in list_checkpoints(folder, name)[keep:]]
        removed += unfinished[:-1]
        for path in removed:
            # Out of sight first: a half-deleted folder never looks like a damaged checkpoint.
            doomed = path.with_name(f"{_PARTIAL_PREFIX}{path.name}")
            path.rename(doomed)
            shutil.rmtree(doomed)
    return removed


def unfinished_folder(folder: Path, name: str, fingerprint: str) -> Path:
    """Where a training keeps what it needs to be resumed; removed with the checkpoint's writing."""
    place = _place(folder, name, fingerprint)
    return place.with_name(place.name + _UNFINISHED_SUFFIX)


def _place(folder: Path, name: str, fingerprint: str) -> Path:
    return folder / name / fingerprint[:16]


def _damaged(path: Path, problem: str) -> PlatformError:
    return PlatformError(
        f"The checkpoint {path} is damaged: {problem}.",
        f"Delete the folder {path} and run again: the model is then fitted anew.",
    )


def _hash_files(path: Path) -> dict[str, str]:
    hashes = {}
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path).as_posix()
        if file.is_symlink() or (file.is_file() and relative != MANIFEST):
            with file.open("rb") as content:
                hashes[relative] = hashlib.file_digest(content, "sha256").hexdigest()
    return hashes


def _put_in_place(partial: Path, final: Path) -> None:
    replaced = partial.with_name(f"{partial.name}-replaced")
    if final.exists():
        final.rename(replaced)
    partial.rename(final)
    _flush(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _flush_to_disk(folder: Path) -> None:
    for path in folder.rglob("*"):
        _flush(path)
    _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Holds the technique's lock; whatever is half-written there then is of a killed writer."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in folder.glob(f"{_PARTIAL_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        if _disk_is_full(error):
            raise PlatformError(
                f"The disk that holds {path.parent} is full; no checkpoint was written.",
                "Free some space there, or set PRICING_HOME to a folder on another disk.",
            ) from error
        if isinstance(error, PermissionError):
            raise PlatformError(
                f"{path.parent} cannot be written: {error.strerror}.",
                "Set PRICING_HOME to a folder that you may write to.",
            ) from error
        raise


def _disk_is_full(error: Exception) -> bool:
    numbers = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in numbers
    # safetensors writes outside of Python and tells the number in its message only.
    return any(f"(os error {number})" in str(error) for number in numbers)
