"""Files of data: what their names say that they are, and their bytes, decompressed.

Here belong endings, gzip and zip. How what is inside is written belongs to ``file_layout``, its
rows to ``records``.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, cast

from pricing_platform.errors import PlatformError

FileKind = Literal["json", "csv", "xml", "xlsx", "parquet"]
"""``json`` is one object a line, an array, or an object that holds one; ``csv`` any delimiter."""

_ENDINGS: dict[str, FileKind] = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".xml": "xml",
    ".xlsx": "xlsx",
    ".parquet": "parquet",
}
_LINES = (".jsonl", ".ndjson")
_GZIP, _ZIP = ".gz", ".zip"


def file_kind(file: Path) -> FileKind:
    """What the file's name says that it is; of a zip archive, the name of the file in it.

    Raises:
        PlatformError: for a name that says nothing, or an archive of several files.
    """
    name = _data_name(file).lower()
    for ending, found in _ENDINGS.items():
        if name.endswith(ending):
            return found
    raise PlatformError(
        f"{file}: its name does not say what kind of file it is.",
        f"Give it a name that ends in one of {', '.join(_ENDINGS)}, or in one of them and"
        f" {_GZIP} or {_ZIP}.",
    )


def is_named_as_lines(file: Path) -> bool:
    """Whether the name says that each line is an object."""
    return _data_name(file).lower().endswith(_LINES)


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The file's bytes, decompressed; what can go wrong with them is said for people."""
    try:
        with _stream(file) as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as error:
        raise PlatformError(
            f"{file} is cut off or damaged: {error}.", "Fetch the file again."
        ) from None
    except OSError as error:
        raise PlatformError(
            f"{file} cannot be read: {error.strerror or error}.", "Check its permissions."
        ) from None


@contextmanager
def _stream(file: Path) -> Iterator[BinaryIO]:
    ending = file.suffix.lower()
    if ending == _GZIP:
        with gzip.open(file) as stream:
            yield cast("BinaryIO", stream)
    elif ending == _ZIP:
        with zipfile.ZipFile(file) as archive, _member(file, archive) as member:
            yield member
    else:
        with file.open("rb") as stream:
            yield stream


def _member(file: Path, archive: zipfile.ZipFile) -> BinaryIO:
    try:
        return cast("BinaryIO", archive.open(_only_member(file, archive)))
    except RuntimeError as error:  # how zipfile tells of a password
        raise PlatformError(f"{file} cannot be read: {error}.", "Unpack the archive.") from None


def _data_name(file: Path) -> str:
    ending = file.suffix.lower()
    if ending == _GZIP:
        return file.stem
    if ending != _ZIP:
        return file.name
    try:
        with zipfile.ZipFile(file) as archive:
            return _only_member(file, archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise PlatformError(
            f"{file} is cut off or damaged: {error}.", "Fetch the file again."
        ) from None


def _only_member(file: Path, archive: zipfile.ZipFile) -> str:
    names = [
        name
        for name in archive.namelist()
        if not name.endswith("/") and not name.startswith("__MACOSX") and Path(name).name[0] != "."
    ]
    if len(names) != 1:
        told = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise PlatformError(
            f"{file} holds {len(names)} files{': ' + told if names else ''}.",
            "Pack one file into an archive, or unpack it and name the files in sources.toml.",
        )
    return names[0]
