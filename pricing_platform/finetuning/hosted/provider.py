"""What an OpenAI-compatible endpoint is asked for a training: files, jobs, events, models.

Here belongs one call: how it is sent, what of its answer is read, what its failure means. In which
order calls follow one another belongs to ``training``. What asks for nothing new is sent again
where that may help; what creates something is sent once, and whoever sent it looks first whether it
is there before it is sent again.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from pricing_platform.errors import PlatformError
from pricing_platform.language.endpoint import failures
from pricing_platform.language.endpoint.client import QUIET, blocking_client
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.endpoint.failures import Failure

if TYPE_CHECKING:
    import openai

_UPLOAD_SECONDS = 600.0
_PAGES = 100
_EVENTS = 50
_STEP = re.compile(r"\bstep (\d+)\s*(?:/|of)\s*(\d+)", re.IGNORECASE)
_PURPOSE = "fine-tune"
_METADATA_KEY = "pricing_platform"
_LONGEST_ERROR = 300


class HostedFile(BaseModel):
    """A file that the endpoint has."""

    id: str
    filename: str | None = None
    bytes: int | None = None


class JobFailure(BaseModel):
    """What the endpoint says of a job that failed."""

    message: str | None = None
    code: str | None = None


class HostedJob(BaseModel):
    """A job as the endpoint tells of it; a status that is none of the last three goes on."""

    id: str
    status: str
    fine_tuned_model: str | None = None
    trained_tokens: int | None = None
    error: JobFailure | None = None
    training_file: str | None = None
    created_at: float | None = None
    finished_at: float | None = None
    metadata: JsonValue = None
    hyperparameters: JsonValue = None

    @property
    def key(self) -> JsonValue:
        """What it was asked for with; null where the endpoint does not keep such."""
        return self.metadata.get(_METADATA_KEY) if isinstance(self.metadata, dict) else None

    @property
    def epochs(self) -> JsonValue:
        """Of the training; null where the endpoint does not tell."""
        told = self.hyperparameters
        return told.get("n_epochs") if isinstance(told, dict) else None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in ("succeeded", "failed", "cancelled")

    @property
    def seconds(self) -> float:
        """From when it was asked for to its end; 0 where the endpoint does not tell."""
        if self.created_at is None or self.finished_at is None:
            return 0.0
        return max(self.finished_at - self.created_at, 0.0)


class JobEvent(BaseModel):
    """A line of a job's log."""

    message: str
    level: str = "info"
    created_at: float = 0.0
    data: JsonValue = None

    @property
    def step(self) -> tuple[int, int] | None:
        """Which step of how many it tells of; None where it tells of none."""
        data = self.data if isinstance(self.data, dict) else {}
        step, total = data.get("step"), data.get("total_steps")
        if isinstance(step, int) and isinstance(total, int):
            return step, total
        found = _STEP.search(self.message)
        return (int(found[1]), int(found[2])) if found else None


class _Listed(BaseModel):
    id: str


class _Page(BaseModel):
    data: list[JsonValue] = []
    has_more: bool = False


class CallFailedError(PlatformError):
    """A call without an answer: ``may_be_done`` where the endpoint may have done it all the same.

    ``again``: the same call may do better later, not before ``after`` seconds where it says so.
    ``is_unknown``: the endpoint knows no such address.
    """

    def __init__(self, told: PlatformError, failure: Failure, *, is_unknown: bool = False) -> None:
        super().__init__(told.problem, told.remedy)
        self.again = failure.again
        self.after = failure.after
        self.may_be_done = failure.may_be_billed or failure.outcome in ("server_error", "timed_out")
        self.is_unknown = is_unknown


Answer = TypeVar("Answer", bound=BaseModel)


