"""A seeded script changes documents, and knows what it changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.evaluation.mutations import Mutation, StatedFact, mutated

NAMES = ("Ada Weir", "Ben Holt", "Cleo Marsh", "Dan Frost", "Eve Quill", "Finn Rowe")


def document(name: str, number: int) -> str:
    return (
        f"# {name}\n\n- **Title:** Buyer {number}\n- **Salary:** ${90 + number},000\n"
        f"- **Born:** March {number + 1}, 1990\n\n{name} likes tea.\n"
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    written = {}
    for number, name in enumerate(NAMES):
        path = tmp_path / f"{name}.md"
        path.write_text(document(name, number))
        written[f"people:{name}.md"] = path
    return written


@pytest.fixture
def contents(files: dict[str, Path]) -> dict[str, str]:
    return {at: path.read_text() for at, path in files.items()}


def facts(contents: dict[str, str]) -> list[StatedFact]:
    found = []
    for document_id, content in contents.items():
        for line in content.splitlines():
            if line.startswith("- **"):
                attribute, value = line.removeprefix("- **").split(":** ")
                start = content.index(value)
                found.append(
                    StatedFact(
                        content[2 : content.index("\n")].casefold(),
                        attribute.casefold(),
                        "specification",
                        value,
                        document_id,
                        start,
                        start + len(value),
                    )
                )
    return found


def run(files: dict[str, Path], contents: dict[str, str], seed: int = 1) -> list[Mutation]:
    return mutated(facts(contents), files, contents, values=7, removed=1, renamed=1, seed=seed)


def test_values_documents_and_names_are_changed_on_disk(
    files: dict[str, Path], contents: dict[str, str]
) -> None:
    changes = run(files, contents)
    kinds = [at.change for at in changes]
    assert (kinds.count("value"), kinds.count("document_removed")) == (7, 1)
    assert kinds.count("subject_renamed") == 1
    for at in changes:
        if at.change == "value":
            text = files[at.document_id].read_text()
            assert at.new_value is not None
            assert at.new_value in text
            assert at.superseded not in text
            assert at.old_value != at.new_value
        elif at.change == "document_removed":
            assert not files[at.document_id].exists()
        else:
            texts = [path.read_text() for path in files.values() if path.exists()]
            assert not any(at.superseded in text.casefold() for text in texts)
            assert any(at.subject in text for text in texts)


def test_equal_seeds_change_the_same(files: dict[str, Path], contents: dict[str, str]) -> None:
    first = run(files, contents)
    changed = {at: path.read_text() for at, path in files.items() if path.exists()}
    for at, path in files.items():
        path.write_text(contents[at])
    assert run(files, contents) == first
    assert {at: path.read_text() for at, path in files.items() if path.exists()} == changed
    for at, path in files.items():
        path.write_text(contents[at])
    assert run(files, contents, seed=2) != first


def test_a_value_that_does_not_stand_in_the_file_is_left_alone(
    files: dict[str, Path], contents: dict[str, str]
) -> None:
    for path in files.values():
        path.write_text("something else")
    assert run(files, contents) == []
    assert {path.read_text() for path in files.values()} == {"something else"}
