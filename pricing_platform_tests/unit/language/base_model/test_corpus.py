import json
import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import BaseModel

from pricing_platform.language import prompts
from pricing_platform.language.base_model.configuration import DocumentShares
from pricing_platform.language.base_model.corpus import Corpus, TrainingItems, divide
from pricing_platform.language.model import Tool
from pricing_platform_tests.unit.language.base_model.made_items import CURRENCY, TINY, made_items


class _Arguments(BaseModel):
    query: str


TOOLS = [
    Tool(name, f"what {name} does", _Arguments)
    for name in ("find_comparables", "price_statistics", "current_facts", "calculator")
]
KINDS = ("rag", "multi_shot", "zero_shot", "chain", "tools", "knowledge")


def corpus_of(
    kind: str | None = None, items: TrainingItems | None = None, shifted_share: float = 0.0
) -> Corpus:
    items = items or made_items()
    shares = DocumentShares(**{k: float(k == kind) for k in KINDS}) if kind else DocumentShares()
    settings = TINY.model_copy(update={"shares": shares, "shifted_share": shifted_share})
    knowledge = ["# Brand1\n**Warranty:** Brand1 gives two years.\n"]
    learnt = divide(items, settings).learnt
    return Corpus(items, learnt, knowledge, TOOLS, CURRENCY, settings, seed=3)


def item_numbers(text: str) -> list[int]:
    return [int(at) for at in re.findall(r"number (\d+)", text)]


def test_families_are_divided_whole_and_about_a_fifth_is_left_out() -> None:
    items = made_items(2_000)
    parts = divide(items, TINY)
    learnt = {items.families[row] for row in parts.learnt}
    assert learnt.isdisjoint(parts.left_out_families)
    assert set(parts.measured_families) < set(parts.left_out_families)
    assert set(parts.measured) < set(parts.left_out)
    assert len(parts.learnt) + len(parts.left_out) == 2_000
    assert 0.16 < len(parts.left_out) / 2_000 < 0.24


def test_an_item_without_a_family_is_one_alone() -> None:
    items = replace(made_items(2_000), families=[None] * 2_000)
    parts = divide(items, TINY)
    assert parts.left_out_families == []
    assert 0.16 < len(parts.left_out) / 2_000 < 0.24


@pytest.mark.parametrize("kind", KINDS)
def test_documents_hold_items_that_may_be_read_and_no_others(kind: str) -> None:
    corpus = corpus_of(kind)
    allowed = set(corpus.learnt.tolist())
    for number in range(150):
        text = corpus.document(number)
        assert set(item_numbers(text)) <= allowed
        assert text == corpus.document(number)


@pytest.mark.parametrize("kind", ["rag", "multi_shot", "tools", "chain"])
def test_no_item_of_the_own_family_stands_in_its_context(kind: str) -> None:
    corpus = corpus_of(kind)
    seen = 0
    for number in range(150):
        *_, own = item_numbers(re.split(r"<product>", corpus.document(number))[-1][:60])
        others = set(item_numbers(corpus.document(number))) - {own}
        seen += len(others)
        assert own // 2 not in {at // 2 for at in others}
    assert seen > 100


def test_each_pass_has_each_item_once_as_the_one_that_is_asked_about() -> None:
    corpus = corpus_of("zero_shot")
    size = len(corpus.learnt)
    passes = [[item_numbers(corpus.document(n))[0] for n in range(s, s + size)] for s in (0, size)]
    assert sorted(passes[0]) == sorted(passes[1]) == sorted(corpus.learnt.tolist())
    assert passes[0] != passes[1]


def test_a_rag_document_is_the_prompt_of_inference_with_the_most_similar_last() -> None:
    corpus = corpus_of("rag")
    row = int(corpus.learnt[0])
    near = [at for at in corpus.items.neighbours[row] if at in set(corpus.learnt.tolist())][:2]
    shown = [
        prompts.PricedText(corpus.items.texts[at], float(corpus.items.prices[at]))
        for at in near[::-1]
    ]
    asked = prompts.rag(corpus.items.texts[row], shown, [], CURRENCY).as_text()
    price = prompts.whole_price(corpus.items.prices[row])
    assert corpus.priced(row, 2) == f"{asked}{price}"


def test_documents_end_with_the_price_of_the_item_asked_about() -> None:
    corpus = corpus_of()
    priced = 0
    for number in range(100):
        text = corpus.document(number)
        if "<product>" not in text:
            continue
        own = item_numbers(text.split("<product>")[-1])[0]
        assert text.endswith(f"Price: ${prompts.whole_price(corpus.items.prices[own])}")
        priced += 1
    assert priced > 80


