"""How much of a style a model has: by its surprise at the house's replies, and by its own.

Four variants are measured on conversations that nothing was learnt from: the base model, the base
model that is told the style, the same with examples, and the fine-tuned one; beside them the house.
Here belong the variants and the metrics; what is counted in a reply belongs to ``markers`` and
``classifier``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from pricing_platform.facts.written_answers import AnswerGuard
from pricing_platform.finetuning.style.classifier import StyleClassifier
from pricing_platform.finetuning.style.description import describe_style
from pricing_platform.finetuning.style.dialogue import (
    NO_HINTS,
    StyleHints,
    reply_example,
    reply_prompt,
)
from pricing_platform.finetuning.style.markers import MARKERS, markers_of
from pricing_platform.finetuning.style.pairs import StylePair, StylePairs
from pricing_platform.finetuning.style.writing import (
    complete_replies,
    styled_replies,
)
from pricing_platform.language.local.local_model import LocalLanguageModel
from pricing_platform.progress import Progress, silent
from pricing_platform.resampling import (
    ClusterSums,
    FamilyResampling,
    percentile_interval,
    resampled_sums,
)
from pricing_platform.stores.warehouse import fingerprint

MEASURING_VERSION = "2"

HOUSE = "house"
FINE_TUNED = "fine_tuned"
VARIANTS = ("base", "told", "shown", FINE_TUNED)
STYLE_SCHEMA = pl.Schema(
    {
        "style": pl.String,
        "variant": pl.String,
        "model": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "measured": pl.Int64,
        "conversations": pl.Int64,
    }
)
REPLY_SCHEMA = pl.Schema(
    {
        "style": pl.String,
        "conversation": pl.String,
        "variant": pl.String,
        "message": pl.String,
        "reply": pl.String,
        "house_probability": pl.Float64,
    }
)
_RESAMPLES = 1000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StyleSampling:
    """How much is measured.

    ``replies``: held-out messages that are replied to; ``scored``: held-out replies whose
    perplexity is taken; ``shown``: examples in a prompt; ``others``: messages of the training
    conversations whose replies by the base model the classifier learns from; ``max_tokens`` of a
    reply.
    """

    replies: int = 20
    scored: int = 60
    shown: int = 4
    others: int = 40
    max_tokens: int = 64


@dataclass(frozen=True)
class StyleMeasurement:
    """The rows of ``evaluation.style`` and of ``evaluation.style_replies``."""

    metrics: pl.DataFrame
    replies: pl.DataFrame


@dataclass(frozen=True, eq=False)
class StyleSample:
    """The pairs that one measurement is made on, drawn with a seed."""

    pairs: StylePairs
    sampling: StyleSampling
    seed: int

    @cached_property
    def scored(self) -> list[StylePair]:
        """Held-out pairs."""
        return self._drawn(self.pairs.split("test"), self.sampling.scored)

    @cached_property
    def asked(self) -> list[StylePair]:
        """Of these, the ones whose messages are replied to."""
        return self.scored[: self.sampling.replies]

    @cached_property
    def for_classifier(self) -> list[StylePair]:
        """Training pairs whose messages the base model replies to."""
        return self._drawn(self.pairs.split("train"), self.sampling.others)

    @cached_property
    def hints(self) -> Mapping[str, StyleHints]:
        """What each variant's prompt tells and shows."""
        train = self.pairs.split("train")
        told = describe_style([pair.reply for pair in train])
        shown = tuple(self._drawn(train, self.sampling.shown, purpose="shown"))
        return {
            "base": NO_HINTS,
            "told": StyleHints(told),
            "shown": StyleHints(told, shown),
            FINE_TUNED: NO_HINTS,
        }

    def _drawn(
        self, pairs: Sequence[StylePair], count: int, *, purpose: str = ""
    ) -> list[StylePair]:
        """So many pairs, one of each conversation before a second of any."""
        turns: dict[str, int] = {}
        ranked: list[tuple[int, int, StylePair]] = []
        for pair in sorted(pairs, key=lambda at: fingerprint(self.seed, purpose, at)):
            turn = turns[pair.conversation] = turns.get(pair.conversation, 0) + 1
            ranked.append((turn, len(ranked), pair))
        return [pair for _, _, pair in sorted(ranked, key=lambda at: at[:2])[:count]]


