"""Folders that are made once out of a model in another form, and found again.

Here belongs that such a folder is whole: it is written beside its place and renamed, and a manifest
tells the sha256 of each file; and that those which nobody uses any more go. What is written into it
belongs to ``gguf_file`` and ``adapter``.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from pricing_platform.bounded_cache import DAY_SECONDS, GIBIBYTE, mark_used, prune_cache
from pricing_platform.errors import PlatformError
from pricing_platform.model_files import file_sha256
from pricing_platform.stores.warehouse import make_folder

CONVERSION_VERSION = "1"
"""Of the code that writes such folders; another one makes them anew."""

MODELS_BYTES = 8 * GIBIBYTE
"""What such folders may take together, apart from those that were used within a day."""

_MANIFEST = "manifest.json"


class _Manifest(BaseModel):
    version: str
    source_sha256: str
    files: dict[str, str]


@dataclass(frozen=True)
class MadeFolder:
    """A folder that ``write`` fills from a source, which its place is named by.

    ``size`` tells the bytes that it will take; like ``write``, it is called only where the folder
    has to be made.
    """

    place: Path
    source_sha256: str
    size: Callable[[], int]
    write: Callable[[Path], None]

    @property
    def is_made(self) -> bool:
        """Whether it is there with all of its files, each of them as it was written."""
        try:
            told = _Manifest.model_validate_json((self.place / _MANIFEST).read_bytes())
        except (OSError, ValidationError):
            return False
        expected = _Manifest(
            version=CONVERSION_VERSION, source_sha256=self.source_sha256, files=_hashes(self.place)
        )
        return told == expected

    def made(self) -> bool:
        """Makes it unless it is there; and whether it had to be made.

        One process makes it, others wait. Whatever was left by one that was killed is deleted.

        Raises:
            PlatformError: when it can't be written, or for what ``write`` raises.
        """
        if self.is_made:
            mark_used(self.place)
            return False
        models = self.place.parent
        make_folder(models)
        with FileLock(models / f".{self.place.name}.lock"):  # an adapter's base is made within
            if self.is_made:
                return False
            partial = models / f".partial-{self.place.name}"
            shutil.rmtree(partial, ignore_errors=True)
            _require_space(models, self.size())
            partial.mkdir()
            try:
                self._fill(partial)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            shutil.rmtree(self.place, ignore_errors=True)
            partial.rename(self.place)
        # Whatever this or another process may be reading was used within a day.
        prune_cache(models, MODELS_BYTES, used_since=time.time() - DAY_SECONDS)
        return True

    def _fill(self, folder: Path) -> None:
        self.write(folder)
        manifest = _Manifest(
            version=CONVERSION_VERSION, source_sha256=self.source_sha256, files=_hashes(folder)
        )
        (folder / _MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _MANIFEST
    }


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise PlatformError(
            f"A language model needs {size / 1e9:.1f} GB in {folder}, and {free / 1e9:.1f} GB are"
            " free.",
            "Free some space there, or set PRICING_HOME to a folder on another disk.",
        )