def test_tools_are_called_with_json_and_only_those_that_there_are() -> None:
    corpus = replace(corpus_of("tools"), tools=TOOLS[:2])
    used = set()
    for number in range(60):
        for name, arguments in re.findall(r"Action: (\w+) (\{\".*\})", corpus.document(number)):
            used.add(name)
            assert json.loads(arguments)
    assert used == {"find_comparables", "price_statistics"}


def test_without_knowledge_and_tools_there_are_no_such_documents() -> None:
    corpus = replace(corpus_of(), knowledge=[], tools=[])
    texts = [corpus.document(number) for number in range(200)]
    assert not any("Action:" in text or "Warranty" in text for text in texts)


def test_an_item_without_neighbours_is_asked_about_alone() -> None:
    items = made_items()
    alone = replace(items, neighbours=np.full_like(items.neighbours, -1))
    text = corpus_of("rag", alone).document(0)
    assert "<comparable" not in text
    assert "<product>" in text


def test_where_prices_are_shifted_all_of_a_document_are_shifted_alike() -> None:
    plain, shifted = corpus_of("rag"), corpus_of("rag", shifted_share=1.0)
    factors = []
    for number in range(40):
        text = shifted.document(number)
        shown = np.array([int(at) for at in re.findall(r"Price: \$(\d+)", text)])
        actual = plain.items.prices[item_numbers(text)]
        within = (shown > 20) & (shown < TINY.highest_price)
        if within.sum() < 2:
            continue
        ratio = shown[within] / actual[within]
        assert np.ptp(ratio) < 0.06
        factors.append(ratio.mean())
    assert len(factors) > 10
    assert 0.3 < np.std(np.log(factors)) < 1.0


def with_one_family_alone() -> TrainingItems:
    """Two learnt items of one family have a category of their own, and nothing is near them."""
    items = made_items()
    rows = corpus_of().learnt[:2]
    assert items.families[rows[0]] == items.families[rows[1]]
    items.prices[rows] = 777.0
    items.neighbours[rows] = -1
    categories = ["clock" if at in rows else name for at, name in enumerate(items.categories)]
    return replace(items, categories=categories)


@pytest.mark.parametrize("kind", ["rag", "multi_shot", "tools", "chain"])
def test_what_only_the_own_family_could_tell_of_the_price_stands_in_no_context(kind: str) -> None:
    corpus = corpus_of(kind, with_one_family_alone())
    asked = 0
    for number in range(8 * len(corpus.learnt)):
        text = corpus.document(number)
        if item_numbers(text.split("<product>")[-1])[0] in corpus.learnt[:2]:
            asked += 1
            assert text.count("$777") == 1
            assert text.endswith("Price: $777")
    assert asked == 16


def test_statistics_are_those_of_the_category_without_the_own_family() -> None:
    corpus = corpus_of("tools", with_one_family_alone())
    found: dict[str, str] = {}
    for number in range(8 * len(corpus.learnt)):
        text = corpus.document(number)
        own = item_numbers(text.split("<product>")[-1])[0]
        category = corpus.items.categories[own]
        result = re.search(r"price_statistics {.*?<result>\n(.*?)</result>", text, re.S)
        if result is None:
            continue
        found[category] = result[1].strip()
        prices = [
            corpus.items.prices[at]
            for at in corpus.learnt
            if corpus.items.categories[at] == category and at // 2 != own // 2
        ]
        if prices:
            median = prompts.whole_price(float(np.median(prices)))
            assert f"items: {len(prices)}\n" in found[category]
            assert f"median: ${median}\n" in found[category]
    assert found.keys() == {"clock", "lamp", "drill", "sofa", "cable"}
    assert found["clock"] == "nothing found"


@pytest.mark.parametrize("seed", range(20))
def test_few_families_are_not_left_out_until_little_remains(seed: int) -> None:
    items = replace(made_items(), families=[f"{seed}-{at // 80}" for at in range(160)])
    one = replace(made_items(), families=[f"{seed}"] * 160)
    assert len(divide(items, TINY).learnt) >= 80
    parts = divide(one, TINY)
    assert (len(parts.learnt), len(parts.left_out), len(parts.measured)) == (160, 0, 0)
    assert parts.left_out_families == parts.measured_families == []
