"""Fetches the item metadata of the Amazon Reviews 2023 dataset from the Hugging Face Hub.

The dataset is that of Hou et al., "Bridging Language and Items for Retrieval and Recommendation"
(2024). Here belongs the download, which continues where an earlier one broke off, in this process
or another. Reading the file belongs to ``sources``.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from filelock import FileLock

from pricing_platform.errors import PlatformError
from pricing_platform.progress import Progress, silent

DATASET = "McAuley-Lab/Amazon-Reviews-2023"
REVISION = "2b6d039ed471f2ba5fd2acb718bf33b0a7e5598e"
"""The commit of the dataset that the platform was tried with."""

_FOLDER = "raw/meta_categories"
_CATEGORY = re.compile(r"[A-Za-z0-9_]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class _Published:
    """The file as the hub describes it; kept beside the finished download."""

    commit: str
    etag: str
    size: int
    location: str


def fetch_amazon_reviews_2023(
    category: str,
    folder: Path,
    *,
    revision: str = REVISION,
    endpoint: str | None = None,
    progress: Progress = silent,
) -> Path:
    """Downloads the metadata of one category, such as ``Appliances``, and returns the file.

    ``progress`` is told bytes. ``endpoint`` is the hub's address; without it the environment's
    HF_ENDPOINT, or the public hub. A file that is already there at the same commit is left alone,
    without a question to the hub where ``revision`` is a commit. Raises PlatformError where the
    category does not exist, the hub does not answer, or what came is not what it announced; the
    part that came stays and the next call continues it.
    """
    _check_name(category)
    target = folder / f"meta_{category}.jsonl"
    if _COMMIT.fullmatch(revision) and _is_complete(target, revision):
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlatformError(
            f"The folder {folder} cannot be created: {error.strerror}.",
            "Name a folder that you may write to.",
        ) from None

    from huggingface_hub import constants

    hub = (endpoint or constants.ENDPOINT).rstrip("/")
    with FileLock(folder / f".{target.name}.lock"), _translate_errors(category, revision, hub):
        published = _published(category, revision, hub)
        if not _is_complete(target, published.commit):
            _download(target, published, hub, progress)
            _record(target, published)
    return target


def _check_name(category: str) -> None:
    if not _CATEGORY.fullmatch(category):
        raise PlatformError(
            f"{category!r} is no category of {DATASET}.",
            "Write it as the dataset does, with underscores, for example Home_and_Kitchen.",
        )


def _published(category: str, revision: str, hub: str) -> _Published:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    name = f"{_FOLDER}/meta_{category}.jsonl"
    url = hf_hub_url(DATASET, name, repo_type="dataset", revision=revision, endpoint=hub)
    found = get_hf_file_metadata(url, endpoint=hub)
    if found.commit_hash is None or found.etag is None or found.size is None:
        raise PlatformError(
            f"{hub} did not answer as a Hugging Face Hub does: no commit, ETag or size.",
            "Check HF_ENDPOINT, and whether a proxy stands between.",
        )
    return _Published(found.commit_hash, found.etag, found.size, found.location)


def _download(target: Path, published: _Published, hub: str, progress: Progress) -> None:
    """Appends to the part that is there, then gives the whole its name."""
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    part = target.with_name(f".{target.name}.{published.etag[:16]}.part")
    if part.exists() and part.stat().st_size > published.size:
        part.unlink()
    with part.open("ab") as file:
        http_get(
            published.location,
            file,
            resume_size=file.tell(),
            # A token is for the hub, never for the storage host that it may point at.
            headers=build_hf_headers(token=None if _same_host(published.location, hub) else False),
            expected_size=published.size,
            displayed_filename=target.name,
            tqdm_class=partial(_ReportingBar, progress),  # type: ignore[arg-type]
        )
    if _SHA256.fullmatch(published.etag) and _sha256(part) != published.etag:
        part.unlink()
        raise PlatformError(
            f"{target.name} arrived damaged: its sha256 is not the one the hub announced.",
            "Fetch it again; the damaged part has been removed.",
        )
    part.replace(target)
    for stale in target.parent.glob(f".{target.name}.*.part"):
        stale.unlink()


class _ReportingBar:
    """A progress bar, as the hub's client drives it, that draws nothing and reports instead."""

    def __init__(self, progress: Progress, *_unused: object, **options: Any) -> None:
        self._report = progress
        self._description = str(options.get("desc", ""))
        self._done = int(options.get("initial") or 0)
        self._total = int(options.get("total") or 0)
        self.update(0)

    def update(self, added: float = 1) -> None:
        self._done += int(added)
        self._report(self._description, self._done, self._total)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """The download's end is told by its last bytes."""


def _same_host(one: str, other: str) -> bool:
    return urlsplit(one).netloc == urlsplit(other).netloc


def _record_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.origin.json")


def _is_complete(target: Path, commit: str) -> bool:
    """Whether the file is that of the commit, as far as its record and its size tell."""
    try:
        recorded = _Published(**json.loads(_record_path(target).read_text(encoding="utf-8")))
        return recorded.commit == commit and target.stat().st_size == recorded.size
    except (OSError, ValueError, TypeError):
        return False


def _record(target: Path, published: _Published) -> None:
    temporary = target.with_name(f".{target.name}.origin.tmp")
    # The location may be signed: who has it may read, so it is not kept.
    temporary.write_text(json.dumps(asdict(replace(published, location=""))), encoding="utf-8")
    temporary.replace(_record_path(target))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _translate_errors(category: str, revision: str, hub: str) -> Iterator[None]:
    """Turns what the hub's client raises into what the user can do about it."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.RemoteEntryNotFoundError:
        raise PlatformError(
            f"{DATASET} has no category {category}.", _categories_advice(category, revision, hub)
        ) from None
    except errors.RevisionNotFoundError:
        raise PlatformError(
            f"{DATASET} has no revision {revision}.",
            f"Name another, or leave it out for {REVISION}.",
        ) from None
    except errors.OfflineModeIsEnabled:
        raise PlatformError(
            "Nothing can be fetched, because HF_HUB_OFFLINE is set.", "Unset it and try again."
        ) from None
    except errors.HfHubHTTPError as error:
        raise PlatformError(
            f"{hub} refused the download with status {error.response.status_code}.",
            "Try again later; where the status is 401 or 403, check HF_TOKEN and HF_ENDPOINT.",
        ) from error
    except httpx2.TransportError as error:
        raise PlatformError(
            f"The connection to {hub} failed: {error or type(error).__name__}.",
            "Check the network and HF_ENDPOINT, then run the same command: it continues where it"
            " stopped.",
        ) from error
    except OSError as error:
        raise PlatformError(
            f"The download of {category} broke off: {error}.",
            "Run the same command again: it continues where it stopped.",
        ) from error


def _categories_advice(category: str, revision: str, hub: str) -> str:
    from huggingface_hub import HfApi

    try:
        tree = HfApi(endpoint=hub).list_repo_tree(
            DATASET, path_in_repo=_FOLDER, repo_type="dataset", revision=revision
        )
        names = sorted(Path(entry.path).stem.removeprefix("meta_") for entry in tree)
    except Exception:  # the advice must not hide what went wrong in the first place
        return f"The dataset's page lists them: {hub}/datasets/{DATASET}."
    close = difflib.get_close_matches(category, names, n=1, cutoff=0.6)
    return (f"Did you mean {close[0]}? " if close else "") + f"There are: {', '.join(names)}."
