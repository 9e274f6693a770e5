"""Documents, facts and answers from the command line, as a user works with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pricing_platform.cli import app
from pricing_platform.errors import PlatformError
from pricing_platform_tests.integration.built_home import BuiltHome

Command = Callable[..., Result]

NORTHWIND = """# Northwind

- **CEO:** Ada Weir
- **Headquarters:** Lisbon

Northwind was founded by Ben Holt in 1998. It sells lamps and kettles to hotels.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, unconfigured: None) -> Path:
    """Documents that have been followed once, beside the home."""
    folder = Path(tmp_path_factory.mktemp("knowledge"))
    documents = folder / "handbook" / "makers"
    documents.mkdir(parents=True)
    (documents / "northwind.md").write_text(NORTHWIND)
    for name in ("Contoso", "Fabrikam", "Litware", "Adatum", "Tailspin"):
        (documents / f"{name}.md").write_text(f"# {name}\n\n- **CEO:** {name[:3]} Quill\n")
    (folder / "sources.toml").write_text('[[documents]]\nname = "handbook"\npath = "handbook"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRICING_HOME", str(folder / "home"))
        patch.setenv("PRICING_SOURCES", str(folder / "sources.toml"))
        followed = CliRunner().invoke(app, ["refresh", "--all"])
    assert "6 documents: 6 new" in followed.output, followed.output
    return folder


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setenv("PRICING_HOME", str(folder / "home"))
    monkeypatch.setenv("PRICING_SOURCES", str(folder / "sources.toml"))
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run


def answer(command: Command, question: str, *more: str) -> dict[str, str]:
    result = command("ask", question, "--json", *more)
    assert result.exit_code == 0, result.output
    found: dict[str, str] = json.loads(result.stdout)
    return found


def test_an_answer_follows_its_document(command: Command, folder: Path) -> None:
    question = "Who is the CEO of Northwind?"
    first = answer(command, question)
    assert first["answer"] == "Ada Weir"
    assert first["freshness"] == "fresh"
    assert first["source"] == "handbook:makers/northwind.md"

    document = folder / "handbook" / "makers" / "northwind.md"
    document.write_text(NORTHWIND.replace("Ada Weir", "Cleo Marsh"))
    refreshed = command("refresh", "--subject", "Northwind")
    assert refreshed.exit_code == 0, refreshed.output
    assert "1 changed" in refreshed.output
    assert answer(command, question)["answer"] == "Cleo Marsh"
    assert "Ada Weir" not in json.dumps(answer(command, question))

    history = command("facts", "northwind", "--history", "--format", "json").stdout
    values = {json.loads(line)["value"] for line in history.splitlines()}
    assert {"Ada Weir", "Cleo Marsh"} <= values
    current = command("facts", "Northwind", "--format", "json").stdout
    assert "Ada Weir" not in current
    assert "Cleo Marsh" in current


def test_what_nobody_knows_is_not_answered(command: Command) -> None:
    assert answer(command, "Who is the CEO of Unknownia?")["answer"] is None
    assert "comes closest" in command("ask", "Who is the CEO of Unknownia?").output
    assert isinstance(command("ask", "  ").exception, PlatformError)


def test_what_was_true_is_asked_for_by_date(command: Command) -> None:
    found = answer(command, "Who is the CEO of Contoso?", "--as-of", "2001-01-01")
    assert found["answer"] is None
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert answer(command, "Who is the CEO of Contoso?", "--as-of", now)["answer"] == "Con Quill"


def test_passages_are_written_for_scoring(command: Command, folder: Path) -> None:
    questions = folder / "questions.jsonl"
    questions.write_text(
        '{"question": "Who founded Northwind?"}\n{"question": "What is Litware?"}\n'
    )
    out = folder / "retrieved.jsonl"
    result = command(
        "retrieve", "--questions", str(questions), "--out", str(out), "--max-chars", "200"
    )
    assert result.exit_code == 0, result.output
    first, second = map(json.loads, out.read_text().splitlines())
    assert "Ben Holt" in first["passages"][0]
    assert second["question"] == "What is Litware?"
    assert all(sum(map(len, row["passages"])) <= 200 for row in (first, second))


def test_an_unknown_subject_is_told_with_what_is_like_it(command: Command) -> None:
    result = command("facts", "Northwynd")
    assert isinstance(result.exception, PlatformError)
    assert "northwind" in str(result.exception)


def test_a_folder_that_is_suddenly_empty_empties_nothing(
    command: Command, folder: Path, built_home: BuiltHome
) -> None:
    makers = folder / "handbook" / "makers"
    makers.rename(folder / "away")
    environment = {
        "PRICING_HOME": str(folder / "home"),
        "PRICING_SOURCES": str(folder / "sources.toml"),
    }
    refused = built_home.command("refresh", "--all", environment=environment)
    (folder / "away").rename(makers)
    assert refused.returncode == 1
    assert "6 of the 6 documents of handbook (100%)" in refused.stderr
    assert "PRICING_DELETION_SHARE_LIMIT" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert answer(command, "Who is the CEO of Contoso?")["answer"] == "Con Quill"
