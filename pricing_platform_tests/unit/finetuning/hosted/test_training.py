"""A training at an endpoint, spoken to over HTTP: done once whatever breaks, and told why not."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from pricing_platform.errors import PlatformError
from pricing_platform.language.response_cache import Budget, Cost
from pricing_platform_tests.unit.finetuning.hosted.conftest import Run, chats
from pricing_platform_tests.unit.finetuning.hosted.fine_tuning_server import (
    KEY,
    FineTuningServer,
    Rule,
    always,
    at_first,
    error,
)
from pricing_platform_tests.unit.language.endpoint.loopback_http import Response

FILES, JOBS = "POST /files", "POST /fine_tuning/jobs"
RESET = Response(reset=True)
IN_QUERY = "a-secret-in-the-query-0123"


def done(server: FineTuningServer) -> tuple[int, int]:
    """How many files and jobs the server has."""
    return server.count(FILES), server.count(JOBS)


def test_the_chats_become_a_model_and_what_it_took_is_counted(run: Run) -> None:
    server = FineTuningServer()
    with server.running() as url:
        model = run(url)
    assert model.name == server.jobs["ftjob-1"].model
    assert (model.examples, model.seconds) == (12, 90.0)
    job = server.jobs["ftjob-1"]
    assert job.epochs == 2
    assert job.asked["seed"] == 7
    assert len(server.chats()) == 12
    assert len(server.chats("validation")) == 3
    assert model.trained_tokens == server._trained_tokens(job) > 0
    assert model.cost_usd == pytest.approx(model.trained_tokens / 1000)
    assert run.cache.spending().total == Cost(model.trained_tokens, model.cost_usd)
    (ended,) = run.ended
    assert (ended.text, ended.outcome) == (model.name, "answered")
    assert (ended.usage.tokens_in, ended.usage.cost_usd) == (model.trained_tokens, model.cost_usd)
    assert ("fine-tuning at the endpoint", 20, 40) in run.told


def test_what_is_sent_and_logged_holds_no_key(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = FineTuningServer()
    with server.running() as url:
        run(f"{url}?code={IN_QUERY}")
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in server.headers)
    assert not any(KEY.encode() in body for body in server.received)
    assert KEY not in caplog.text
    assert IN_QUERY not in caplog.text
    kept = [path.read_text() for path in run.training.folder.rglob("*") if path.is_file()]
    assert len(kept) >= 3
    assert not any(secret in text for text in kept for secret in (KEY, IN_QUERY))


def test_the_same_again_asks_for_nothing_new(run: Run) -> None:
    server = FineTuningServer()
    with server.running() as url:
        first = run(url)
        assert run(url) == first
    assert done(server) == (2, 1)
    assert [at.usage.from_cache for at in run.ended] == [False, True]
    assert run.cache.spending().total.tokens == first.trained_tokens


def test_a_lost_home_finds_its_job_again(run: Run, tmp_path: Path) -> None:
    server = FineTuningServer()
    with server.running() as url:
        first = run(url)
        other = run(url, epochs=3)
        found = Run(tmp_path / "other", run.cache)(url)
    assert found == first
    assert other.name != first.name
    assert done(server) == (2, 2)


WINDOWS = {
    "before the upload is known to be done": ("done", FILES),
    "after the upload": ("before", "GET /fine_tuning/jobs"),
    "before the job is there": ("before", JOBS),
    "before the job is known to be there": ("done", JOBS),
    "while the job runs": ("done", "GET /fine_tuning/jobs/ftjob-1/events"),
    "before the end is known": ("done", "GET /fine_tuning/jobs/ftjob-1"),
    "after the end": ("before", "GET /models"),
}


def killed_at(server: FineTuningServer, window: str, url: str, folder: Path) -> None:
    """Has a process train at the endpoint, which kills it in this window."""
    when, what = WINDOWS[window]
    killed: list[str] = []

    def kill(did: str) -> None:
        if did == what and not killed:
            killed.append(did)
            client.kill()
            client.wait()
            if when == "before":
                raise ConnectionResetError("its request is not read to the end")

    setattr(server, when, kill)
    module = "pricing_platform_tests.unit.finetuning.hosted.killed_client"
    client = subprocess.Popen([sys.executable, "-m", module, url, str(folder)])
    assert client.wait(timeout=120) == -9
    assert killed == [what]


@pytest.mark.parametrize("window", WINDOWS)
def test_a_killed_run_goes_on_with_the_same_file_and_job(
    window: str, run: Run, tmp_path: Path
) -> None:
    server = FineTuningServer()
    with server.running() as url:
        killed_at(server, window, url, tmp_path)
        model = run(url)
    assert done(server) == (2, 1)
    assert model.name == server.jobs["ftjob-1"].model
    assert run.cache.spending().total == Cost(model.trained_tokens, model.cost_usd)


@pytest.mark.parametrize("window", ["after the upload", "while the job runs", "after the end"])
def test_where_nothing_is_listed_the_record_alone_is_gone_by(
    window: str, run: Run, tmp_path: Path
) -> None:
    server = FineTuningServer(lists_files=False, lists_jobs=False)
    with server.running() as url:
        killed_at(server, window, url, tmp_path)
        run(url)
    assert done(server) == (2, 1)


def test_where_no_keys_are_kept_a_job_is_known_by_its_file_and_epochs(
    run: Run, tmp_path: Path
) -> None:
    server = FineTuningServer(keeps_metadata=False)
    with server.running() as url:
        run(url, epochs=5)
        killed_at(server, "before the job is known to be there", url, tmp_path)
        model = run(url)
    assert done(server) == (2, 2)
    assert server.jobs[model.job].epochs == 2


@pytest.mark.parametrize("path", ["/files", "/fine_tuning/jobs"])
@pytest.mark.parametrize("fault", [RESET, error(500, "It broke"), error(429, "Slow down")])
def test_a_step_that_fails_for_a_while_is_made_again_but_not_twice(
    path: str, fault: Response, run: Run
) -> None:
    server = FineTuningServer(rule=at_first(2, "POST", path, fault))
    with server.running() as url:
        run(url)
    assert done(server) == (2, 1)


def test_a_job_whose_answer_was_lost_is_found_and_not_asked_for_again(run: Run) -> None:
    server = FineTuningServer()
    lost = Response(200, b"<html>a proxy's page</html>")

    def answered(request: Any, number: int) -> Response | None:
        if f"{request.method} {request.path}" != "POST /v1/fine_tuning/jobs" or number:
            return None
        server._done(request, JOBS)
        server.log.append(JOBS)
        return lost

    server.rule = answered
    with server.running() as url:
        run(url)
    assert done(server) == (2, 1)


def test_where_no_jobs_are_listed_a_lost_answer_is_for_people_to_look_into(run: Run) -> None:
    rule = always("POST", "/fine_tuning/jobs", RESET)
    server = FineTuningServer(lists_jobs=False, rule=rule)
    with server.running() as url:
        with pytest.raises(PlatformError, match="whether it was taken"):
            run(url)
        server.rule = lambda _request, _number: None
        with pytest.raises(PlatformError, match="whether it was taken") as again:
            run(url)
        assert done(server) == (2, 0)
        assert str(run.folder / "job.json") in again.value.remedy
        (run.folder / "job.json").unlink()
        run(url)
    assert server.count(JOBS) == 1


def test_an_upload_that_breaks_in_the_middle_is_made_again(run: Run) -> None:
    server = FineTuningServer(breaks_uploads=2)
    with server.running() as url:
        run(url, examples=3_000)
    assert server.breaks_uploads == 0
    assert len(server.chats()) == 3_000
    assert done(server) == (2, 1)


def test_an_endpoint_that_lists_nothing_and_knows_no_methods_does_as_well(run: Run) -> None:
    server = FineTuningServer(lists_files=False, lists_jobs=False, knows_method=False)
    with server.running() as url:
        run(url)
        run(url)
    job = server.jobs["ftjob-1"]
    assert job.epochs == 2
    assert "method" not in job.asked
    assert done(server) == (2, 1)


def test_a_job_that_goes_on_is_gone_on_with_by_the_next_run(run: Run) -> None:
    server = FineTuningServer(goes_on=True)
    with server.running() as url:
        with pytest.raises(PlatformError, match=r"ftjob-1 .* is still queued"):
            run(url, wait_seconds=0.0)
        with pytest.raises(PlatformError, match=r"still running \(step \d+ of 40\)") as told:
            run(url, wait_seconds=0.0)
        assert "Run again" in told.value.remedy
        assert run.ended == []
        assert run.cache.spending().total == Cost()
        server.goes_on = False
        run(url)
    assert done(server) == (2, 1)


def test_what_a_job_that_goes_on_will_cost_is_set_aside(run: Run) -> None:
    server = FineTuningServer(goes_on=True)
    with server.running() as url, pytest.raises(PlatformError, match="still"):
        run(url, wait_seconds=0.0)
    assert run.cache.claim("another", Cost(1, 0.0), Budget(tokens=100)) == "no room"


def test_a_job_that_failed_says_why_and_is_not_tried_again_by_itself(run: Run) -> None:
    server = FineTuningServer(fails="The GPUs melted.")
    with server.running() as url:
        with pytest.raises(PlatformError, match="ftjob-1") as told:
            run(url)
        assert "has failed: The GPUs melted." in told.value.problem
        assert "Step 20/40: training loss=0.2" in told.value.problem
        with pytest.raises(PlatformError, match="melted"):
            run(url)
        assert done(server) == (2, 1)
        assert [at.outcome for at in run.ended] == ["failed"]
        assert run.cache.claim("another", Cost(100, 0.0), Budget(tokens=100)) == "mine"
        shutil.rmtree(run.folder)
        server.fails = None
        run(url)
    assert done(server) == (2, 2)


def test_a_job_that_was_cancelled_is_counted_at_the_most_that_it_may_have_cost(run: Run) -> None:
    server = FineTuningServer(cancels=True)
    with server.running() as url, pytest.raises(PlatformError, match="was cancelled"):
        run(url)
    assert run.cache.spending().not_told.tokens > 0


def test_a_file_that_the_endpoint_finds_bad_is_told_in_its_words(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check here is stricter, so what it lets through is spoilt on the way."""
    server = FineTuningServer()
    upload = server._upload

    def spoilt(request: Any) -> Response:
        response = upload(request)
        for name, (filename, content) in list(server.files.items()):
            server.files[name] = (filename, content.replace(b'"assistant"', b'"helper"'))
        return response

    monkeypatch.setattr(server, "_upload", spoilt)
    with server.running() as url, pytest.raises(PlatformError) as told:
        run(url)
    assert "has failed: line 1: unknown role" in told.value.problem
    assert "Validation of the files failed" in told.value.problem


