"""Offline batches: files of requests for providers that answer them later, for less.

Here belongs writing requests as JSONL in OpenAI's batch format and taking results into the cache.
A request's ``custom_id`` is its key there, so results may come in any order and from any file, and
a run after the import finds them as if it had asked at once: also those that say that a prompt will
never be answered. What else failed is written again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, JsonValue, ValidationError

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint import failures
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.failures import Failure, without_parameters
from pricing_platform.language.endpoint.replies import Reply, UnreadableReplyError, read_reply
from pricing_platform.language.endpoint.requests import EndpointRequest, Reading
from pricing_platform.language.endpoint.response_bodies import reported_usage
from pricing_platform.language.endpoint.sending import (
    Unanswered,
    answer_of,
    budget_error,
    usage_of,
    worst_cost,
)
from pricing_platform.language.endpoint.told_errors import ToldError
from pricing_platform.language.model import Usage
from pricing_platform.language.response_cache import (
    KEPT_OF_BATCHES,
    BatchRequest,
    Cost,
    KeptAnswer,
    ResponseCache,
)
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import make_folder

_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class BatchImport:
    """What a file of results brought.

    ``read`` lines were results; ``kept`` are in the cache now, as answers or as what a prompt will
    always end with; ``failed`` were errors (``reasons`` counts them; they are written again into
    the next file of requests), ``unknown`` answer nothing that was asked from here. ``damaged``
    tells of lines that could not be read.
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
            known = line.custom_id in cache.find([line.custom_id], KEPT_OF_BATCHES)
            kept, unknown = kept + known, unknown + (not known)
        elif (reason := _keep(line, request, configuration, cache)) is None:
            kept += 1
        else:
            reasons[reason] += 1
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
    path = _next_path(folder, configuration.model, [one.request.key for one in fresh])
    rows = [
        BatchRequest(one.request.key, path.name, one.request.reading.model_dump_json(), cost)
        for one, cost in zip(fresh, costs, strict=True)
    ]
    # Noted first: a request that is noted and in no file is written again, one that is in a file
    # and not noted would be paid for without its answer being known.
    if cache.add_batch_requests(rows, configuration.budget) != "mine":
        raise budget_error(configuration, cache, together, known, total)
    dropped = cache.dropped_parameters(configuration.known_url, configuration.model)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8", newline="\n") as file:
        for one in fresh:
            file.write(json.dumps(_request_line(one.request, dropped), ensure_ascii=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    return path


def _request_line(request: EndpointRequest, dropped: Sequence[str]) -> dict[str, object]:
    return {
        "custom_id": request.key,
        "method": "POST",
        "url": f"/v1{request.path}",
        "body": without_parameters(request.body, dropped),
    }


def _next_path(folder: Path, model: str, keys: Sequence[str]) -> Path:
    """A name that no file of other requests has or had, whatever was noted and never written."""
    name = _NOT_IN_A_NAME.sub("-", model).strip("-.")[-80:] or "model"
    digest = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:12]
    number = 1
    while any(folder.glob(f"{name}-{number}-*.requests.jsonl")):
        number += 1
    return folder / f"{name}-{number}-{digest}.requests.jsonl"


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
        " written anew. What fails in every batch can be asked at once: PRICING_LLM_MODE=live.",
    )


def _keep(
    line: _Line, request: BatchRequest, configuration: EndpointConfiguration, cache: ResponseCache
) -> str | None:
    """Keeps what a request ended with and what it cost; where it may end otherwise, the reason."""
    reading = Reading.model_validate_json(request.reading)
    result = _result(line, reading, configuration)
    used = usage_of(result.usage, configuration) if result.usage else Usage()
    told = result.usage is not None or (isinstance(result, Failure) and not result.may_be_billed)
    if not told:
        used = _at_most(request.worst)
    spent = Cost(used.tokens_in + used.tokens_out, used.cost_usd)
    if isinstance(result, Reply):
        answer = answer_of(result, used)
    elif result.outcome in KEPT_OF_BATCHES and not result.again:
        answer = KeptAnswer(used, outcome=result.outcome, reason=result.reason)
    else:
        if result.without is not None:
            cache.drop_parameter(configuration.known_url, configuration.model, result.without)
        cache.remove_batch_request(line.custom_id, spent, told=told)
        return result.reason if result.end is None else f"{result.end.problem} {result.end.remedy}"
    cache.keep(line.custom_id, reading.kind, configuration.model, answer, spent, told=told)
    return None


def _result(line: _Line, reading: Reading, configuration: EndpointConfiguration) -> Reply | Failure:
    """What a line says, judged as the same response would be if it had come at once."""
    response = line.response
    if response is None or (line.error and response.status_code < 400):
        told = failures.told_error(_text({"error": line.error}), configuration)
        reason = told if line.error else "The line has neither a response nor an error."
        return Failure("failed", reason, again=True)
    body = _text(response.body or {"error": line.error})
    if response.status_code >= 400:
        failure = failures.refused_status(
            response.status_code, {}, body, configuration, any_answered=True
        )
        usage = response.body.get("usage") if isinstance(response.body, dict) else None
        return replace(failure, usage=reported_usage(usage))
    try:
        return read_reply(configuration.masked_answer(body), reading)
    except ToldError as error:
        return failures.told_in_answer(error, configuration, any_answered=True)
    except UnreadableReplyError as error:
        reason = configuration.masked(error.reason)
        return failures.unreadable(reason, error.usage, again=error.again)


def _at_most(worst: Cost) -> Usage:
    """How many of the tokens were for the answer is not noted; the sum is what is counted."""
    return Usage(tokens_in=worst.tokens, cost_usd=worst.usd)


def _text(body: JsonValue) -> str:
    return body if isinstance(body, str) else json.dumps(body)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise PlatformError(
            f"The batch's results {path} cannot be read: {told}.",
            "Give the file of results that the provider made.",
        ) from None
