"""Reading probes and texts: what is bundled, what may be given, what is refused."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.forgetting.configuration import bundled_forgetting
from pricing_platform.finetuning.forgetting.probes import Probe, read_probes, read_texts

IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.text(min_size=1).filter(lambda text: bool(text.strip()))


def written(folder: Path, *lines: object, name: str = "probes.jsonl") -> Path:
    path = folder / name
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(told), encoding="utf-8")
    return path


def read_or_refused(read: Callable[[list[Path]], list[Any]], path: Path) -> tuple[list[Any], str]:
    """What was read, or the problem that was told; any other error fails the test."""
    try:
        return read([path]), ""
    except PlatformError as error:
        return [], error.problem


def test_the_bundled_probes_are_of_four_kinds_and_each_has_one_answer() -> None:
    probes = read_probes(bundled_forgetting().probes)

    kinds = Counter(probe.kind for probe in probes)
    places = Counter(probe.answer for probe in probes)
    assert len(probes) >= 150
    assert set(kinds) == {"knowledge", "arithmetic", "language", "instruction"}
    assert min(kinds.values()) >= 40
    assert len({probe.question for probe in probes}) == len(probes)
    assert all(len(set(probe.choices)) == len(probe.choices) == 4 for probe in probes)
    assert max(places.values()) < 0.35 * len(probes)  # where the answer stands tells nothing


def test_the_bundled_text_is_long_and_is_not_repeated() -> None:
    texts = read_texts(bundled_forgetting().text)

    paragraphs = [line for text in texts for line in text.splitlines() if len(line) > 80]
    assert sum(len(text.encode()) for text in texts) >= 30_000
    assert len(texts) >= 4
    assert len(set(paragraphs)) == len(paragraphs)


def test_a_kind_may_be_left_out_and_a_choice_may_stand_twice(tmp_path: Path) -> None:
    line = {"question": " Which? ", "choices": ["a", "b ", "a"], "answer": 2, "id": 7}

    (probe,) = read_probes([written(tmp_path, line, "")])

    assert probe == Probe(question="Which?", choices=("a", "b", "a"), answer=2, kind="general")
    assert [probe.is_right(at) for at in range(3)] == [True, False, True]
    assert probe.chance == 2 / 3


def test_files_may_be_gzipped_and_begin_with_a_mark(tmp_path: Path) -> None:
    line = {"question": "Which?", "choices": ["a", "b"], "answer": 1}
    probes, text = tmp_path / "p.jsonl.gz", tmp_path / "t.txt.gz"
    probes.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(line).encode()))
    text.write_bytes(gzip.compress("Ein Text über Käse.\n".encode()))

    assert [probe.answer for probe in read_probes([probes])] == [1]
    assert read_texts([text]) == ["Ein Text über Käse."]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: "),
        ('{"question": "\\ud800", "choices": ["a", "b"], "answer": 0}', "line 2, question"),
        ("[" * 100_000, "line 2"),
        ({"choices": ["a", "b"], "answer": 0}, "line 2, question: Field required"),
        ({"question": " ", "choices": ["a", "b"], "answer": 0}, "line 2, question: it is empty"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "line 2, choices"),
        ({"question": "q", "choices": ["a", "a"], "answer": 0}, "choices: all of them are equal"),
        ({"question": "q", "choices": ["a", ""], "answer": 0}, "choices: one of them is empty"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "answer is 2, and the choices"),
        ({"question": "q", "choices": ["a", "b"], "answer": -1}, "line 2, answer"),
        ({"question": "q", "choices": ["a", "b"], "answer": "0"}, "line 2, answer"),
        ({"question": "q", "choices": ["a", "b"], "answer": True}, "line 2, answer"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: Any, told: str) -> None:
    good = {"question": "Which?", "choices": ["a", "b"], "answer": 1}

    with pytest.raises(PlatformError) as caught:
        read_probes([written(tmp_path, good, line)])

    assert told in caught.value.problem
    assert "probes.jsonl" in caught.value.problem
    assert "question" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"\n\n", "a.jsonl", "holds no question"),
        (b"\xff\xfe", "a.jsonl", "is not UTF-8"),
        (b"plain", "a.jsonl.gz", "is not gzipped"),
        (gzip.compress(b"x" * 999, mtime=0)[:-9], "a.jsonl.gz", "is not gzipped, or is cut off"),
        (None, "a.jsonl", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_told(
    tmp_path: Path, content: bytes | None, name: str, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(PlatformError, match=told):
        read_probes([path])


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="holds no text"):
        read_texts([written(tmp_path, " ", name="text.txt")])


@IN_ONE_FOLDER
@given(content=st.binary(max_size=200), suffix=st.sampled_from(["jsonl", "jsonl.gz"]))
def test_any_bytes_are_read_or_refused_for_people(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = tmp_path / f"any.{suffix}"
    path.write_bytes(content)

    for read in (read_probes, read_texts):
        found, problem = read_or_refused(read, path)
        assert found or path.name in problem


@IN_ONE_FOLDER
@given(value=ANYTHING | st.fixed_dictionaries(
    {"question": ANYTHING, "choices": ANYTHING, "answer": ANYTHING}
))  # fmt: skip
def test_any_line_of_json_is_read_or_refused_for_people(tmp_path: Path, value: Any) -> None:
    path = written(tmp_path, json.dumps(value))

    found, problem = read_or_refused(read_probes, path)

    assert all(probe.is_right(probe.answer) for probe in found)
    assert found or f"{path}, line 1" in problem


@IN_ONE_FOLDER
@given(
    st.lists(
        st.builds(
            lambda question, choices, answer: {
                "question": question,
                "choices": choices,
                "answer": answer % len(choices),
            },
            WORDS,
            st.lists(WORDS, min_size=2, max_size=5, unique_by=str.strip),
            st.integers(0, 100),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_was_written_is_read(tmp_path: Path, lines: list[dict[str, Any]]) -> None:
    path = tmp_path / "probes.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")

    found = read_probes([path])

    assert [probe.question for probe in found] == [line["question"].strip() for line in lines]
    assert [probe.choices[probe.answer] for probe in found] == [
        line["choices"][line["answer"]].strip() for line in lines
    ]
