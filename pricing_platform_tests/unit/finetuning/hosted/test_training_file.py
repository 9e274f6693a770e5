"""What stands in a training file, and that one which an endpoint would refuse is refused here."""

from __future__ import annotations

import json

import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.hosted.training_file import (
    TrainingFile,
    check_training_file,
    price_chats,
    training_file,
)
from pricing_platform.language import prompts
from pricing_platform.language.model import Prompt
from pricing_platform_tests.unit.finetuning.hosted.conftest import USD, chats


def words(asked: object) -> list[int]:
    assert isinstance(asked, list)
    return [len(chat.as_text().split()) for chat in asked]


def file_of(*lines: object) -> TrainingFile:
    """Ten chats as they should be, and these lines after them."""
    right = training_file(chats(10), words, 100).content.decode()
    told = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return TrainingFile((right + "\n".join(told)).encode(), 10 + len(lines), 100)


def test_a_line_is_the_prompt_without_context_and_the_price_as_every_prompt_shows_it() -> None:
    text = 'A "lamp"\u2028with <product>a</product> é\n\nBrand: Oak'
    file = training_file(price_chats([text], [19.6], USD), words, 100)
    (line,) = file.content.decode("ascii").splitlines()
    asked = prompts.zero_shot(text, USD)
    told = [{"role": at.role, "content": at.content} for at in asked.messages]
    assert json.loads(line) == {"messages": [*told, {"role": "assistant", "content": "Price: $20"}]}


def test_chats_that_are_longer_than_the_window_are_left_out_and_counted() -> None:
    long = price_chats(["oak " * 200], [5.0], USD)
    file = training_file([*chats(11), *long], words, 60)
    assert (file.examples, file.too_long) == (11, 1)
    assert file.tokens == sum(words(chats(11)))
    check_training_file(file)
    with pytest.raises(PlatformError, match=r"at least 10 examples; there are 0; 12 are longer"):
        check_training_file(training_file([*chats(11), *long], words, 5))


@pytest.mark.parametrize(("count", "is_right"), [(9, False), (10, True)])
def test_it_takes_ten_chats(count: int, is_right: bool) -> None:
    file = training_file(chats(count), words, 100)
    if is_right:
        check_training_file(file)
    else:
        with pytest.raises(PlatformError, match="at least 10 examples; there are 9"):
            check_training_file(file)


SAID = {"role": "assistant", "content": "Price: $1"}
ASKED = {"role": "user", "content": "a desk"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "no chat"),
        ([1], "no chat"),
        ({"prompt": "a"}, "no chat: messages"),
        ({"messages": []}, "no chat: messages"),
        ({"messages": [ASKED, {"role": "tool", "content": "a"}]}, r"messages.1.role"),
        ({"messages": [ASKED, {"role": "assistant", "content": " \n"}]}, r"messages.1.content"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, r"messages.1.content"),
        ({"messages": [ASKED, {**SAID, "price": 1}]}, r"messages.1.price"),
        ({"messages": [SAID, ASKED]}, "does not end with the assistant's answer"),
        ({"messages": [{"role": "user", "content": "held out"}, SAID]}, "evaluated on"),
    ],
)
def test_a_line_that_an_endpoint_would_refuse_is_named(line: object, problem: str) -> None:
    with pytest.raises(PlatformError, match=rf"Line 11 of the training file .*{problem}"):
        check_training_file(file_of(line), held_out=["held out"])


def test_a_file_of_right_lines_passes_as_long_as_it_is_not_too_large() -> None:
    file = file_of({"messages": [ASKED, SAID]})
    check_training_file(file, held_out=["held out"])
    with pytest.raises(PlatformError, match="PRICING_LLM_FINE_TUNING_ITEMS"):
        check_training_file(file, largest=len(file.content) - 1)


def test_equal_chats_are_equal_files() -> None:
    def content(asked: list[Prompt]) -> str:
        return training_file(asked, words, 100).sha256

    assert content(chats(10)) == content(chats(10)) != content(chats(11))
