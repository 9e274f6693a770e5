"""A folder that is there with all of its files or not at all.

Here belongs seeing to that. What is written into it belongs to the modules beside this one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from pricing_platform.errors import PlatformError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
_ERROR_NUMBER = re.compile(r"os error (\d+)")
_REMEDY = "Name a folder that you may write to, on a disk with enough space."


def require_new(folder: Path) -> None:
    """Refuses a place where something is already.

    Raises:
        PlatformError: when it is a file, or a folder that is not empty.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    if not folder.is_dir():
        raise PlatformError(f"{folder} is there and is no folder.", "Name a folder that is new.")
    if any(folder.iterdir()):
        raise PlatformError(
            f"The folder {folder} is not empty.",
            "Name one that is new or empty: what stands in this one is not overwritten.",
        )


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside the place, which is renamed to it in the end, or deleted after an error.

    What a killed process left there is deleted; while another one writes, it is refused.

    Args:
        folder: where it is to be; nothing, or an empty folder.

    Raises:
        PlatformError: when something is there, or it can't be written.
    """
    folder = folder.expanduser().absolute()
    require_new(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    with _translate_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir(exist_ok=True)
    with _only_writer(partial, folder):
        try:
            with _translate_errors(folder):
                _empty(partial)
            with _told_while_written(partial, folder):
                yield partial
            require_new(folder)
            with _translate_errors(folder):
                partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def _only_writer(partial: Path, folder: Path) -> Iterator[None]:
    with _translate_errors(folder):
        descriptor = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlatformError(
                f"Another process is writing {folder}.", "Wait for it, or name another folder."
            ) from None
        yield
    finally:
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _translate_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _not_written(folder, error.strerror or str(error)) from error


@contextmanager
def _told_while_written(partial: Path, folder: Path) -> Iterator[None]:
    """Tells of what can't be written there or read elsewhere; any other error is none of both."""
    try:
        yield
    except OSError as error:
        told = error.strerror or str(error)
        if error.errno in _NO_ROOM or _is_within(error.filename, partial):
            raise _not_written(folder, told) from error
        if error.filename is None:
            raise
        raise PlatformError(
            f"{error.filename}, which is to be part of {folder}, can't be read: {told}.",
            "Put it back as it was; what was fitted is made anew where it is deleted.",
        ) from error
    except SafetensorError as error:  # it writes outside of Python, and tells a number in its text
        number = _ERROR_NUMBER.search(str(error))
        if number is None or int(number[1]) not in _NO_ROOM:
            raise
        raise _not_written(folder, str(error)) from error


def _not_written(folder: Path, told: str) -> PlatformError:
    return PlatformError(f"{folder} can't be written: {told}.", _REMEDY)


def _is_within(name: object, folder: Path) -> bool:
    return isinstance(name, str | Path) and Path(name).is_relative_to(folder)
