"""A training at an endpoint from the chats to the model's name, each step done once.

Here belongs the order of the steps, the budget, and what is told of a job. Before anything is
created it is looked for: a run that was killed between a step and its record, or lost its home,
finds what it sent and the job that it pays for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import JsonValue

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.hosted.configuration import HostedTraining
from pricing_platform.finetuning.hosted.provider import (
    CallFailedError,
    FineTuningProvider,
    HostedJob,
)
from pricing_platform.finetuning.hosted.record import TrainingRecord, write_whole
from pricing_platform.finetuning.hosted.training_file import (
    CountTokens,
    TrainingFile,
    check_training_file,
    training_file,
)
from pricing_platform.language.endpoint.configuration import EndpointConfiguration
from pricing_platform.language.model import Completion, Outcome, Prompt, Usage
from pricing_platform.language.response_cache import Cost, KeptAnswer, ResponseCache, request_key
from pricing_platform.progress import Progress, silent
from pricing_platform.stores.warehouse import make_folder

_log = logging.getLogger(__name__)
_WATCHED = "fine-tuning at the endpoint"
_FILES = ("training_file", "validation_file")
_EVENTS_TOLD = 5
_LOOKS_UNTIL_RARER = 3

OnEnd = Callable[[Completion], None]
"""Is given what the training took, and the model's name or why there is none."""


@dataclass(frozen=True)
class HostedModel:
    """A model that an endpoint trained: its name there, and what the training took."""

    name: str
    job: str
    examples: int
    too_long: int
    trained_tokens: int
    cost_usd: float
    seconds: float


def fine_tune_at_endpoint(
    configuration: EndpointConfiguration,
    cache: ResponseCache,
    chats: Sequence[Prompt],
    validation_chats: Sequence[Prompt],
    training: HostedTraining,
    *,
    count_tokens: CountTokens,
    seed: int,
    progress: Progress = silent,
    on_end: OnEnd = lambda _completion: None,
) -> HostedModel:
    """The model that an endpoint makes of the chats, trained now unless it was.

    Args:
        configuration: the endpoint, its key, its budget.
        cache: counts what was spent.
        chats: to be trained on.
        validation_chats: on which the endpoint measures its loss.
        training: what is trained, how long, for how much.
        count_tokens: by the endpoint's tokenizer, or an approximation.
        seed: of the endpoint's training.
        progress: is told steps or tokens.
        on_end: is told of the cost, also of a job that came to nothing.

    Raises:
        PlatformError: when the chats can't be trained on, the budget has no room, the endpoint
            takes none of it, the job has failed, or it still goes on when the time to wait is over.
    """
    window = configuration.context_window
    file = training_file(chats, count_tokens, window)
    held_out = {chat.messages[-2].content.strip() for chat in validation_chats}
    check_training_file(file, held_out=held_out)
    validation = training_file(validation_chats, count_tokens, window)
    check_training_file(validation, fewest=0)
    key = _key(configuration, training, file, validation, seed)
    folder = training.folder / key[:16]
    make_folder(folder)
    with _only_follower(folder), FineTuningProvider(configuration, training.base_model) as provider:
        until = time.monotonic() + training.wait_seconds
        run = _Training(provider, cache, training, folder, key, file, seed, progress, on_end, until)
        record = run.ended(validation)
        run.require_model(record)
    return HostedModel(
        name=record.model or "",
        job=record.job or "",
        examples=file.examples,
        too_long=file.too_long,
        trained_tokens=record.trained_tokens,
        cost_usd=record.cost_usd,
        seconds=record.seconds,
    )


