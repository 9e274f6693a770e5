"""The card of an exported model: its README.md in the form of the Hugging Face hub.

Here belongs how what is known of a model is told. Finding it out belongs to whoever exports.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl
import yaml

from pricing_platform.currencies import price_decimals
from pricing_platform.finetuning.export.forms import ExportForm
from pricing_platform.finetuning.export.model_folders import BaseReference
from pricing_platform.language.local.quantization import Quantization
from pricing_platform.language.pretrained.card import NOT_STATED

CARD = "README.md"
_LIBRARIES: dict[ExportForm, str] = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}
_RELATIONS: dict[ExportForm, str] = {
    "adapter": "adapter",
    "merged": "finetune",
    "gguf": "quantized",
}
_LICENCES = frozenset(
    {
        *("apache-2.0", "mit", "openrail", "bigscience-bloom-rail-1.0", "gemma"),
        *("bsd-2-clause", "bsd-3-clause", "gpl-3.0", "agpl-3.0", "lgpl-3.0"),
        *("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0"),
        *("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3"),
    }
)
"""Of the hub's identifiers those that language models have; what is none of them is named."""


_READ_OUTS = {
    "histogram": "read with its price head",
    "digits": "read as the median of the numbers that it might write",
}


@dataclass(frozen=True)
class Training:
    """How the model came about.

    ``scale``: how strongly the adapters act. ``read_out``: how the estimates are read that were
    evaluated. ``quantization``: how the base's weights were held meanwhile.
    """

    technique: str
    checkpoint: str
    created_at: datetime
    items: int
    epochs: float
    rank: int
    adapted_share: float
    scale: float
    seconds: float | None
    read_out: Literal["histogram", "digits"] = "histogram"
    quantization: Quantization = "none"


@dataclass(frozen=True)
class Figure:
    """A share with its 95 % interval where that is known."""

    value: float
    low: float | None = None
    high: float | None = None

    def told(self) -> str:
        """In percent."""
        interval = (
            ""
            if self.low is None or self.high is None
            else f" (95 % interval {100 * self.low:.1f} to {100 * self.high:.1f})"
        )
        return f"{100 * self.value:.1f} %{interval}"


@dataclass(frozen=True)
class Forgotten:
    """Of the base model's general ability; both are below 0 where the model gained."""

    accuracy_lost: Figure
    perplexity_gained: Figure


