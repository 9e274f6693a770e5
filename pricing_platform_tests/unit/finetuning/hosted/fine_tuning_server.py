"""A server on loopback that fine-tunes as OpenAI's endpoint does, and then answers with the model.

It speaks files, jobs, events, models and chats; it reads the uploaded lines itself, by the rules
that OpenAI documents, and its model is one that has learnt from them: it answers with what stood
beside the most similar prompt. What it did stands in its log. Each look at a job brings it a step
on, so that nothing waits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pricing_platform_tests.unit.language.endpoint.loopback_http import (
    Request,
    Response,
    serving,
)

BASE = "gpt-small"
KEY = "sk-very-secret-0123456789/abc"
STATUSES = ("validating_files", "queued", "running", "running", "succeeded")
STEPS = 40
_SENTENCE = re.compile(r"\w+")


@dataclass
class Job:
    asked: dict[str, Any]
    number: int
    looks: int = 0
    status: str = STATUSES[0]
    error: dict[str, Any] | None = None
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return f"ftjob-{self.number}"

    @property
    def model(self) -> str:
        return f"ft:{self.asked['model']}:shop:{self.asked.get('suffix', '')}:{self.number}"

    @property
    def epochs(self) -> int:
        if "method" in self.asked:
            found = self.asked["method"]["supervised"]["hyperparameters"]["n_epochs"]
        else:
            found = self.asked["hyperparameters"]["n_epochs"]
        return int(found)


Rule = Callable[[Request, int], Response | None]
"""What is answered to the n-th request (from 0) of a method and path instead of doing it."""


def error(status: int, message: str, **headers: str) -> Response:
    body = json.dumps({"error": {"message": message, "type": "error", "code": None}})
    return Response(status, body.encode(), headers)


def always(method: str, path: str, response: Response) -> Rule:
    return lambda request, _number: (
        response if (request.method, bare(request)) == (method, path) else None
    )


def at_first(times: int, method: str, path: str, response: Response) -> Rule:
    rule = always(method, path, response)
    return lambda request, number: rule(request, number) if number < times else None


def bare(request: Request) -> str:
    return urlsplit(request.path).path.removeprefix("/v1")


@dataclass
class FineTuningServer:
    """``log`` holds each method and path that was done, and in brackets those that were refused.

    ``before`` is told of a request before it is done, ``done`` between that and its answer.
    """

    rule: Rule = lambda _request, _number: None
    fails: str | None = None
    cancels: bool = False
    lists_model: bool = True
    lists_files: bool = True
    lists_jobs: bool = True
    knows_method: bool = True
    keeps_metadata: bool = True
    goes_on: bool = False
    breaks_uploads: int = 0
    before: Callable[[str], None] = lambda _what: None
    done: Callable[[str], None] = lambda _what: None
    log: list[str] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    @contextmanager
    def running(self) -> Iterator[str]:
        """The base URL."""
        with serving(self._answer, self._breaks) as url:
            yield f"{url}/v1"

    def count(self, what: str) -> int:
        """How often a method and path was done."""
        return self.log.count(what)

    def chats(self, name: str = "training") -> list[dict[str, Any]]:
        """The lines of the uploaded file of this role."""
        (content,) = [content for at, content in self.files.values() if name in at]
        return [json.loads(line) for line in content.decode().splitlines()]

    def _breaks(self, request: Request) -> bool:
        if self.breaks_uploads and (request.method, bare(request)) == ("POST", "/files"):
            self.breaks_uploads -= 1
            return True
        return False

    async def _answer(self, request: Request) -> Response:
        what = f"{request.method} {bare(request)}"
        self.received.append(request.body)
        self.headers.append(request.headers)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            sent = request.headers.get("authorization", "").removeprefix("Bearer ")
            return error(401, f"Incorrect API key provided: {sent}.")
        instead = self.rule(request, self.log.count(f"({what})"))
        if instead is not None:
            self.log.append(f"({what})")
            return instead
        self.before(what)
        response = self._done(request, what)
        if response.status == 200:
            self.log.append(what)
            self.done(what)
        return response

    def _done(self, request: Request, what: str) -> Response:
        parts = bare(request).strip("/").split("/")
        if what == "POST /files":
            return self._upload(request)
        if what == "GET /files" and self.lists_files:
            files = [self._file(name) for name in reversed(self.files)]
            return _json(_page(files, request))
        if what == "POST /fine_tuning/jobs":
            return self._create(json.loads(request.body))
        if what == "GET /fine_tuning/jobs" and self.lists_jobs:
            jobs = [self._job(job) for job in reversed(self.jobs.values())]
            return _json(_page(jobs, request))
        if parts[:2] == ["fine_tuning", "jobs"] and len(parts) > 2:
            job = self.jobs.get(parts[2])
            if job is None:
                return error(404, "No such job")
            if parts[3:] == ["events"]:
                return _json(_page(list(reversed(job.events)), request))
            self._step(job)
            return _json(self._job(job))
        if what == "GET /models":
            made = [job.model for job in self.jobs.values() if job.status == "succeeded"]
            names = [BASE, *(made if self.lists_model else [])]
            return _json({"object": "list", "data": [{"id": name} for name in names]})
        if what == "POST /chat/completions":
            return self._chat(json.loads(request.body))
        return error(404, f"Unknown request URL: {what}")

    def _upload(self, request: Request) -> Response:
        parts = _multipart(request)
        if parts["purpose"][1] != b"fine-tune":
            return error(400, "purpose has to be fine-tune")
        name = f"file-{len(self.files) + 1}"
        self.files[name] = parts["file"]
        return _json(self._file(name))

    def _file(self, name: str) -> dict[str, Any]:
        filename, content = self.files[name]
        return {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": 1,
            "filename": filename,
            "purpose": "fine-tune",
            "status": "processed",
        }

    def _create(self, asked: dict[str, Any]) -> Response:
        if "method" in asked and not self.knows_method:
            return error(422, "body.method: Extra inputs are not permitted")
        if asked["model"] != BASE:
            return error(400, f"Model {asked['model']} is not available for fine-tuning")
        for name in ("training_file", "validation_file"):
            if asked.get(name) is not None and asked[name] not in self.files:
                return error(400, f"{name} {asked[name]} does not exist")
        job = Job(asked, len(self.jobs) + 1)
        job.events.append(_event(0, "Created fine-tuning job"))
        self.jobs[job.id] = job
        return _json(self._job(job))

    def _job(self, job: Job) -> dict[str, Any]:
        has_succeeded = job.status == "succeeded"
        return {
            "id": job.id,
            "object": "fine_tuning.job",
            "model": job.asked["model"],
            "created_at": 1_000,
            "finished_at": 1_090 if has_succeeded else None,
            "fine_tuned_model": job.model if has_succeeded else None,
            "status": job.status,
            "error": job.error or {},
            "training_file": job.asked["training_file"],
            "validation_file": job.asked.get("validation_file"),
            "trained_tokens": self._trained_tokens(job) if has_succeeded else None,
            "hyperparameters": {"n_epochs": job.epochs},
            "metadata": job.asked.get("metadata") if self.keeps_metadata else None,
        }

    def _trained_tokens(self, job: Job) -> int:
        chats = self._lines(job.asked["training_file"])
        words = sum(len(_words(turn["content"])) for chat in chats for turn in chat["messages"])
        return job.epochs * words

    def _step(self, job: Job) -> None:
        if job.status in ("succeeded", "failed", "cancelled"):
            return
        job.looks += 1
        job.status = STATUSES[min(job.looks, len(STATUSES) - 1 - self.goes_on)]
        if job.looks == 1:
            for name in ("training_file", "validation_file"):
                self._validate(job, name)
        if job.status == "running":
            step = 10 * job.looks
            job.events.append(
                _event(job.looks, f"Step {step}/{STEPS}: training loss=0.{job.looks}")
            )
            if self.fails is not None:
                job.status, job.error = "failed", {"code": "server_error", "message": self.fails}
            if self.cancels:
                job.status = "cancelled"

    def _validate(self, job: Job, name: str) -> None:
        """What OpenAI documents: lines of JSON, chats of known roles, an answer, ten of them."""
        if job.asked.get(name) is None:
            return
        problem = None
        try:
            chats = self._lines(job.asked[name])
        except ValueError:
            problem = f"{name}: a line is not JSON"
        else:
            if name == "training_file" and len(chats) < 10:
                problem = f"{name} has {len(chats)} example(s), but must have at least 10 examples"
            for number, chat in enumerate(chats, start=1):
                problem = problem or _fault(chat, number)
        if problem is not None:
            job.status = "failed"
            job.error = {"code": "invalid_training_file", "message": problem, "param": name}
            job.events.append(_event(job.looks, "Validation of the files failed"))

    def _lines(self, file: str) -> list[Any]:
        return [json.loads(line) for line in self.files[file][1].splitlines()]

    def _chat(self, body: dict[str, Any]) -> Response:
        made = {job.model: job for job in self.jobs.values() if job.status == "succeeded"}
        job = made.get(body["model"])
        if job is None:
            return error(404, f"The model {body['model']} does not exist")
        asked = _words(body["messages"][-1]["content"])
        chats = self._lines(job.asked["training_file"])
        best = max(chats, key=lambda chat: len(asked & _words(chat["messages"][-2]["content"])))
        said = best["messages"][-1]["content"]
        usage = {"prompt_tokens": len(asked), "completion_tokens": 4, "total_tokens": 4}
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": said}}
        return _json({"id": "x", "model": job.model, "choices": [choice], "usage": usage})


def _fault(chat: Any, number: int) -> str | None:
    if not isinstance(chat, dict) or set(chat) != {"messages"} or not chat["messages"]:
        return f"line {number}: no messages"
    for turn in chat["messages"]:
        if set(turn) != {"role", "content"}:
            return f"line {number}: a message has other keys than role and content"
        if turn["role"] not in ("system", "user", "assistant"):
            return f"line {number}: unknown role"
        if not isinstance(turn["content"], str) or not turn["content"].strip():
            return f"line {number}: a message without content"
    return None if chat["messages"][-1]["role"] == "assistant" else f"line {number}: no answer"


def _words(text: str) -> set[str]:
    return set(_SENTENCE.findall(text.lower()))


def _event(time: int, message: str) -> dict[str, Any]:
    return {
        "id": f"ftevent-{time}",
        "object": "fine_tuning.job.event",
        "created_at": time,
        "level": "info",
        "message": message,
        "type": "message",
        "data": None,
    }


def _page(found: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    """Two at a time, so that whoever wants all has to turn pages."""
    asked = parse_qs(urlsplit(request.path).query)
    after = asked.get("after", [None])[0]
    start = 1 + [one["id"] for one in found].index(after) if after is not None else 0
    size = int(asked.get("limit", ["2"])[0])
    page = found[start : start + size]
    return {"object": "list", "data": page, "has_more": start + size < len(found)}


def _json(value: Any) -> Response:
    return Response(200, json.dumps(value).encode())


def _multipart(request: Request) -> dict[str, tuple[str, bytes]]:
    """Name -> file name and content of each part."""
    boundary = request.headers["content-type"].split("boundary=")[1].encode()
    found = {}
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")  # between line breaks
        names = dict(re.findall(r'\b(name|filename)="([^"]*)"', head.decode()))
        found[names["name"]] = (names.get("filename", ""), content)
    return found
