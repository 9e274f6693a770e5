"""A style is trained once, loads as plain peft, and answers as it was taught."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.checkpoints import list_checkpoints, unfinished_folder
from pricing_platform.finetuning.language.plan import TrainingPlan
from pricing_platform.finetuning.style import fitting as fitting_module
from pricing_platform.finetuning.style.dialogue import reply_example, reply_prompt
from pricing_platform.finetuning.style.fitting import (
    fit_style,
    latest_style,
    open_style,
    read_description,
)
from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.settings import Settings
from pricing_platform_tests.unit.finetuning.language.tiny_base import write_tiny_base
from pricing_platform_tests.unit.finetuning.style.conftest import FittedStyle
from pricing_platform_tests.unit.finetuning.style.made_style import (
    made_style,
    style_base,
    style_fitting,
)


def losses(model: LocalLanguageModel, fitted: FittedStyle) -> float:
    """Nats a token of the held-out replies."""
    pairs = fitted.fitting.pairs.split("test")
    examples = [
        reply_example(model.tokenizer, reply_prompt(at.message, at.facts), at.reply) for at in pairs
    ]
    written = [list(at.ids[at.start :]) for at in examples]
    found = model.log_likelihoods([list(at.ids[: at.start]) for at in examples], written)
    return float(-found.sum() / sum(map(len, written)))


def test_it_is_trained_once_and_learns_the_tone(fitted_style: FittedStyle) -> None:
    fitting = fitted_style.fitting
    again, reused = fit_style(fitting)
    assert reused
    assert again.path == fitted_style.checkpoint.path
    base, styled = fitting.base.opened(), open_style(again, fitting.base)
    assert losses(styled, fitted_style) < 0.6 * losses(base, fitted_style)
    assert fitted_style.checkpoint.manifest.metrics["steps"] > 5


def test_the_checkpoint_says_what_it_is_of(fitted_style: FittedStyle) -> None:
    told = json.loads((fitted_style.checkpoint.path / "style.json").read_text(encoding="utf-8"))
    fitting = fitted_style.fitting
    assert told["name"] == "made"
    assert told["base_sha256"] == fitting.base.content_sha256
    assert told["pairs"] == len(fitting.pairs.split("train"))
    assert "Begin as in" in told["described"]
    files = {path.name for path in (fitted_style.checkpoint.path / "adapter").iterdir()}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}


def test_plain_peft_computes_what_the_opened_style_does(fitted_style: FittedStyle) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    fitting = fitted_style.fitting
    base = AutoModelForCausalLM.from_pretrained(fitting.base.folder, dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, str(fitted_style.checkpoint.path / "adapter")).eval()
    styled = open_style(fitted_style.checkpoint, fitting.base)
    merged = AutoModelForCausalLM.from_pretrained(styled.folder, dtype=torch.float32).eval()
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        torch.testing.assert_close(plain(ids).logits, merged(ids).logits, atol=1e-4, rtol=1e-4)
        # Of a base that was not adapted, a fresh copy: peft changes the one that it is given.
        untouched = AutoModelForCausalLM.from_pretrained(fitting.base.folder, dtype=torch.float32)
        assert (untouched(ids).logits - merged(ids).logits).abs().max() > 0.1
    tokenizers = (styled.tokenizer, fitting.base.opened().tokenizer)
    assert len({at.prompt_text(reply_prompt("lamp")) for at in tokenizers}) == 1


def test_a_killed_training_goes_on_with_its_plan_to_the_same_weights(
    fitted_style: FittedStyle, chat_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = style_fitting(chat_base, tmp_path)

    def killed(description: str, done: int, _total: int) -> None:
        if description == "training the adapters" and done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_style(fitting, progress=killed)
    assert unfinished_folder(fitting.checkpoints, "style_made", fitting.fingerprint).is_dir()
    # The machine is busier now, and would plan otherwise.
    monkeypatch.setattr(fitting_module, "_planned", lambda *_: TrainingPlan(3, 1.0))
    resumed, _ = fit_style(fitting)
    assert resumed.manifest.files == fitted_style.checkpoint.manifest.files
    assert not unfinished_folder(fitting.checkpoints, "style_made", fitting.fingerprint).exists()


def test_other_pairs_another_model_or_budget_are_another_training(
    fitted_style: FittedStyle,
) -> None:
    fitting = fitted_style.fitting
    others = [
        replace(fitting, pairs=made_style(122)),
        replace(fitting, base=replace(fitting.base, content_sha256="0" * 64)),
        replace(fitting, seconds=5.0),
        replace(fitting, seed=4),
    ]
    assert len({at.fingerprint for at in (fitting, *others)}) == 5
    assert replace(fitting, base=replace(fitting.base, name="b")).fingerprint == fitting.fingerprint


def test_a_style_of_another_base_model_is_refused(
    fitted_style: FittedStyle, tmp_path: Path
) -> None:
    other = style_base(write_tiny_base(tmp_path / "other", family="single_digits"), tmp_path)
    with pytest.raises(PlatformError, match="was trained on tiny; the base model is now"):
        open_style(fitted_style.checkpoint, other)


def test_the_newest_checkpoint_answers_and_none_is_told(
    fitted_style: FittedStyle, tmp_path: Path
) -> None:
    fitting = fitted_style.fitting
    settings = Settings(home=fitting.checkpoints.parent)
    assert list_checkpoints(settings.checkpoints_folder, "style_made")
    model = latest_style(settings, "made", fitting.base)
    assert model.name == "tiny + style made"
    assert read_description(fitted_style.checkpoint).name == "made"
    with pytest.raises(PlatformError, match="has not been trained yet"):
        latest_style(Settings(home=tmp_path), "made", fitting.base)


def test_likelihoods_are_those_of_a_plain_forward_pass(chat_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    module = AutoModelForCausalLM.from_pretrained(chat_base, dtype=torch.float32).eval()
    model = LocalLanguageModel.open("tiny", chat_base, precision="float32", device="cpu")
    random = np.random.default_rng(0)
    shared = random.integers(5, 400, 12).tolist()
    prompts = [[*shared, *random.integers(5, 400, n).tolist()] for n in (1, 5, 9, 3)]
    texts = [random.integers(5, 400, n).tolist() for n in (1, 7, 2, 4)]
    expected = []
    for prompt, text in zip(prompts, texts, strict=True):
        ids = torch.tensor([prompt + text])
        with torch.inference_mode():
            after = module(ids).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(text) - 1)
        expected.append(sum(float(after[at, ids[0, at + 1]]) for at in places))
    np.testing.assert_allclose(model.log_likelihoods(prompts, texts), expected, rtol=1e-4)
    np.testing.assert_allclose(
        model.log_likelihoods(prompts[:1], texts[:1]), expected[:1], rtol=1e-4
    )
