"""Facts read from documents: which, of whom, where they stand, and what breaks nothing."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_platform.facts.extraction import LINE_LIMIT, VALUE_LIMIT, Statement, extract
from pricing_platform.facts.kinds import FactRules, normalise_attribute
from pricing_platform.retrieval.document_text import read_text
from pricing_platform.retrieval.documents import Document, normalise_subject

REAL = Path(__file__).parents[4] / "shared" / "data" / "insurellm" / "knowledge_base"


def document(content: str, title: str = "Ironvale") -> Document:
    subject = normalise_subject(title)
    return Document("s:a.md", "s", "a.md", "makers", title, subject, content, "0")


def facts(content: str, title: str = "Ironvale") -> dict[tuple[str, str], tuple[str, ...]]:
    return {(at.subject, at.attribute): at.values for at in extract(document(content, title))}


def own_facts(content: str) -> dict[str, tuple[str, ...]]:
    found = facts(content)
    assert {subject for subject, _ in found} <= {"ironvale"}
    return {attribute: values for (_, attribute), values in found.items()}


@pytest.mark.parametrize(
    "line",
    [
        "**Headquarters:** Oslo, Norway",
        "**Headquarters**: Oslo, Norway",
        "- **Headquarters:** Oslo, Norway  ",
        "* **Headquarters** : Oslo, Norway",
        "1. **Headquarters**: Oslo, Norway",
        "__Headquarters:__ Oslo, Norway",
        "> **Headquarters:** Oslo, Norway",
        "- **Headquarters:** *Oslo*, [Norway](https://example.com)",
        "- **Headquarters:** Oslo,\n  Norway",
        "Headquarters\n: Oslo, Norway",
        "Headquarters\n\n:   Oslo, Norway",
        "| Fact | Value |\n|---|---|\n| Headquarters | Oslo, Norway |",
        "| Fact | Value |\n|:--|--:|\n| **Headquarters** | *Oslo*, Norway |",
        "<b>x</b>\n\n- __Headquarters__: Oslo, Norway",
        "Ironvale is headquartered in Oslo, Norway.",
        "Pots. Today, **Ironvale** is headquartered\nin Oslo, Norway, by the sea.",
    ],
)
def test_a_fact_is_read_in_every_form(line: str) -> None:
    assert own_facts(f"# Ironvale\n\n{line}\n")["headquarters"] == ("Oslo, Norway",)


def test_lines_of_a_paragraph_are_facts_of_their_own() -> None:
    content = "**Contract Date:** April 1, 2025\n**Contract Number:** X-1\nThe client pays.\n"
    assert own_facts(content) == {
        "contract date": ("April 1, 2025",),
        "contract number": ("X-1 The client pays.",),
    }


def test_a_remark_under_a_value_is_no_part_of_it() -> None:
    content = (
        "## Reviews\n- **2023:** Rating: 4.9/5\n  *Excellent.*\n- **2022:** Good  \n  Or so.\n"
    )
    assert own_facts(content) == {"reviews 2023": ("Rating: 4.9/5",), "reviews 2022": ("Good",)}


def test_dates_and_tiers_stand_behind_their_heading() -> None:
    content = """# Ironvale
- **2019:** nothing without a heading
## Compensation History
- **2020:** Base Salary: $80,000
- **March 2021 - Present:** Base Salary: $90,000
- **2022:**
  - **Base Salary:** $95,000
  - **Bonus:** $5,000
## Pricing
- **Basic Tier**: $1,000/month for small firms
  - Core features.