REFUSED: dict[str, tuple[Rule, str, str]] = {
    "key": (
        always("GET", "/files", error(401, f"Incorrect API key provided: {KEY}")),
        r"401: Incorrect API key provided: \*\*\*",
        "PRICING_LLM_API_KEY",
    ),
    "no fine-tuning": (
        always("POST", "/files", error(404, "Not here")),
        "does not fine-tune as OpenAI's does",
        "PRICING_LLM_FINE_TUNING=false",
    ),
    "quota": (
        always("POST", "/fine_tuning/jobs", error(429, "You exceeded your current quota")),
        "quota is used up",
        "provider",
    ),
    "slow down": (
        always("POST", "/fine_tuning/jobs", error(429, "Slow down")),
        "429: Slow down",
        "Run again",
    ),
    "not a model to fine-tune": (
        always("POST", "/fine_tuning/jobs", error(400, "Model x is not available")),
        "refuses the training of gpt-small. The server answered 400: Model x",
        "PRICING_LLM_FINE_TUNING_MODEL",
    ),
    "another page": (
        always("GET", "/fine_tuning/jobs", Response(200, f"<html>{KEY}</html>".encode())),
        r"something else than was asked for: <html>\*\*\*</html>",
        "Run again",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_told_and_nothing_stays_set_aside(name: str, run: Run) -> None:
    rule, problem, remedy = REFUSED[name]
    server = FineTuningServer(rule=rule)
    with server.running() as url, pytest.raises(PlatformError) as told:
        run(url)
    assert re.search(problem, told.value.problem)
    assert remedy in told.value.remedy
    assert KEY not in str(told.value)
    assert server.count(JOBS) == 0
    assert run.cache.claim("another", Cost(10, 0.0), Budget(tokens=10)) == "mine"


def test_a_server_that_is_not_there_is_told(run: Run) -> None:
    with pytest.raises(PlatformError, match="cannot be reached"):
        run("http://127.0.0.1:9/v1")


def test_a_model_that_is_not_listed_yet_is_waited_for(run: Run) -> None:
    server = FineTuningServer(lists_model=False)
    looks = 0

    def listed_at_the_third_look(did: str) -> None:
        nonlocal looks
        looks += did == "GET /models"
        server.lists_model = looks >= 3

    server.done = listed_at_the_third_look
    with server.running() as url:
        run(url)
    assert looks >= 3


def test_a_model_that_was_deleted_is_trained_anew_when_that_is_asked_for(run: Run) -> None:
    server = FineTuningServer()
    with server.running() as url:
        run(url)
        server.lists_model = False
        with pytest.raises(PlatformError, match="not among the models") as told:
            run(url, wait_seconds=0.0)
        assert f"delete {run.folder} to train anew" in told.value.remedy
        shutil.rmtree(run.folder)
        with pytest.raises(PlatformError, match="ftjob-2"):
            run(url, wait_seconds=0.0)
    assert done(server) == (2, 2)


def test_a_training_that_the_budget_has_no_room_for_is_refused_before_anything_is_sent(
    run: Run,
) -> None:
    server = FineTuningServer()
    with server.running() as url:
        with pytest.raises(PlatformError, match="no room for the training") as told:
            run(url, budget=Budget(usd=0.5))
        assert re.search(r"12 examples takes about [\d,]+ tokens in 2 epochs", str(told.value))
        with pytest.raises(PlatformError, match="what a training costs is not known"):
            run(url, budget=Budget(usd=5000.0), usd_per_million=None)
        with pytest.raises(PlatformError, match="no room"):
            run(url, budget=Budget(tokens=100))
        assert server.log == []
        assert run.cache.spending().total == Cost()
        run(url, budget=Budget(usd=5000.0))
    assert done(server) == (2, 1)


def test_chats_that_are_evaluated_on_are_not_sent(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "pricing_platform_tests.unit.finetuning.hosted.conftest.chats"
    monkeypatch.setattr(module, lambda count, start=0: chats(count))
    server = FineTuningServer()
    with server.running() as url, pytest.raises(PlatformError, match="evaluated on"):
        run(url)
    assert server.log == []


def test_a_damaged_record_is_told(run: Run) -> None:
    server = FineTuningServer()
    with server.running() as url:
        run(url)
        (run.folder / "job.json").write_text(json.dumps({"jobs": 1}))
        with pytest.raises(PlatformError, match=r"cannot be read: .*job\.json"):
            run(url)


def test_another_key_of_the_same_endpoint_follows_the_same_job(run: Run) -> None:
    """A key that was changed is no other training."""
    server = FineTuningServer(goes_on=True)
    with server.running() as url:
        with pytest.raises(PlatformError, match="still"):
            run(url, wait_seconds=0.0)
        with pytest.raises(PlatformError, match="PRICING_LLM_API_KEY"):
            run(url, api_key=SecretStr("sk-another"))
    assert done(server) == (2, 1)