def measure_style(
    pairs: StylePairs,
    base: LocalLanguageModel,
    fine_tuned: LocalLanguageModel,
    guards: Sequence[AnswerGuard],
    sampling: StyleSampling,
    *,
    seed: int,
    progress: Progress = silent,
) -> StyleMeasurement:
    """Measures the four variants on held-out conversations.

    Args:
        pairs: of the style.
        base: the model that the style was trained on.
        fine_tuned: the same with the style.
        guards: questions whose answer is a known current fact.
        sampling: how much is measured.
        seed: of what is drawn and resampled.
        progress: is told how far it is.
    """
    sample = StyleSample(pairs, sampling, seed)
    models = {name: fine_tuned if name == FINE_TUNED else base for name in VARIANTS}
    steps = 2 * len(VARIANTS) + 1

    def told(step: int) -> None:
        progress(f"measuring the style {pairs.name}", step, steps)

    others = _replies(base, sample.for_classifier, NO_HINTS, sampling)
    house_train = [pair.reply for pair in pairs.split("train")]
    classifier = StyleClassifier.fit(house_train, others, seed=seed)
    told(1)
    replies = {HOUSE: [pair.reply for pair in sample.asked]}
    rows = _Rows(pairs.name, seed)
    losses: dict[str, Floats] = {}
    for place, (name, model) in enumerate(models.items()):
        losses[name], tokens = _losses(model, sample.scored, sample.hints[name])
        rows.perplexity(name, model.name, losses[name], losses["base"], tokens, sample.scored)
        told(2 + 2 * place)
        replies[name] = _replies(model, sample.asked, sample.hints[name], sampling)
        answers = styled_replies(model, guards, sample.hints[name], max_tokens=sampling.max_tokens)
        questions = [guard.found.question for guard in guards]
        kept = [
            guard.keeps_value(answer.written.sentence or guard.found.answer or "")
            for guard, answer in zip(guards, answers, strict=True)
        ]
        first = [answer.first_refusal is None for answer in answers]
        stands = [answer.written.sentence is not None for answer in answers]
        rows.means(name, model.name, "facts_written_at_first", first, questions)
        rows.means(name, model.name, "facts_written", stands, questions)
        rows.means(name, model.name, "facts_kept", kept, questions)
        told(3 + 2 * place)
    probabilities = {name: classifier.house_probability(found) for name, found in replies.items()}
    conversations = [pair.conversation for pair in sample.asked]
    for name, found in replies.items():
        model_name = models[name].name if name in models else HOUSE
        rows.replies(name, model_name, found, replies[HOUSE], conversations)
        is_house = probabilities[name] >= 0.5
        rows.means(name, model_name, "house_share", is_house, conversations)
    right = np.concatenate([probabilities[HOUSE] >= 0.5, probabilities["base"] < 0.5])
    rows.means(HOUSE, "classifier", "classifier_accuracy", right, conversations * 2)
    return StyleMeasurement(rows.frame(), _reply_rows(pairs.name, sample, replies, probabilities))


def _replies(
    model: LocalLanguageModel,
    pairs: Sequence[StylePair],
    hints: StyleHints,
    sampling: StyleSampling,
) -> list[str]:
    prompts = [reply_prompt(pair.message, pair.facts, hints) for pair in pairs]
    found = complete_replies(model, prompts, max_tokens=sampling.max_tokens)
    return [text for _, text in found]


