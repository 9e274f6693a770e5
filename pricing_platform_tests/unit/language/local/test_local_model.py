from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.language.local import LocalLanguageModel, network
from pricing_platform.language.model import CompletionRequest, LanguageModel, Message, Prompt
from pricing_platform_tests.unit.language.local import model_folders
from pricing_platform_tests.unit.language.local.asked import (
    TEXTS,
    distributions,
    opened,
    two_shots,
    zero_shot,
)


def test_is_a_language_model(folders: dict[str, Path]) -> None:
    assert isinstance(opened(folders["whole_numbers"]), LanguageModel)


def test_distributions_do_not_depend_on_how_they_are_computed(folder: Path) -> None:
    asked = [two_shots(text) for text in TEXTS]
    alone = np.concatenate([distributions(opened(folder), [prompt]) for prompt in asked])
    together = distributions(opened(folder), asked)
    without_prefix = distributions(opened(folder, shares_prefix=False), asked)
    small = distributions(opened(folder, batch_tokens=1), asked)
    turned = distributions(opened(folder), asked[::-1])[::-1]
    for found in (together, without_prefix, small, turned):
        np.testing.assert_allclose(found, alone, atol=2e-5)


def test_a_shared_prefix_is_computed_once_and_counted(folders: dict[str, Path]) -> None:
    asked = [two_shots(text) for text in TEXTS]
    for name in ("whole_numbers", "single_digits"):
        reused, computed = opened(folders[name]), opened(folders[name], shares_prefix=False)
        cached = {answer.usage.tokens_cached for _, answer in reused.read_prices(asked)}
        assert len(cached) == 1
        assert min(cached) > 40
        assert {a.usage.tokens_cached for _, a in computed.read_prices(asked)} == {0}
        lengths = reused.count_tokens(asked)
        for i, answer in reused.read_prices(asked):
            assert answer.usage.tokens_in == lengths[i] > answer.usage.tokens_cached
            assert answer.usage.latency_ms > 0


def test_texts_that_are_all_alike_are_answered_alike(folders: dict[str, Path]) -> None:
    found = distributions(opened(folders["whole_numbers"]), [zero_shot()] * 3)
    np.testing.assert_allclose(found[1:], found[:1].repeat(2, axis=0), atol=1e-6)


def test_prompts_with_different_answer_prefixes_are_read_after_their_own(folder: Path) -> None:
    model = opened(folder)
    asked = [zero_shot(), Prompt(zero_shot().messages, "Price: ", "a"), zero_shot("oak")]
    together = distributions(model, asked)
    alone = np.concatenate([distributions(model, [prompt]) for prompt in asked])
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_a_prompt_beyond_the_window_is_too_long_and_the_others_are_answered(folder: Path) -> None:
    model = opened(folder)
    asked = [zero_shot("oak " * 300), zero_shot("oak")]
    prices = dict(model.read_prices(asked))
    written = dict(model.complete(asked, CompletionRequest(max_tokens=4)))
    for found in (prices, written):
        assert [found[i].outcome for i in range(2)] == ["too_long", "answered"]
        assert str(model.context_window) in (found[0].reason or "")
    assert prices[0].distribution is None


def test_the_last_prompt_that_fits_is_answered(folders: dict[str, Path]) -> None:
    model = opened(folders["whole_numbers"])
    window, least = model.context_window, model.count_tokens([zero_shot("oak")])[0]
    asked = [zero_shot("oak" + " oak" * more) for more in (window - least - 1, window - least)]
    assert model.count_tokens(asked) == [window - 1, window]
    assert [a.outcome for _, a in sorted(model.read_prices(asked))] == ["too_long", "answered"][
        ::-1
    ]


@pytest.mark.parametrize("count", [1, 5])
def test_completions_are_those_of_one_greedy_step_after_the_other(folder: Path, count: int) -> None:
    import torch

    model = opened(folder)
    asked = [two_shots(text) for text in TEXTS[:count]]
    found = dict(model.complete(asked, CompletionRequest(max_tokens=6)))
    ends = {model._tokenizer.eos_id}
    for i, ids in enumerate(model._tokenizer.encode_prompts(asked)):
        written: list[int] = []
        while len(written) < 6 and not ends & set(written):
            with torch.inference_mode():
                logits = model._network.module(input_ids=torch.tensor([[*ids, *written]])).logits
            written.append(int(logits[0, -1].argmax()))
        text = model._tokenizer.decode_after(ids, [at for at in written if at not in ends])
        assert found[i].text == text
        assert found[i].usage.tokens_out == len(written)