@dataclass(frozen=True)
class Example:
    """A prompt as it was asked, and in a sentence what was answered."""

    item_id: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class ModelCard:
    """All that a card tells.

    Attributes:
        form: of the export.
        file: the GGUF file's name, where it is one.
        base: the model that was fine-tuned.
        base_sha256: over its content.
        licence: of the base, as its own card names it.
        currency: of the prices, as an ISO 4217 code.
        training: how the model came about.
        items: ``source``, ``split``, ``items`` and ``families``, one row each.
        metrics: rows of ``evaluation.leaderboard``, best first; None where this checkpoint was not
            evaluated.
        forgotten: None where it was not measured.
        example: how it is asked.
        shows_comparables: whether prompts have comparables in them.
    """

    form: ExportForm
    file: str | None
    base: BaseReference
    base_sha256: str
    licence: str
    currency: str
    training: Training
    items: pl.DataFrame
    metrics: pl.DataFrame | None
    forgotten: Forgotten | None
    example: Example
    shows_comparables: bool

    def write(self, folder: Path) -> None:
        """Writes it as the folder's README.md."""
        (folder / CARD).write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The whole as Markdown with YAML front matter."""
        front = yaml.safe_dump(self.front_matter(), sort_keys=False, allow_unicode=True)
        parts = [
            f"# {self.base.short_name}, fine-tuned to price products ({self.training.technique})",
            self._about(),
            "## How to ask it",
            self._asking(),
            "## What it was trained on",
            self._trained_on(),
            "## How well it prices",
            self._metrics(),
            "## What it forgot",
            self._forgetting(),
            "## Licence",
            f"That of the base model: {self.licence}. It says nothing of the listings that the"
            " model was trained on, nor of the documents behind them.",
            "## Limits",
            self._limits(),
        ]
        return f"---\n{front}---\n" + "\n\n".join(parts) + "\n"

    def front_matter(self) -> dict[str, Any]:
        """What the hub reads."""
        return {
            "base_model": self._base_name,
            "base_model_relation": _RELATIONS[self.form],
            **_licence_fields(self.licence),
            "library_name": _LIBRARIES[self.form],
            "pipeline_tag": "text-generation",
            "tags": ["price-estimation", "lora", self.training.technique],
            "datasets": self.items["source"].unique().sort().to_list(),
        }

    @property
    def _base_name(self) -> str:
        """As the hub knows it; a folder or file of one machine means nothing elsewhere."""
        return self.base.short_name if Path(self.base.name).is_absolute() else self.base.name

    def _about(self) -> str:
        scale = self.training.scale
        acting = (
            "The adapters act as they were trained."
            if scale == 1
            else f"The adapters act at {scale:g} of the strength they were trained at, since more"
            " of them forgets too much; that is in the weights already."
        )
        what = {
            "adapter": "A LoRA adapter (`adapter_model.safetensors`), and beside it, in"
            " `price_head/`, the network that reads a price off the adapted model's states.",
            "merged": "The base model's weights with the adapter added to them, in float32, with"
            " tokenizer and configuration: it needs no adapter and no base model.",
            "gguf": f"`{self.file}`: the base model's weights with the adapter added to them, for"
            " llama.cpp, with the tokenizer.",
        }[self.form]
        revision = f" at revision {self.base.revision}" if self.base.revision else ""
        read = (
            ""
            if self.base.gguf is None
            else f" It was read from `{self.base.gguf.name}`, whose weights were multiplied out to"
            " float32 where they are held in fewer bits."
        )
        return (
            f"{what} {acting}{self._held()}\n\nThe base model is `{self._base_name}`{revision}; the"
            f" sha256 over its weights, configuration and tokenizer is `{self.base_sha256}`.{read}"
        )

    def _held(self) -> str:
        """What is to be known of a model that was trained on weights in fewer bits."""
        bits = self.training.quantization.removesuffix("bit")
        if bits == "none":
            return ""
        trained = (
            f" They were trained, and their estimates evaluated, on the base model with its weights"
            f" held in {bits} bits by bitsandbytes"
        )
        if self.form == "adapter":
            return f"{trained}: load it so, or estimates differ a little."
        return f"{trained}; here they are added to its full weights, so estimates differ a little."

    def _asking(self) -> str:
        fence = _fence(self.example.prompt)
        return (
            f"{self._loading()}\n\nA prompt is the product's text and the beginning of its price,"
            " with no chat template around it"
            f"{', and between them what comparable products cost' * self.shows_comparables}."
            f" That of the item {_code(self.example.item_id)}, of the test split, is between the"
            f" fences, without a line break at its end:\n\n{fence}\n{self.example.prompt}\n{fence}"
            f"\n\n{self.example.answer}"
        )

    def _loading(self) -> str:
        if self.form == "adapter":
            return (
                "```python\n"
                "from peft import PeftModel\n"
                "from transformers import AutoModelForCausalLM\n\n"
                f"base = AutoModelForCausalLM.from_pretrained({self._base_argument})\n"
                'model = PeftModel.from_pretrained(base, "this folder")\n'
                "```\n\n"
                "With `PRICING_BASE_MODEL` set to this folder, `pricing_platform` asks the adapted"
                " model whatever it asks of a language model. It reads the price head with"
                " `pricing_platform.finetuning.export.model_folders.read_adapter`."
            )
        if self.form == "merged":
            return (
                "```python\n"
                "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
                'model = AutoModelForCausalLM.from_pretrained("this folder")\n'
                'tokenizer = AutoTokenizer.from_pretrained("this folder")\n'
                'inputs = tokenizer(prompt, return_tensors="pt")\n'
                "written = model.generate(**inputs, max_new_tokens=4, do_sample=False)\n"
                "```"
            )
        body = {"prompt": self.example.prompt, "max_tokens": 4, "temperature": 0, "stop": ["\n"]}
        told = json.dumps(body, ensure_ascii=False)
        fence = _fence(told)
        return (
            f"{fence}sh\n"
            f"llama-server -m {self.file}\n"
            "curl http://127.0.0.1:8080/v1/completions -H 'Content-Type: application/json'"
            f" --data @- <<'END'\n{told}\nEND\n{fence}"
        )

    @property
    def _base_argument(self) -> str:
        """What finds the base model by itself where it is on the hub, else words for people."""
        if self.base.revision is None:
            return '"the base model\'s folder"'
        return f'"{self.base.name}", revision="{self.base.revision}"'

    def _trained_on(self) -> str:
        told = self.training
        seconds = "" if told.seconds is None else f" in {told.seconds:,.0f} s"
        return (
            f"{told.items:,} items of the train split, {told.epochs:.3g} times each{seconds}: LoRA"
            f" of rank {told.rank} on the linear layers of the highest"
            f" {100 * told.adapted_share:.0f} % of the blocks. Checkpoint `{told.checkpoint}` of"
            f" {told.created_at:%Y-%m-%d}.\n\n"
            f"{_table(self.items)}\n\n"
            "A family is one product as any number of listings tell it; no family is in two splits."
            " Weights were learnt from train alone, validation chose among settings, and test is"
            " what is reported."
        )

    def _metrics(self) -> str:
        if self.metrics is None:
            return "This checkpoint has not been evaluated."
        decimals = price_decimals(self.currency)
        shown = self.metrics.select(
            "technique",
            "items",
            _with_interval("mae", decimals).alias(f"MAE, {self.currency} (95 %)"),
            _with_interval("mae_common", decimals).alias("MAE, common items (95 %)"),
            _with_interval("rmsle", 3).alias("RMSLE (95 %)"),
            _with_interval("within_20_percent", 3).alias("within 20 % (95 %)"),
        )
        return (
            f"On the test split, best first; {self.training.technique} is this model,"
            f" {_READ_OUTS[self.training.read_out]}. Intervals are bootstrapped by family."
            f"\n\n{_table(shown)}"
        )

    def _forgetting(self) -> str:
        if self.forgotten is None:
            return "It was not measured what this checkpoint forgot of general ability."
        return (
            "Against the base model, on questions of general knowledge and on general text:\n\n"
            f"- probe accuracy lost: {self.forgotten.accuracy_lost.told()};\n"
            f"- perplexity gained: {self.forgotten.perplexity_gained.told()}."
        )

    def _limits(self) -> str:
        lines = [
            f"It estimates prices in {self.currency} of products like those that it was trained"
            " on, as they were priced then; of anything else its estimate is a guess.",
            "It is not made to chat, and a product's text may mislead it: use no estimate without"
            " a look where much depends on it.",
        ]
        if self.form != "adapter" and self.training.read_out == "histogram":
            lines.append(
                "The errors above are those of the price head, which this form does not have; the"
                " numbers that the model writes were not evaluated."
            )
        if self.shows_comparables:
            lines.append(
                "It has learnt to price a product beside comparables and their prices. They have"
                " to be found for it, and are not part of this folder."
            )
        return "\n".join(f"- {line}" for line in lines)


def _licence_fields(licence: str) -> dict[str, str]:
    if licence == NOT_STATED:
        return {"license": "unknown"}
    if licence.lower() in _LICENCES:
        return {"license": licence.lower()}
    return {"license": "other", "license_name": licence}


def _with_interval(column: str, digits: int) -> pl.Expr:
    def told(row: dict[str, float | None]) -> str:
        value, low, high = (row[column + end] for end in ("", "_low", "_high"))
        if value is None:
            return ""
        interval = "" if low is None else f" ({low:,.{digits}f} to {high:,.{digits}f})"
        return f"{value:,.{digits}f}{interval}"

    return pl.struct(column, f"{column}_low", f"{column}_high").map_elements(told, pl.String)


def _table(frame: pl.DataFrame) -> str:
    rows = [frame.columns, ["---"] * frame.width, *frame.rows()]
    return "\n".join(f"| {' | '.join(_cell(value) for value in row)} |" for row in rows)


def _cell(value: object) -> str:
    text = f"{value:,}" if isinstance(value, int) else str("" if value is None else value)
    return re.sub(r"\s+", " ", text).replace("|", r"\|")


def _fence(text: str) -> str:
    """Longer than any that the text itself has in it."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    return "`" * max(3, longest + 1)


def _code(text: str) -> str:
    return f"`{text.replace('`', '')}`"