def _losses(
    model: LocalLanguageModel, pairs: Sequence[StylePair], hints: StyleHints
) -> tuple[Floats, Floats]:
    """Nats and tokens of each house's reply, the token that ends it included."""
    examples = [
        reply_example(
            model.tokenizer,
            reply_prompt(pair.message, pair.facts, hints),
            pair.reply,
        )
        for pair in pairs
    ]
    read = [list(at.ids[: at.start]) for at in examples]
    written = [list(at.ids[at.start :]) for at in examples]
    tokens = np.array([len(ids) for ids in written], dtype=np.float64)
    return -model.log_likelihoods(read, written), tokens


@dataclass
class _Rows:
    """Collects the metrics of a style, each with its interval, clustered by conversation."""

    style: str
    seed: int
    _rows: list[tuple[object, ...]] = field(default_factory=list)

    def frame(self) -> pl.DataFrame:
        return pl.DataFrame(self._rows, schema=STYLE_SCHEMA, orient="row")

    def means(
        self,
        variant: str,
        model: str,
        metric: str,
        values: Sequence[bool] | Sequence[float] | npt.NDArray[np.bool_] | Floats,
        clusters: Sequence[str],
    ) -> None:
        """The mean over replies or questions; no row where there is none."""
        if not len(values):
            return
        numbers = np.asarray(values, dtype=np.float64)
        resampling = FamilyResampling.of(clusters, seed=self.seed)
        ends = resampling.interval(numbers)
        self._add(variant, model, metric, (float(numbers.mean()), *ends), clusters)

    def perplexity(
        self,
        variant: str,
        model: str,
        losses: Floats,
        of_base: Floats,
        tokens: Floats,
        pairs: Sequence[StylePair],
    ) -> None:
        """Per token, and in parts of the base model's on the same replies."""
        clusters = [pair.conversation for pair in pairs]
        place = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)[1].astype(np.int64)
        sums = ClusterSums.of(place, np.column_stack([losses, losses - of_base, tokens]))
        (drawn,) = resampled_sums(
            [sums], clusters=len(sums.clusters), resamples=_RESAMPLES, seed=self.seed
        )
        whole = sums.sums.sum(axis=0)
        for column, metric in enumerate(("perplexity", "perplexity_of_base")):
            if metric == "perplexity_of_base" and variant == "base":
                continue
            found = float(np.exp(whole[column] / whole[2]))
            ends = percentile_interval(np.exp(drawn[:, column] / drawn[:, 2]))
            self._add(variant, model, metric, (found, *ends), clusters)

    def replies(
        self,
        variant: str,
        model: str,
        found: Sequence[str],
        of_house: Sequence[str],
        conversations: Sequence[str],
    ) -> None:
        """Length, its distance to that of the house on the same messages, and the markers."""
        words = np.array([len(reply.split()) for reply in found], dtype=np.float64)
        house = np.array([len(reply.split()) for reply in of_house], dtype=np.float64)
        self.means(variant, model, "words", words, conversations)
        if variant != HOUSE:
            self.means(variant, model, "words_from_house", words - house, conversations)
        marked = [markers_of(reply) for reply in found]
        for marker in MARKERS:
            self.means(variant, model, marker, [at[marker] for at in marked], conversations)

    def _add(
        self,
        variant: str,
        model: str,
        metric: str,
        estimate: tuple[float, float | None, float | None],
        clusters: Sequence[str],
    ) -> None:
        counts = (len(clusters), len(set(clusters)))
        self._rows.append((self.style, variant, model, metric, *estimate, *counts))


def _reply_rows(
    style: str,
    sample: StyleSample,
    replies: Mapping[str, Sequence[str]],
    probabilities: Mapping[str, Floats],
) -> pl.DataFrame:
    rows = [
        (style, pair.conversation, name, pair.message, found[at], float(probabilities[name][at]))
        for at, pair in enumerate(sample.asked)
        for name, found in replies.items()
    ]
    return pl.DataFrame(rows, schema=REPLY_SCHEMA, orient="row")
