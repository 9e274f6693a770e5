"""Offline batches: files of requests for providers that answer them later, for less.

Here belongs writing requests as JSONL in OpenAI's batch format and taking results into the cache.
A request's ``custom_id`` is its key there, so results may come in any order and from any file, and
a run after the import finds them as if it had asked at once.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, JsonValue, ValidationError

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.replies import UnreadableReplyError, read_reply
from pricing_platform.language.endpoint.requests import EndpointRequest, Reading
from pricing_platform.language.endpoint.sending import (
    Unanswered,
    answer_of,
    budget_error,
    worst_cost,
)
from pricing_platform.language.response_cache import BatchRequest, Cost, ResponseCache
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import make_folder

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class BatchImport:
    """What a file of results brought.

    ``read`` lines were results; ``kept`` are answers in the cache now, ``failed`` were errors
    (``reasons`` counts them; they are written again into the next file of requests), ``unknown``
    answer nothing that was asked from here. ``damaged`` tells of lines that could not be read.
    """

    read: int
    kept: int
    failed: int
    unknown: int
    reasons: dict[str, int]
    damaged: tuple[str, ...]


class _Response(BaseModel):
    status_code: int = 200
    body: JsonValue = None


class _Line(BaseModel):
    custom_id: str
    response: _Response | None = None
    error: JsonValue = None


def write_batch(
    configuration: EndpointConfiguration,
    cache: ResponseCache,
    unanswered: Sequence[Unanswered],
    *,
    total: int,
    known: int,
) -> PlatformError:
    """Writes the requests that no file waits for yet; returns what the user is told.

    Raises:
        PlatformError: when the most that they can cost does not fit the budget; none is written.
    """
    folder = configuration.batches_folder
    assert folder is not None  # noqa: S101
    make_folder(folder)
    with FileLock(folder / ".lock"):
        asked = cache.batch_requests(one.request.key for one in unanswered)
        waiting = {key: found for key, found in asked.items() if (folder / found.file).is_file()}
        fresh = [one for one in unanswered if one.request.key not in waiting]
        written = _write(configuration, cache, folder, fresh, total, known) if fresh else None
    return _to_be_sent(folder, fresh, written, list(waiting.values()))


def import_batch_results(settings: Settings, cache: ResponseCache, path: Path) -> BatchImport:
    """Takes a provider's results into the cache, at the prices of the settings.

    Raises:
        PlatformError: when the file can't be read.
    """
    configuration = EndpointConfiguration.from_settings(settings)
    read = kept = unknown = 0
    reasons: Counter[str] = Counter()
    damaged = []
    for number, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            line = _Line.model_validate_json(text)
        except ValidationError:
            damaged.append(f"{path.name}, line {number}: it is no result of a batch.")
            continue
        read += 1
        request = cache.batch_requests([line.custom_id]).get(line.custom_id)
        if request is None:
            known = line.custom_id in cache.find([line.custom_id])
            kept, unknown = kept + known, unknown + (not known)
        elif (reason := _keep(line, request, configuration, cache)) is None:
            kept += 1
        else:
            reasons[reason] += 1
            cache.remove_batch_request(line.custom_id)
    failed = reasons.total()
    return BatchImport(read, kept, failed, unknown, dict(reasons), tuple(damaged))


def _write(
    configuration: EndpointConfiguration,
    cache: ResponseCache,
    folder: Path,
    fresh: Sequence[Unanswered],
    total: int,
    known: int,
) -> Path:
    costs = [worst_cost(one, configuration) for one in fresh]
    together = Cost(sum(c.tokens for c in costs), sum(c.usd for c in costs))
    if cache.room(together, configuration.budget) != "mine":
        raise budget_error(configuration, cache, together, known, total)
    path = _next_path(folder, configuration.model)
    rows = [
        BatchRequest(one.request.key, path.name, one.request.reading.model_dump_json(), cost)
        for one, cost in zip(fresh, costs, strict=True)
    ]
    # Noted first: a request that is noted and in no file is written again, one that is in a file
    # and not noted would be paid for without its answer being known.
    cache.add_batch_requests(rows)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        for one in fresh:
            file.write(json.dumps(_request_line(one.request), ensure_ascii=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return path


def _request_line(request: EndpointRequest) -> dict[str, JsonValue]:
    return {
        "custom_id": request.key,
        "method": "POST",
        "url": f"/v1{request.path}",
        "body": request.body,
    }


def _next_path(folder: Path, model: str) -> Path:
    name = _NOT_IN_A_NAME.sub("-", model).strip("-.")[-80:] or "model"
    number = 1
    while (path := folder / f"{name}-{number}.requests.jsonl").exists():
        number += 1
    return path


def _to_be_sent(
    folder: Path,
    fresh: Sequence[Unanswered],
    written: Path | None,
    waiting: Sequence[BatchRequest],
) -> PlatformError:
    files = sorted({found.file for found in waiting})
    told = []
    if written is not None:
        told.append(f"{len(fresh)} requests are written to {written}.")
    if files:
        told.append(
            f"{len(waiting)} wait for the results of {', '.join(str(folder / f) for f in files)}."
        )
    return PlatformError(
        " ".join(told),
        "Send each file to the provider as a batch, then take its results in with:"
        " pricing-platform batch import FILE; and run this again. A file that is deleted is"
        " written anew.",
    )


def _keep(
    line: _Line, request: BatchRequest, configuration: EndpointConfiguration, cache: ResponseCache
) -> str | None:
    """Keeps an answer; the reason where there is none."""
    response = line.response
    if line.error or response is None or response.status_code >= 400:
        return _failure(line, configuration)
    reading = Reading.model_validate_json(request.reading)
    body = response.body if isinstance(response.body, str) else json.dumps(response.body)
    try:
        reply = read_reply(configuration.masked_answer(body), reading)
    except UnreadableReplyError as error:
        return configuration.masked(error.reason)
    if reply.usage is None:
        return "The result does not tell its usage."
    answer = answer_of(reply, reply.usage, configuration, 0.0, 1)
    spent = Cost(answer.usage.tokens_in + answer.usage.tokens_out, answer.usage.cost_usd)
    cache.keep(line.custom_id, reading.kind, configuration.model, answer, spent)
    return None


def _failure(line: _Line, configuration: EndpointConfiguration) -> str:
    told = line.error
    body = line.response.body if line.response is not None else None
    if not told and isinstance(body, dict):
        told = body.get("error")
    if isinstance(told, dict):
        told = told.get("message") or told.get("code") or told
    status = f"{line.response.status_code}: " if line.response is not None else ""
    text = told if isinstance(told, str) else json.dumps(told)
    return configuration.masked(f"{status}{text}")[:300]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PlatformError(
            f"The batch's results {path} cannot be read: {told}.",
            "Give the file of results that the provider made.",
        ) from None
