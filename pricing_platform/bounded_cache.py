"""Folders of what may be made again: they stay within a size, and what was used last stays longest.

Here belongs the rule. How much a folder may hold belongs to whoever fills it.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

GIBIBYTE = 2**30
MEBIBYTE = 2**20
DAY_SECONDS = 86_400.0
_GOING = ".going-"


def mark_used(entry: Path) -> None:
    """Says that a file or folder of a cache was used now; of a cache that is only read, nothing."""
    with suppress(OSError):
        os.utime(entry)


def prune_cache(folder: Path, most_bytes: int, *, used_since: float) -> list[Path]:
    """Deletes what was used longest ago, until the rest takes no more than so many bytes.

    Entries are the files and folders directly within; hidden ones, such as locks and what is being
    written, are left alone. An entry that goes is never seen in part.

    Args:
        folder: the cache; it may be missing.
        most_bytes: that the entries may take together.
        used_since: seconds since 1970; what was used since then stays, whatever it takes.

    Returns:
        What was deleted, the longest unused first.
    """
    if not folder.is_dir():
        return []
    for leftover in folder.glob(f"{_GOING}*"):
        _delete(leftover)
    found = [_Entry.of(at) for at in folder.iterdir() if not at.name.startswith(".")]
    entries = sorted(at for at in found if at is not None)
    total, deleted = sum(at.size for at in entries), []
    for entry in entries:
        if total <= most_bytes or entry.used_at >= used_since:
            break
        total -= entry.size
        going = entry.path.with_name(f"{_GOING}{entry.path.name}")
        with suppress(FileNotFoundError):  # another process was first
            entry.path.rename(going)
        _delete(going)
        deleted.append(entry.path)
    return deleted


@dataclass(frozen=True, order=True)
class _Entry:
    used_at: float
    path: Path
    size: int

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """None where it has gone meanwhile."""
        try:
            files = [path] if path.is_file() else [at for at in path.rglob("*") if at.is_file()]
            return cls(path.stat().st_mtime, path, sum(at.stat().st_size for at in files))
        except FileNotFoundError:
            return None


def _delete(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)
