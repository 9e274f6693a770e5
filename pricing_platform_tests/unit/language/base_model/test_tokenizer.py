import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.language.base_model.tokenizer import (
    BEGIN,
    END,
    PADDING,
    PriceTokens,
    train_tokenizer,
)
from pricing_platform.language.prompts import Currency, rag, zero_shot
from pricing_platform_tests.unit.language.base_model.made_items import CURRENCY, made_items


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    _trained().save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _trained() -> Any:
    return train_tokenizer(made_items().texts, CURRENCY, vocabulary=2_500, window=128)


def test_every_number_to_1000_between_non_digits_is_one_token(tokenizer: Any) -> None:
    for number in range(1_001):
        for before, after in (("a", "b"), ("$", "\n"), ("x-", "."), ("", "")):
            tokens = tokenizer(f"{before}{number}{after}", add_special_tokens=False).input_ids
            texts = [tokenizer.decode([token]) for token in tokens]
            assert texts.count(str(number)) == 1, texts


def test_a_price_after_the_answer_prefix_is_the_very_next_token(tokenizer: Any) -> None:
    asked = zero_shot("a lamp", CURRENCY).as_text()
    before = tokenizer(asked).input_ids
    for number in (1, 9, 10, 99, 100, 105, 999, 1_000):
        after = tokenizer(f"{asked}{number}").input_ids
        assert after == [*before, tokenizer.convert_tokens_to_ids(str(number))]


@given(text=st.text())
def test_nothing_is_unknown_and_nothing_is_lost(tokenizer: Any, text: str) -> None:
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(tokens) == text


def test_the_beginning_is_marked_once_and_the_end_by_no_one(tokenizer: Any) -> None:
    marks = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert len(set(marks)) == 3
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (BEGIN, END, PADDING)
    tokens = tokenizer("a lamp").input_ids
    assert [tokens.count(mark) for mark in marks] == [1, 0, 0]
    assert tokens[0] == tokenizer.bos_token_id


def test_prices_are_found_where_the_currency_stands_before_them(tokenizer: Any) -> None:
    found = PriceTokens.of(tokenizer, CURRENCY, 1_000)
    document = "lamp: $19\nweight: 12\nPrice: $35"
    tokens = np.array(tokenizer(document).input_ids)
    prices = [tokenizer.decode([token]) for token in tokens[found.places(tokens)]]
    assert prices == ["19", "35"]


@pytest.mark.parametrize("code", ["EUR", "GBP", "CHF"])
def test_another_currency_has_its_price_as_one_token_too(code: str) -> None:
    currency = Currency(code)
    trained = train_tokenizer(made_items().texts, currency, vocabulary=2_500, window=128)
    asked = zero_shot("a lamp", currency).as_text()
    tokens = trained(f"{asked}250").input_ids
    assert tokens == [*trained(asked).input_ids, trained.convert_tokens_to_ids("250")]
    assert len(PriceTokens.of(trained, currency, 1_000).places(np.array(tokens))) == 1


def test_the_marks_of_prompts_are_few_tokens(tokenizer: Any) -> None:
    from pricing_platform.language.prompts import PricedText

    shown = [PricedText("lamp", 20.0)] * 2
    one = len(tokenizer(rag("lamp", shown[:1], [], CURRENCY).as_text()).input_ids)
    two = len(tokenizer(rag("lamp", shown, [], CURRENCY).as_text()).input_ids)
    text = len(tokenizer("lamp", add_special_tokens=False).input_ids)
    assert two - one - text <= 7


def test_another_process_trains_the_same_tokenizer(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pricing_platform_tests.unit.language.base_model.test_tokenizer import _trained\n"
        "_trained().save_pretrained(sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "there")], check=True)
    _trained().save_pretrained(tmp_path / "here")
    written = [(tmp_path / name / "tokenizer.json").read_bytes() for name in ("here", "there")]
    assert written[0] == written[1]