class FineTuningProvider:
    """One endpoint, for as long as the context lasts."""

    def __init__(self, configuration: EndpointConfiguration, base_model: str) -> None:
        self.configuration = configuration
        self._base_model = base_model
        self._client: openai.OpenAI | None = None
        self._any_answered = False

    def __enter__(self) -> Self:
        self._client = blocking_client(self.configuration)
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def url(self) -> str:
        """As texts may show it."""
        return self.configuration.shown_url

    def masked(self, text: str) -> str:
        """The text on one line, without secrets, cut where it is long."""
        return " ".join(self.configuration.masked(text).split())[:_LONGEST_ERROR]

    def find_file(self, name: str, size: int) -> HostedFile | None:
        """The file of this name and size, where the endpoint lists its files."""
        for file in self._listed(HostedFile, lambda **page: self._files.list(**page)):
            if file.filename == name and file.bytes in (None, size):
                return file
        return None

    def upload(self, path: Path, name: str) -> HostedFile:
        """Sends a training file.

        Raises:
            CallFailedError: when it was not taken.
        """
        with path.open("rb") as file:
            return self._once(
                lambda: self._files.create(
                    file=(name, file, "application/jsonl"),
                    purpose=_PURPOSE,
                    timeout=max(_UPLOAD_SECONDS, self.configuration.timeout_seconds),
                ),
                HostedFile,
            )

    def jobs(self) -> Iterator[HostedJob]:
        """All that the endpoint knows, the newest first.

        Raises:
            CallFailedError: when it lists none, among other reasons.
        """
        return self._listed(HostedJob, lambda **page: self._jobs.list(**page), strict=True)

    def create_job(
        self,
        key: str,
        training_file: str,
        validation_file: str | None,
        *,
        epochs: int,
        seed: int,
    ) -> HostedJob:
        """Asks for a training; from here on it costs.

        Endpoints that are older than ``method`` are told the epochs as they knew them.

        Raises:
            CallFailedError: when it was not taken, or may have been.
        """
        hyperparameters = {"n_epochs": epochs}
        asked: dict[str, Any] = {
            "model": self._base_model,
            "training_file": training_file,
            "seed": seed,
            "suffix": f"price-{key[:8]}",
            "metadata": {_METADATA_KEY: key},
            "method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        }
        if validation_file is not None:
            asked["validation_file"] = validation_file
        older: Mapping[str, Mapping[str, Any]] = {
            "method": {"hyperparameters": hyperparameters},
            "metadata": {},
            "seed": {},
        }
        while True:
            try:
                return self._once(partial(self._jobs.create, **asked), HostedJob)
            except CallFailedError as error:
                unknown = next(
                    (name for name in older if name in asked and _is_unknown(name, error)), None
                )
                if unknown is None:
                    raise
                asked = {k: v for k, v in asked.items() if k != unknown} | dict(older[unknown])

    def job(self, job: str) -> HostedJob:
        """How it stands."""
        return self._often(lambda: self._jobs.retrieve(job), HostedJob)

    def events(self, job: str) -> list[JobEvent]:
        """The newest events, the oldest of them first; none where the endpoint has no events."""
        try:
            page = self._often(lambda: self._jobs.list_events(job, limit=_EVENTS), _Page)
        except CallFailedError as error:
            if error.is_unknown:
                return []
            raise
        found = [_read(JobEvent, line) for line in page.data]
        events = [event for event in found if event is not None]
        events.reverse()  # they come newest first, and many within a second
        return sorted(events, key=lambda event: event.created_at)

    def has_model(self, name: str) -> bool:
        """Whether the model is listed; also where the endpoint lists none, so can't deny it."""
        assert self._client is not None  # noqa: S101
        models = self._client.models.with_raw_response
        try:
            page = self._often(lambda: models.list(), _Page)
        except CallFailedError as error:
            if error.is_unknown:
                return True
            raise
        found = [_read(_Listed, line) for line in page.data]
        return any(model is not None and model.id == name for model in found)

    @property
    def _files(self) -> Any:
        assert self._client is not None  # noqa: S101
        return self._client.files.with_raw_response

    @property
    def _jobs(self) -> Any:
        assert self._client is not None  # noqa: S101
        return self._client.fine_tuning.jobs.with_raw_response

    def _listed(
        self, kind: type[Answer], ask: Callable[..., Any], *, strict: bool = False
    ) -> Iterator[Answer]:
        """What an endpoint lists, page by page; nothing where it lists none, unless ``strict``."""
        after: dict[str, str] = {}
        for _ in range(_PAGES):
            try:
                page = self._often(lambda: ask(**after), _Page)  # noqa: B023
            except CallFailedError as error:
                if error.is_unknown and not strict:
                    return
                raise
            found = [_read(kind, line) for line in page.data]
            yield from (one for one in found if one is not None)
            last = _read(_Listed, page.data[-1]) if page.data else None
            if not page.has_more or last is None:
                return
            after = {"after": last.id}

    def _often(self, send: Callable[[], Any], kind: type[Answer]) -> Answer:
        """The answer to a call that asks for nothing new, however often it is sent."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(send, kind)
            except CallFailedError as error:
                if not error.again or attempt >= self.configuration.attempts:
                    raise
                self.pause(attempt, error)

    def pause(self, attempt: int, error: CallFailedError) -> None:
        """Waits before a call is sent again: as long as the endpoint asks for, or ever longer."""
        configuration = self.configuration
        doubled = configuration.first_delay_seconds * 2.0 ** min(attempt - 1, 20)
        seconds = doubled * random.uniform(0.5, 1.0) if error.after is None else error.after  # noqa: S311
        time.sleep(min(seconds, configuration.longest_delay_seconds))

    def _once(self, send: Callable[[], Any], kind: type[Answer]) -> Answer:
        import openai

        try:
            with QUIET, closing(send().http_response) as response:
                text = response.text
            self._any_answered = True
        except openai.APITimeoutError:
            raise self._failed(failures.timed_out(self.configuration)) from None
        except openai.APIConnectionError as error:
            failure = failures.not_connected(
                error, self.configuration, any_answered=self._any_answered
            )
            raise self._failed(failure) from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        try:
            return kind.model_validate_json(text)
        except ValidationError:
            told = self.masked(text) or "nothing"
            reason = f"It answered with something else than was asked for: {told}."
            # Whatever it did is done: what it did is found by looking, not by sending again.
            raise self._failed(failures.unreadable(reason, None, again=True)) from None

    def _failed(self, failure: Failure) -> CallFailedError:
        told = failure.end or PlatformError(
            f"The endpoint {self.url} could not be asked for the training. {failure.reason}",
            "Run again: what was sent and what is under way is not sent or paid twice.",
        )
        return CallFailedError(told, failure)

    def _refused(self, error: openai.APIStatusError) -> CallFailedError:
        status, configuration = error.status_code, self.configuration
        named = replace(configuration, model=self._base_model)
        failure = failures.refused_status(
            status, error.response.headers, error.response.text, named, any_answered=False
        )
        if status in (404, 405, 501):
            told = PlatformError(
                f"The endpoint {self.url} does not fine-tune as OpenAI's does: {failure.reason}",
                "Name an endpoint that has /files and /fine_tuning/jobs, or set"
                " PRICING_LLM_FINE_TUNING=false.",
            )
            return CallFailedError(told, replace(failure, again=False), is_unknown=True)
        if 400 <= status < 500 and not failure.again and failure.outcome != "rate_limited":
            if status in (401, 403) and failure.end is not None:
                return CallFailedError(failure.end, failure)
            told = PlatformError(
                f"The endpoint {self.url} refuses the training of {self._base_model}."
                f" {failure.reason}",
                "See to what it says; PRICING_LLM_FINE_TUNING_MODEL names the model to fine-tune.",
            )
            return CallFailedError(told, failure)
        return self._failed(failure)


def _is_unknown(parameter: str, error: CallFailedError) -> bool:
    """Whether an endpoint refused a call for a parameter that it does not know."""
    return not error.again and re.search(rf"\b{parameter}\b", error.problem) is not None


def _read(kind: type[Answer], line: JsonValue) -> Answer | None:
    """A line of a list; one of another form is passed by."""
    try:
        return kind.model_validate(line)
    except ValidationError:
        return None