@dataclass(frozen=True)
class _Training:
    """One run of one training."""

    provider: FineTuningProvider
    cache: ResponseCache
    training: HostedTraining
    folder: Path
    key: str
    file: TrainingFile
    seed: int
    progress: Progress
    on_end: OnEnd
    until: float

    @property
    def tokens(self) -> int:
        """Those that are trained on by our count, all epochs together."""
        return self.file.tokens * self.training.epochs

    def ended(self, validation: TrainingFile) -> TrainingRecord:
        """The record of the training when its job has succeeded."""
        record = TrainingRecord.read(self.folder)
        if record.model is not None:
            self.on_end(self._completion(record, from_cache=True))
            return record
        if record.failure is None:
            if record.job is None:
                record = self._begun(record, validation)
            record = self._followed(record)
        if record.failure is not None:
            raise PlatformError(
                record.failure,
                f"Correct what it names. To train again on the same, delete {self.folder} first.",
            )
        return record

    def require_model(self, record: TrainingRecord) -> None:
        """Waits until the endpoint has the model that its job made.

        Raises:
            PlatformError: when it lists others alone until the time to wait is over.
        """
        name = record.model or ""
        looks = 0
        while not self.provider.has_model(name):
            looks += 1
            if not self._wait(looks):
                raise PlatformError(
                    f"The job {record.job} at {self.provider.url} has made {name}, which is not"
                    " among the models that the endpoint lists.",
                    "Run again when it is there. If it was deleted there, delete"
                    f" {self.folder} to train anew.",
                )

    def _begun(self, record: TrainingRecord, validation: TrainingFile) -> TrainingRecord:
        """With the job, for which the budget has room until it ends; or with nothing set aside."""
        self._set_aside()
        try:
            return self._job_of(self._with_files(record, validation))
        finally:
            left = TrainingRecord.read(self.folder)
            if left.job is None and not left.is_creating:
                self.cache.remove_batch_request(self.key)

    def _set_aside(self) -> None:
        """Takes from the budget what the training will cost, before anything is sent.

        Raises:
            PlatformError: when it has no room.
        """
        budget, price = self.provider.configuration.budget, self.training.usd_per_million
        if budget.usd is not None and price is None:
            raise PlatformError(
                "PRICING_LLM_BUDGET_USD is set, and what a training costs is not known.",
                "Set PRICING_LLM_USD_PER_MILLION_TRAINING to the price of a million tokens, 0 if"
                " there is none.",
            )
        cost = Cost(self.tokens, self.training.cost_usd(self.tokens))
        told = (
            f"Training on {self.file.examples:,} examples takes about {cost.tokens:,} tokens in"
            f" {self.training.epochs} epochs and {cost.usd:.4f} USD."
        )
        if self.cache.set_aside(self.key, cost, budget) != "mine":
            spent = self.cache.spending().total
            limits = [
                f"{spent.usd:.4f} of {budget.usd:g} USD" if budget.usd is not None else "",
                f"{spent.tokens:,} of {budget.tokens:,} tokens"
                if budget.tokens is not None
                else "",
            ]
            raise PlatformError(
                f"The budget has no room for the training at the endpoint. {told}"
                f" {' and '.join(filter(None, limits))} are spent, and what else is under way is"
                " set aside.",
                "Raise PRICING_LLM_BUDGET_USD or PRICING_LLM_BUDGET_TOKENS, or lower"
                " PRICING_LLM_FINE_TUNING_ITEMS or PRICING_LLM_FINE_TUNING_EPOCHS; nothing was"
                " sent.",
            )
        _log.info("%s", told)

    def _with_files(self, record: TrainingRecord, validation: TrainingFile) -> TrainingRecord:
        """With the endpoint's names of both files."""
        if record.training_file is None:
            record = self._kept(record, training_file=self._file_id("training", self.file))
        if record.validation_file is None and validation.examples:
            record = self._kept(record, validation_file=self._file_id("validation", validation))
        return record

    def _file_id(self, role: str, file: TrainingFile) -> str:
        path = self.folder / f"{role}.jsonl"
        write_whole(path, file.content)
        # Named by its content, so that a file of the same name is the same file.
        name = f"prices-{role}-{file.sha256[:16]}.jsonl"
        attempt = 0
        while True:
            attempt += 1
            self.progress(f"{_WATCHED}: {role} file", 0, 1)
            found = self.provider.find_file(name, len(file.content))
            try:
                found = found or self.provider.upload(path, name)
            except CallFailedError as error:
                if not error.again or attempt >= self.provider.configuration.attempts:
                    raise
                self.provider.pause(attempt, error)
                continue
            self.progress(f"{_WATCHED}: {role} file", 1, 1)
            return found.id

    def _job_of(self, record: TrainingRecord) -> TrainingRecord:
        """With the endpoint's name of the job, which costs: it is asked for once.

        Raises:
            PlatformError: when it may be there and the endpoint lists no jobs to look for it.
        """
        uploaded = record.training_file
        assert uploaded is not None  # noqa: S101
        attempt = 0
        while True:
            attempt += 1
            found = self._found_job(uploaded, may_be_there=record.is_creating)
            if found is not None:
                return self._kept(record, job=found.id, is_creating=False)
            record = self._kept(record, is_creating=True)
            try:
                created = self.provider.create_job(
                    self.key,
                    uploaded,
                    record.validation_file,
                    epochs=self.training.epochs,
                    seed=self.seed,
                )
            except CallFailedError as error:
                if not error.may_be_done:
                    # What was refused is not there. The files may be what is wrong with it.
                    kept_files = {} if error.again else dict.fromkeys(_FILES)
                    record = self._kept(record, is_creating=False, **kept_files)
                if not error.again or attempt >= self.provider.configuration.attempts:
                    raise
                self.provider.pause(attempt, error)
                continue
            return self._kept(record, job=created.id, is_creating=False)

    def _found_job(self, uploaded: str, *, may_be_there: bool) -> HostedJob | None:
        """The job of this training, where a run has asked for it and did not come to know.

        One whose model was deleted since is passed by, unless it may be so young that its model is
        still to come.
        """
        try:
            for job in self.provider.jobs():
                if not self._is_ours(job, uploaded, may_be_there=may_be_there):
                    continue
                name = job.fine_tuned_model or ""
                if may_be_there or job.status != "succeeded" or self.provider.has_model(name):
                    return job
        except CallFailedError as error:
            if not error.is_unknown:
                raise
            if may_be_there:
                raise PlatformError(
                    f"A run asked {self.provider.url} for a training and does not know whether it"
                    " was taken; the endpoint lists no jobs.",
                    "Look with the provider whether there is one. If there is, write its name as"
                    f" the job in {self.folder / 'job.json'}; if not, delete that file; and run"
                    " again.",
                ) from None
        return None

    def _is_ours(self, job: HostedJob, uploaded: str, *, may_be_there: bool) -> bool:
        """Whether a job is the one; where the endpoint keeps no keys, by its file and epochs."""
        if job.status in ("failed", "cancelled"):
            return False
        if job.key is not None or not may_be_there:
            return job.key == self.key
        return job.training_file == uploaded and job.epochs in (None, self.training.epochs)

    def _followed(self, record: TrainingRecord) -> TrainingRecord:
        """The record when the job has ended.

        Raises:
            PlatformError: when it goes on after the time to wait.
        """
        assert record.job is not None  # noqa: S101
        looks = 0
        while True:
            looks += 1
            job = self.provider.job(record.job)
            where = self._told_progress(job)
            if job.has_ended:
                return self._settled(record, job)
            if not self._wait(looks):
                raise PlatformError(
                    f"The training job {job.id} at {self.provider.url} is still"
                    f" {self.provider.masked(job.status)}{where}, after"
                    f" {self.training.wait_seconds:g} s in which this run has followed it.",
                    "Run again to go on with it: nothing is sent or paid twice."
                    " PRICING_LLM_FINE_TUNING_WAIT_SECONDS says how long a run waits.",
                )

    def _told_progress(self, job: HostedJob) -> str:
        """Tells how far the job is; the same as a part of a sentence."""
        if job.has_ended:
            if job.status == "succeeded":
                self.progress(_WATCHED, 1, 1)
            return ""
        steps = [event.step for event in self.provider.events(job.id)]
        known = [step for step in steps if step is not None]
        if known:
            done, total = known[-1]
            self.progress(_WATCHED, done, total)
            return f" (step {done:,} of {total:,})"
        if job.trained_tokens:
            self.progress(_WATCHED, min(job.trained_tokens, self.tokens), self.tokens)
            return f" ({job.trained_tokens:,} tokens)"
        self.progress(f"{_WATCHED}: {self.provider.masked(job.status)}", 0, 1)
        return ""

    def _settled(self, record: TrainingRecord, job: HostedJob) -> TrainingRecord:
        """With what came of the job, its cost counted."""
        told = job.trained_tokens is not None or job.status == "failed"
        tokens = job.trained_tokens or 0 if told else self.tokens
        ended = record.model_copy(
            update={
                "trained_tokens": tokens,
                "cost_usd": self.training.cost_usd(tokens),
                "seconds": job.seconds,
                "failure": self._failure(job),
            }
        )
        if ended.failure is None:
            ended = ended.model_copy(update={"model": job.fine_tuned_model})
        completion = self._completion(ended, from_cache=False)
        answer = KeptAnswer.of(completion)
        cost = Cost(tokens, ended.cost_usd)
        name = self.training.base_model
        new = self.cache.keep(self.key, "completion", name, answer, cost, told=told)
        ended.write(self.folder)
        self.on_end(completion if new else self._completion(ended, from_cache=True))
        return ended

    def _failure(self, job: HostedJob) -> str | None:
        """Why there is no model, with the last of what the job has told."""
        if job.status == "succeeded" and job.fine_tuned_model:
            return None
        masked = self.provider.masked
        at = f"The training job {job.id} at {self.provider.url}"
        if job.status == "succeeded":
            return f"{at} has ended well and names no model."
        reason = masked(job.error.message) if job.error and job.error.message else ""
        events = [masked(event.message) for event in self.provider.events(job.id)]
        told = "; ".join(event for event in events[-_EVENTS_TOLD:] if event != reason)
        was = "was cancelled" if job.status == "cancelled" else "has failed"
        return (
            f"{at} {was}{f': {reason}' if reason else ''}".rstrip(".")
            + "."
            + (f" It told last: {told}".rstrip(".") + "." if told else "")
        )

    def _completion(self, record: TrainingRecord, *, from_cache: bool) -> Completion:
        outcome: Outcome = "failed" if record.failure else "answered"
        usage = Usage(
            tokens_in=record.trained_tokens,
            latency_ms=1000 * record.seconds,
            cost_usd=record.cost_usd,
            from_cache=from_cache,
        )
        return Completion(usage, record.model or "", (), outcome, record.failure)

    def _wait(self, looks: int) -> bool:
        """Waits before the job is looked at again; false where the time to wait is over."""
        left = self.until - time.monotonic()
        if left <= 0:
            return False
        rarer = 2.0 ** max(min(looks - _LOOKS_UNTIL_RARER, 20), 0)
        seconds = self.training.first_look_seconds * rarer
        time.sleep(min(seconds, self.training.longest_look_seconds, left))
        return True

    def _kept(self, record: TrainingRecord, **changes: object) -> TrainingRecord:
        changed = record.model_copy(update=changes)
        changed.write(self.folder)
        return changed


def _key(
    configuration: EndpointConfiguration,
    training: HostedTraining,
    file: TrainingFile,
    validation: TrainingFile,
    seed: int,
) -> str:
    """Equal for two trainings that an endpoint need do only once."""
    identity = f"{configuration.known_url}/fine_tuning/jobs"
    how: list[JsonValue] = [training.base_model, training.epochs, seed]
    return request_key(identity, "completion", [*how, file.sha256, validation.sha256])


@contextmanager
def _only_follower(folder: Path) -> Iterator[None]:
    """Holds the training's lock, so that two runs do not ask for the same job."""
    try:
        with FileLock(folder / ".lock", blocking=False):
            yield
    except Timeout:
        raise PlatformError(
            f"Another run follows the same training at the endpoint ({folder}).",
            "Wait until it has ended, and run again.",
        ) from None