- **Setup Fee**: $250, paid once
### Delivery
| Service level | Cost |
|---|---|
| Standard | $5 |
"""
    assert own_facts(content) == {
        "compensation history 2020": ("Base Salary: $80,000",),
        "compensation history march 2021 - present": ("Base Salary: $90,000",),
        "compensation history 2022 base salary": ("$95,000",),
        "compensation history 2022 bonus": ("$5,000",),
        "pricing basic tier": ("$1,000/month",),
        "setup fee": ("$250",),
        "cost standard": ("$5",),
    }


def test_who_signs_stands_behind_the_party() -> None:
    content = (
        "**Signatures:**\n\n**Insurellm, Inc.**\n**Title**: CEO\n\n**Oslo AS**\n**Title**: COO\n"
    )
    assert own_facts(content) == {
        "insurellm, inc title": ("CEO",),
        "oslo as title": ("COO",),
    }


@pytest.mark.parametrize(
    "content",
    [
        f"**Confidentiality:** {'both parties shall ' * 11}",
        "**Date:** ____________",
        "**Date:** [Date]",
        "**Parties:**",
        "**Included Features**: access to all of:\n- one",
        "```\n**Key:** value\n```",
        "    **Key:** value",
        "**Salary** $80,000",
        "| a | b | c |\n|---|---|---|\n| 1 | 2 | 3 |",
        "| Fact | Value |\n|---|---|\n| Founded | |",
    ],
)
def test_what_states_nothing_is_no_fact(content: str) -> None:
    assert own_facts(content) == {}


@pytest.mark.parametrize(
    ("sentence", "attribute", "values"),
    [
        ("Anna Berg is the CEO of Éclat Blanc.", "ceo", ("Anna Berg",)),
        ("Jordan K. Bishop is CEO of Éclat Blanc and likes it.", "ceo", ("Jordan K. Bishop",)),
        ("Now Dr. Mia O'Brien is the new president of Éclat Blanc.", "president", None),
        ("The Chief Executive Officer of Éclat Blanc is Anna Berg.", "ceo", ("Anna Berg",)),
        ("Soap. The managing director at Éclat Blanc is Li Wei.", "managing director", ("Li Wei",)),
        ("Éclat Blanc was founded by Anna Berg in 2015.", "founder", ("Anna Berg",)),
        ("Éclat Blanc was founded by Anna Berg in 2015.", "founded", ("2015",)),
        ("Éclat Blanc was founded in 2015 by Anna Berg.", "founded", ("2015",)),
        ("Éclat Blanc was founded on 3 May 2015.", "founded", ("3 May 2015",)),
        ("Éclat Blanc was founded by Anna Berg and Li Wei.", "founders", ("Anna Berg", "Li Wei")),
        ("Éclat Blanc has about 1,200 employees.", "employee count", ("1,200",)),
        ("Éclat Blanc is a small firm with 32 employees.", "employee count", ("32",)),
        ("As of 2025, Éclat Blanc employs 32 people, all of them here.", "employee count", None),
    ],
)
def test_a_safe_sentence_is_about_whom_it_names(
    sentence: str, attribute: str, values: tuple[str, ...] | None
) -> None:
    found = facts(f"# Guide\n\n{sentence}\n", "Guide")
    assert ("éclat blanc", attribute) in found
    assert values is None or found["éclat blanc", attribute] == values


@pytest.mark.parametrize(
    "sentence",
    [
        "If Anna Berg is the CEO of Ironvale, all is well.",
        "Anna Berg is no longer the CEO of Ironvale.",
        "Anna Berg was the CEO of Ironvale.",
        "Anna Berg is the former CEO of Ironvale.",
        "Anna Berg is the CEO of Ironvale's oldest rival.",
        "She is the CEO of Ironvale.",
        "It was founded in 2015.",
        "The company was founded in 2015.",
        "Ironvale was not founded in 2015.",
        "By 2020, Ironvale had reached a peak of 200 employees.",
        "Ironvale has 12 employees in its Oslo works.",
        "We heard that Anna Berg is the CEO of Ironvale.",
        "In 2010, Anna Berg is CEO of Ironvale.",
        "In May 2010, the CEO of Ironvale is Anna Berg.",
        "In 2010, Ironvale has 12 employees.",
        "In 2010, Ironvale is headquartered in Oslo.",
        "As of the end of 2015, Anna Berg is CEO of Ironvale.",
        "Since the merger, Ironvale has 12 employees.",
    ],
)
def test_other_sentences_state_nothing(sentence: str) -> None:
    assert facts(sentence) == {}


def test_an_appointment_holds_since_its_date() -> None:
    (stated,) = extract(document("Ben Ode was appointed CEO of Ironvale on 1 March 2025."))
    assert (stated.subject, stated.attribute, stated.values) == ("ironvale", "ceo", ("Ben Ode",))
    assert stated.valid_from == datetime(2025, 3, 1, tzinfo=UTC)
    (stated,) = extract(document("In June 2024, Ben Ode was named as the CFO of Ironvale."))
    assert stated.valid_from == datetime(2024, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sentence", "value"),
    [
        ("As of 2015, Tom Old is the CEO of Ironvale.", "Tom Old"),
        ("Since 2015 Tom Old is the CEO of Ironvale.", "Tom Old"),
        ("As of January 2015, the CEO of Ironvale is Tom Old.", "Tom Old"),
        ("As of January 1, 2015, Ironvale employs 32 people.", "32"),
        ("Since 2015, Ironvale is based in Oslo.", "Oslo"),
    ],
)
def test_what_is_said_since_a_date_holds_since_then(sentence: str, value: str) -> None:
    (stated,) = extract(document(sentence))
    assert stated.values == (value,)
    assert stated.valid_from == datetime(2015, 1, 1, tzinfo=UTC)


def test_what_holds_without_a_date_wins_over_what_held_since_one() -> None:
    old, new = "As of 2015, Tom Old is CEO of Ironvale.", "As of 2020, Cleo Das is CEO of Ironvale."
    appointed = "Ben Ode was appointed CEO of Ironvale in 2018."
    assert own_facts(f"{old} Anna Berg is the CEO of Ironvale.")["ceo"] == ("Anna Berg",)
    assert own_facts(f"{old} {new} {appointed}")["ceo"] == ("Cleo Das",)
    assert own_facts(f"{old} {appointed}")["ceo"] == ("Ben Ode",)


def test_the_first_mention_wins() -> None:
    assert own_facts("- **CEO:** Anna Berg\n\nBen Ode is the CEO of Ironvale.\n") == {
        "ceo": ("Anna Berg",)
    }
    assert own_facts("Ben Ode is the CEO of Ironvale.\n\n- **CEO:** Anna Berg\n") == {
        "ceo": ("Ben Ode",)
    }


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("Alpha, Beta and Gamma", ("Alpha", "Beta", "Gamma")),
        ("Alpha, Beta, and Gamma", ("Alpha", "Beta", "Gamma")),
        ("Alpha and Beta", ("Alpha", "Beta")),
        ("SQL, Java and Lisp. Learning R.", ("SQL, Java and Lisp. Learning R.",)),
        ("All is done, and well.", ("All is done, and well.",)),
        ("Alpha Inc., Beta Corp.", ("Alpha Inc.", "Beta Corp.")),
        ("Drag and drop", ("Drag and drop",)),
        ("Oslo, Norway; Bergen, Norway; and Paris", ("Oslo, Norway", "Bergen, Norway", "Paris")),
        ("Alpha (red, blue and green), Beta", ("Alpha (red, blue and green)", "Beta")),
        ("1,000 pots, Beta, Beta", ("1,000 pots", "Beta")),
        ("Alpha, , -, Beta,", ("Alpha", "Beta")),
        ("A" * 201 + ", Beta", ("Beta",)),
        (", ".join(f"Pot {n:03}" for n in range(40)), tuple(f"Pot {n:03}" for n in range(40))),
    ],
)
def test_a_list_is_several_values_where_several_hold(written: str, values: tuple[str, ...]) -> None:
    content = document(f"**Products:** {written}\n")
    assert [at.values for at in extract(content, FactRules())] == [values]
    content = document(f"**Address:** {written}\n")
    assert all(len(at.values) == 1 for at in extract(content, FactRules()))


def test_what_a_document_says_of_several_values_is_united() -> None:
    content = (
        "**Features:** Alpha, Beta\n\n**Features:** Gamma\n\n**Features:** Beta\n\n"
        "- **CEO:** Anna Berg\n- **CEO:** Ben Ode\n"
    )
    features, ceo = extract(document(content), FactRules())
    assert features.values == ("Alpha", "Beta", "Gamma")
    assert content[features.start_character : features.end_character] == "Alpha, Beta"
    assert ceo.values == ("Anna Berg",)
    assert extract(document(content))[0].values == ("Alpha, Beta",)


def test_of_a_list_of_any_length_as_much_is_taken_as_can_be_recorded() -> None:
    lines = "".join(f"**Features:** {chr(0x4E00 + n) * 100}\n\n" for n in range(99))
    (features,) = extract(document(lines), FactRules())
    assert 1 < len(features.values) < 9


def test_of_office_holders_the_one_who_holds_wins() -> None:
    first = "Anna Berg was appointed CEO of Ironvale in 2010."
    second = "Ben Ode was appointed CEO of Ironvale on 1 March 2025."
    holds = "The CEO of Ironvale is Cleo Das."
    leaves = "Anna Berg resigned as CEO of Ironvale."
    assert own_facts(f"{first} {second}")["ceo"] == ("Ben Ode",)
    assert own_facts(f"{first} {second} {holds}")["ceo"] == ("Cleo Das",)
    assert own_facts(f"- **CEO:** Anna Berg\n\n{leaves} {second}")["ceo"] == ("Ben Ode",)
    assert own_facts(f"- **CEO:** Anna Berg\n\n{leaves}")["ceo"] == ()


@given(
    st.lists(
        st.sampled_from(
            [
                "# Head\n\n",
                "## Part\n",
                "- **2020:** 5\n",
                "**Key**: *value*\n",
                "  - **Sub:** `x`\n",
                "Term\n: text\n\n",
                "| a | b |\n|---|---|\n| c | d |\n\n",
                "Anna Berg is the CEO of **Ironvale**. ",
                "Ironvale was founded by A. Li and B. Wu in 2015.\n\n",
                "```\n",
                "> ",
                "\r",
                "\x0b",
                "\\|",
                "&amp; $5/month",
            ]
        )
        | st.text(max_size=20),
        max_size=25,
    ).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_the_same_twice_and_every_fact_stands_in_it(content: str) -> None:
    rules = FactRules(multi=frozenset({"(?i).*[a-m]"}))
    found = extract(document(content), rules)
    assert found == extract(document(content), rules)
    assert len({(at.subject, at.attribute) for at in found}) == len(found)
    for at in found:
        assert 0 <= at.start_character < at.end_character <= len(content)
        assert at.subject == normalise_subject(at.subject) != ""
        assert at.attribute == normalise_attribute(at.attribute) != ""
        for value in at.values:
            assert 0 < len(value) <= VALUE_LIMIT
            assert value == " ".join(value.split())


@given(
    key=st.sampled_from(["CEO", "Warranty", "Größe", "Net weight"]),
    value=st.text(st.characters(categories=("L", "N"), max_codepoint=0x2FFF), min_size=1),
    before=st.text(max_size=50),
)
@settings(deadline=None)
def test_a_value_is_found_where_it_is_written(key: str, value: str, before: str) -> None:
    content = f"# Ironvale\n\n- **{key}:** {value}\n\n{before}"
    at = next(at for at in extract(document(content)) if at.start_character < 40)
    assert content[at.start_character : at.end_character] == value[:VALUE_LIMIT] == at.values[0]


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "*",
        "**a",
        "**a:** ",
        "[",
        "| a ",
        "> ",
        "- ",
        ": ",
        "A. ",
        "Anna ",
        "Anna Berg is the CEO of ",
        "Anna was founded by Anna, ",
        " ",
        "$5",
        "_",
        "`",
        "<",
        "A b. ",
    ],
)
def test_a_line_of_a_megabyte_is_passed_over_quickly(text: str) -> None:
    line = text * (1_000_000 // len(text))
    began = time.perf_counter()
    found = extract(document(f"{line}\n\n- **CEO:** Anna Berg\n"))
    assert time.perf_counter() - began < 1
    assert found[-1].values == ("Anna Berg",)


@pytest.mark.parametrize(
    "text", ["Anna Berg is the CEO of ", "A, ", "**a", "*a", "A ", "[x](", "$5 "]
)
def test_a_line_as_long_as_is_read_is_read_quickly(text: str) -> None:
    line = text * ((LINE_LIMIT - 10) // len(text))
    began = time.perf_counter()
    extract(document(f"**Key:** {line}\n\nfounded {line}\n\nCEO. {line}\n\nKey\n: {line}"))
    assert time.perf_counter() - began < 1


@cache
def real_statements() -> dict[str, list[Statement]]:
    """The statements of every document of Insurellm, by its path."""
    found = {}
    for path in sorted(REAL.rglob("*.md")):
        content = read_text(path.read_bytes(), html=False).content
        title = path.stem.partition(" - ")[0]
        found[path.relative_to(REAL).as_posix()] = extract(document(content, title))
    return found


@pytest.fixture
def real() -> dict[str, dict[tuple[str, str], tuple[str, ...]]]:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not there")
    return {
        path: {(at.subject, at.attribute): at.values for at in statements}
        for path, statements in real_statements().items()
    }


@pytest.mark.real_data
def test_every_employee_has_a_salary_a_title_a_birthday_and_a_place(
    real: dict[str, dict[tuple[str, str], tuple[str, ...]]],
) -> None:
    employees = {path: found for path, found in real.items() if path.startswith("employees/")}
    counts = Counter(attribute for found in employees.values() for _, attribute in found)
    assert len(employees) == 32
    for attribute in ("salary", "job title", "date of birth", "location"):
        assert counts[attribute] == 32, attribute
    assert counts["compensation history 2022"] >= 26


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("path", "subject", "attribute", "value"),
    [
        ("employees/Alex Chen.md", "alex chen", "salary", "$115,000"),
        (
            "employees/Alex Chen.md",
            "alex chen",
            "compensation history 2020",
            "Base Salary: $80,000",
        ),
        (
            "employees/Alex Harper.md",
            "alex harper",
            "compensation history 2022 base salary",
            "$65,000 (Promotion to Senior SDR)",
        ),
        (
            "employees/Avery Lancaster.md",
            "avery lancaster",
            "job title",
            "Co-Founder & Chief Executive Officer (CEO)",
        ),
        ("products/Carllm.md", "carllm", "pricing professional tier", "$2,500/month"),
        ("products/Healthllm.md", "healthllm", "pricing essential tier", "$8,000/month"),
        ("company/about.md", "insurellm", "founder", "Avery Lancaster"),
        ("company/about.md", "insurellm", "founded", "2015"),
        ("company/overview.md", "insurellm", "employee count", "32"),
        (
            "contracts/Contract with Metropolitan Life Group for Lifellm.md",
            "contract with metropolitan life group for lifellm",
            "contract number",
            "LF-2025-E-0087",
        ),
        (
            "contracts/Contract with Metropolitan Life Group for Lifellm.md",
            "contract with metropolitan life group for lifellm",
            "contract date",
            "April 5, 2025",
        ),
    ],
)
def test_facts_of_insurellm(
    real: dict[str, dict[tuple[str, str], tuple[str, ...]]],
    path: str,
    subject: str,
    attribute: str,
    value: str,
) -> None:
    assert real[path][subject, attribute] == (value,)
