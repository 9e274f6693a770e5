"""What is known of a training at an endpoint, on disk after every step, so that none is done twice.

Here belong the names that the endpoint gave and what came of the job. Asking it belongs to
``provider``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pricing_platform.errors import PlatformError
from pricing_platform.stores.warehouse import make_folder

_NAME = "job.json"


class TrainingRecord(BaseModel):
    """``is_creating``: a job was about to be asked for, and may be there.

    ``model`` and ``failure`` end it: the one is the name of what was trained, the other why nothing
    was. ``trained_tokens``, ``cost_usd`` and ``seconds`` are known with them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    training_file: str | None = None
    validation_file: str | None = None
    is_creating: bool = False
    job: str | None = None
    model: str | None = None
    failure: str | None = None
    trained_tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What was written last; an empty record where nothing was.

        Raises:
            PlatformError: when it can't be read.
        """
        try:
            return cls.model_validate_json((folder / _NAME).read_bytes())
        except FileNotFoundError:
            return cls()
        except ValidationError:
            raise PlatformError(
                f"The record of a training at an endpoint cannot be read: {folder / _NAME}.",
                f"Restore it, or delete {folder}: the endpoint is then asked whether the job is"
                " there.",
            ) from None

    def write(self, folder: Path) -> None:
        """Puts it in the place of the last one."""
        write_whole(folder / _NAME, self.model_dump_json(indent=2).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all, whenever the process or machine stops.

    Raises:
        PlatformError: when the folder may not be written, or the disk is full.
    """
    make_folder(path.parent)
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        raise PlatformError(
            f"{path} cannot be written: {error.strerror}.",
            "Free some space there, or set PRICING_HOME to a folder that you may write to.",
        ) from None
