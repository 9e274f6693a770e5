"""How well retrieval finds what questions ask for: MRR, nDCG, coverage, and at what context size.

Here belong the questions and the scores. A passage is relevant to a keyword when it holds it, case
ignored; a question's scores are means over its keywords, and the ideal ranking of nDCG reorders the
passages that were retrieved. Longer passages score higher by themselves, so the size of the context
stands beside every score. How passages are found belongs to ``retrieval.search``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pricing_platform.errors import PlatformError
from pricing_platform.facts.configuration import configured_knowledge
from pricing_platform.resampling import (
    ClusterSums,
    percentile_interval,
    resampled_sums,
)
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.search import CHUNKS, search_many
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres

RETRIEVAL_QUALITY_VERSION = "1"
METRICS = ("mrr", "ndcg", "coverage", "context_characters")
ALL_CATEGORIES = "all"
_SHAPE = (
    'One object a line is expected, as in {"question": "…", "keywords": ["…"], "category": "…"}.'
)

RETRIEVAL_TABLES = ("evaluation.retrieval_quality", "evaluation.retrieved_questions")

SCORES_SCHEMA = pl.Schema(
    {
        "question": pl.String,
        "category": pl.String,
        "passages": pl.Int64,
        **dict.fromkeys(METRICS, pl.Float64),
        "first_passage": pl.String,
    }
)
QUALITY_SCHEMA = pl.Schema(
    {
        "category": pl.String,
        "metric": pl.String,
        "value": pl.Float64,
        "low": pl.Float64,
        "high": pl.Float64,
        "questions": pl.Int64,
    }
)


class Question(BaseModel):
    """A line of a question file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    question: str = Field(min_length=1)
    keywords: tuple[str, ...] = ()
    category: str = ALL_CATEGORIES
    reference_answer: str | None = None


def read_questions(path: Path, *, with_keywords: bool = False) -> list[Question]:
    """The questions of a JSON Lines file, in its order.

    Args:
        path: the file.
        with_keywords: refuse a question that has none, since it cannot be scored.

    Raises:
        PlatformError: naming the line that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise PlatformError(
            f"The questions {path} cannot be read: {error.strerror}.", _SHAPE
        ) from None
    except UnicodeDecodeError:
        raise PlatformError(f"The questions {path} are not UTF-8 text.", _SHAPE) from None
    questions = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            question = _question(path, number, line)
            if with_keywords and not question.keywords:
                raise PlatformError(f"{path}, line {number}: the question has no keywords.", _SHAPE)
            questions.append(question)
    if not questions:
        raise PlatformError(f"{path} holds no question.", _SHAPE)
    return questions


def _question(path: Path, number: int, line: str) -> Question:
    try:
        return Question.model_validate(json.loads(line))
    except json.JSONDecodeError as error:
        problem = f"{path}, line {number}: not JSON: {error.msg}."
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        problem = f"{path}, line {number}, {'.'.join(map(str, first['loc']))}: {first['msg']}."
    raise PlatformError(problem, _SHAPE)


def write_retrieved(
    path: Path, questions: Sequence[str], passages: Sequence[Sequence[str]]
) -> None:
    """Writes ``question`` and ``passages``, best first, as JSON Lines: the whole file or nothing.

    Raises:
        PlatformError: when the file cannot be written.
    """
    lines = [
        json.dumps({"question": question, "passages": list(found)}, ensure_ascii=False) + "\n"
        for question, found in zip(questions, passages, strict=True)
    ]
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text("".join(lines), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise PlatformError(
            f"{path} cannot be written: {error.strerror}.", "Name a file that you may write to."
        ) from None


def score_passages(keywords: Sequence[str], passages: Sequence[str]) -> dict[str, float]:
    """``mrr``, ``ndcg`` and ``coverage`` (a share) of the passages, best first, for a question."""
    texts = [passage.casefold() for passage in passages]
    hits = np.array([[word.casefold() in text for text in texts] for word in keywords], dtype=bool)
    hits = hits.reshape(len(keywords), len(passages))
    discounts = 1 / np.log2(np.arange(len(passages)) + 2)
    ideal = np.array([discounts[: row.sum()].sum() for row in hits])
    gained = hits @ discounts
    first = np.array([1 / (row.argmax() + 1) if row.any() else 0.0 for row in hits])
    return {
        "mrr": float(first.mean()),
        "ndcg": float(np.divide(gained, ideal, out=np.zeros_like(ideal), where=ideal > 0).mean()),
        "coverage": float(hits.any(axis=1).mean()),
    }


def scored_questions(
    questions: Sequence[Question], passages: Sequence[Sequence[str]]
) -> pl.DataFrame:
    """One row a question: its scores for the passages that were retrieved for it."""
    rows = [
        {
            "question": question.question,
            "category": question.category,
            "passages": len(found),
            **score_passages(question.keywords, found),
            "context_characters": float(sum(map(len, found))),
            "first_passage": found[0] if found else None,
        }
        for question, found in zip(questions, passages, strict=True)
    ]
    return pl.DataFrame(rows, schema=SCORES_SCHEMA)


def configured_questions(settings: Settings) -> list[Question]:
    """The questions that ``sources.toml`` names; none where it names none.

    Raises:
        PlatformError: when the file is wrong.
    """
    path = configured_knowledge(settings).questions
    return [] if path is None else read_questions(path, with_keywords=True)


def evaluate_retrieval(
    postgres: Postgres,
    encoder: CachedEncoder,
    questions: Sequence[Question],
    *,
    seed: int,
    k: int = 10,
    max_characters: int = 4000,
) -> dict[str, pl.DataFrame]:
    """The rows of the two tables, for what retrieval finds now within this context."""
    if not questions:
        empty = (QUALITY_SCHEMA.to_frame(), SCORES_SCHEMA.to_frame())
        return dict(zip(RETRIEVAL_TABLES, empty, strict=True))
    found = search_many(
        postgres,
        encoder,
        [at.question for at in questions],
        k=k,
        max_characters=max_characters,
        origins=CHUNKS,
    )
    scores = scored_questions(questions, [[passage.text for passage in at] for at in found])
    return dict(zip(RETRIEVAL_TABLES, (summarised(scores, seed=seed), scores), strict=True))


def summarised(scores: pl.DataFrame, *, seed: int, resamples: int = 2000) -> pl.DataFrame:
    """One row a category and metric: the mean over questions and its 95 % bootstrap interval."""
    whole = scores.with_columns(category=pl.lit(ALL_CATEGORIES))
    parts = [whole, *scores.partition_by("category", maintain_order=True)]
    if scores["category"].unique().to_list() == [ALL_CATEGORIES]:
        parts = [whole]
    rows = [row for part in parts for row in _summary(part, seed, resamples)]
    return pl.DataFrame(rows, schema=QUALITY_SCHEMA, orient="row").sort("category", "metric")


def _summary(
    scores: pl.DataFrame, seed: int, resamples: int
) -> list[tuple[str, str, float, float, float, int]]:
    values = scores.select(METRICS).to_numpy().astype(np.float64)
    count = len(values)
    group = ClusterSums(np.arange(count), values)
    (sums,) = resampled_sums([group], clusters=count, resamples=resamples, seed=seed)
    means, category = values.mean(axis=0), str(scores["category"][0])
    return [
        (category, metric, float(means[at]), *percentile_interval(sums[:, at] / count), count)
        for at, metric in enumerate(METRICS)
    ]