def test_what_the_authors_generate_with_does_not_change_what_is_greedy(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = model_folders.copy(folders["merged_digits"], tmp_path / "model")
    authors: dict[str, Any] = {
        "repetition_penalty": 5.0,
        "no_repeat_ngram_size": 1,
        "min_new_tokens": 9,
    }
    authors |= {"bad_words_ids": [[at] for at in range(2, 200)], "do_sample": True, "num_beams": 3}
    (folder / "generation_config.json").write_text(json.dumps(authors))
    asked = [two_shots(text) for text in TEXTS]
    request = CompletionRequest(max_tokens=8)
    plain = dict(opened(folders["merged_digits"]).complete(asked, request))
    found = dict(opened(folder).complete(asked, request))
    assert [found[i].text for i in found] == [plain[i].text for i in found]


@pytest.mark.parametrize("family", ["whole_numbers", "three_digits", "single_digits"])
def test_a_model_that_would_not_write_a_number_refuses(folder: Path) -> None:
    asked = [zero_shot(text) for text in TEXTS]
    for _, answer in opened(folder, least_share=0.999).read_prices(asked):
        assert (answer.outcome, answer.distribution) == ("refused", None)
        assert re.fullmatch(
            r"The model puts only [\d.e-]+ % on a whole number up to 300\.", answer.reason or ""
        )
    for _, answer in opened(folder, least_share=1e-9).read_prices(asked):
        assert answer.outcome == "answered"


def test_a_stop_string_ends_an_answer_and_is_no_part_of_it(folder: Path) -> None:
    model = opened(folder)
    asked = [two_shots(text) for text in TEXTS]
    free = dict(model.complete(asked, CompletionRequest(max_tokens=12)))
    stop = next(c for c in free[0].text[2:] if c.strip())
    held = dict(model.complete(asked, CompletionRequest(max_tokens=12, stop=(stop,))))
    assert held[0].usage.tokens_out < free[0].usage.tokens_out
    for i, completion in held.items():
        assert completion.text == free[i].text.split(stop)[0]


def test_an_answer_ends_at_eos(folders: dict[str, Path], tmp_path: Path) -> None:
    import torch

    folder = model_folders.copy(folders["whole_numbers"], tmp_path / "model")
    model = opened(folder)
    first = next(iter(model.complete([zero_shot()], CompletionRequest(max_tokens=2))))[1]
    ids = model._tokenizer.encode_prompts([zero_shot()])[0]
    with torch.inference_mode():
        logits = model._network.module(input_ids=torch.tensor([ids])).logits
    path = folder / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [1, int(logits[0, -1].argmax())]}))
    ended = next(iter(opened(folder).complete([zero_shot()], CompletionRequest(max_tokens=2))))[1]
    assert (first.usage.tokens_out, ended.usage.tokens_out) == (2, 1)
    assert first.text
    assert ended.text == ""


def test_counting_reads_no_weights(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("pricing_platform.language.local.local_model.loaded_network", refuse)
    model = opened(folders["whole_numbers"])
    assert model.count_tokens([zero_shot()])[0] > 10
    assert model.context_window == 256
    assert model.identity
    with pytest.raises(AssertionError, match="weights were read"):
        list(model.read_prices([zero_shot()]))


def test_weights_are_read_once_in_a_process(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network.loaded_network.cache_clear()
    for _ in range(2):
        list(opened(folders["whole_numbers"]).read_prices([zero_shot()]))
    assert network.loaded_network.cache_info().misses == 1


def test_identity_follows_all_that_answers_depend_on(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = model_folders.copy(folders["whole_numbers"], tmp_path / "model")
    same = opened(folders["whole_numbers"]).identity
    seen = {same}
    assert opened(folder).identity == same
    for changed in (
        opened(folder, precision="bfloat16"),
        opened(folder, quantization="8bit"),
        opened(folder, highest_price=7),
        opened(folder, least_share=0.5),
    ):
        assert changed.identity not in seen
        seen.add(changed.identity)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        changed = opened(folder)
        assert changed.identity not in seen
        assert changed.base_weights != opened(folders["whole_numbers"]).base_weights
        seen.add(changed.identity)


def test_nothing_asked_is_nothing_answered(folders: dict[str, Path]) -> None:
    model = opened(folders["single_digits"])
    assert list(model.read_prices([])) == []
    assert list(model.complete([], CompletionRequest(max_tokens=1))) == []


@pytest.mark.parametrize("precision", ["bfloat16", "mixed"])
def test_less_precision_reads_about_the_same(folders: dict[str, Path], precision: str) -> None:
    asked = [zero_shot(text) for text in TEXTS]
    for name in ("whole_numbers", "single_digits"):
        exact = distributions(opened(folders[name]), asked)
        rough = distributions(opened(folders[name], precision=precision), asked)
        assert 0 < np.abs(exact - rough).sum(axis=1).max() < 0.2


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_weights_in_fewer_bits_read_about_the_same(tmp_path: Path, quantization: str) -> None:
    folder = model_folders.build("whole_numbers", tmp_path, hidden=128)
    asked = [zero_shot(text) for text in TEXTS]
    exact = distributions(opened(folder), asked)
    model = opened(folder, precision="bfloat16", quantization=quantization)
    assert 0 < np.abs(exact - distributions(model, asked)).sum(axis=1).mean() < 1.0
    layer = model._network.module.model.layers[0].mlp.up_proj
    assert layer.weight.nbytes <= {"8bit": 1, "4bit": 0.5}[quantization] * 128 * 256


def test_quantization_without_its_package_is_refused_with_the_remedy(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    model = LocalLanguageModel.open("tiny", folders["whole_numbers"], quantization="4bit")
    with pytest.raises(PlatformError, match="pip install bitsandbytes"):
        list(model.read_prices([zero_shot()]))


def test_a_model_without_any_number_fails_with_the_reason(folders: dict[str, Path]) -> None:
    from pricing_platform.language.local.local_model import _answer
    from pricing_platform.language.model import Usage

    prices = np.arange(3, dtype=np.float64)
    for bad in ([0, 0, 0], [np.nan, 1, 1]):
        answer = _answer(Usage(), prices, np.array(bad, dtype=np.float32), 0.01)
        assert (answer.outcome, answer.distribution) == ("failed", None)
        assert answer.reason
    good = _answer(Usage(), prices, np.array([0, 0.5, 0], dtype=np.float32), 0.01)
    assert good.distribution is not None
    assert good.distribution.quantile(0.5) == pytest.approx(1)


def test_a_message_of_another_role_is_told(folders: dict[str, Path]) -> None:
    turns = (Message("user", "oak"), Message("assistant", "hm"), Message("user", "lamp"))
    assert distributions(opened(folders["three_digits"]), [Prompt(turns, "Price: $")]).shape[0] == 1
