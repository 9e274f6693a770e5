"""The assets of style and tone: adapters that answer as a house does, and how much they do."""

import time
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from pricing_platform.assets.reporting import (
    OWNERS,
    RefreshConfig,
    markdown_table,
    pictures,
    table_result,
)
from pricing_platform.errors import ModelNotAskedError, told_as_not_asked
from pricing_platform.evaluation.queries import run_query
from pricing_platform.evaluation.style_pictures import STYLE_PICTURES_VERSION, draw_style
from pricing_platform.facts.known_answers import known_answers
from pricing_platform.finetuning.checkpoints import Checkpoint, find_checkpoint, open_checkpoint
from pricing_platform.finetuning.style.configuration import configured_styles
from pricing_platform.finetuning.style.fitting import (
    STYLE_VERSION,
    StyleBase,
    StyleFitting,
    fit_style,
    open_style,
    read_description,
)
from pricing_platform.finetuning.style.measuring import (
    FINE_TUNED,
    HOUSE,
    MEASURING_VERSION,
    REPLY_SCHEMA,
    STYLE_SCHEMA,
    StyleSampling,
    measure_style,
)
from pricing_platform.finetuning.style.pairs import StylePairs
from pricing_platform.resources import LoggedProgress, PostgresResource, WarehouseResource
from pricing_platform.settings import Settings
from pricing_platform.stores.provenance import Refreshed, refresh
from pricing_platform.stores.warehouse import Warehouse, fingerprint

_STYLE, _REPLIES = "evaluation.style", "evaluation.style_replies"
_QUESTIONS = 12
_PLOTTED = ("perplexity", "percent_house", "percent_facts_written", "percent_facts_kept")


@dg.asset(
    deps=["base_model"],
    group_name="training",
    kinds={"pytorch", "huggingface"},
    owners=OWNERS,
    code_version=STYLE_VERSION,
    pool="training",
)
def style_adapter(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One checkpoint a style: a LoRA adapter of the language model, of a house's replies."""
    started, settings = time.perf_counter(), warehouse.settings()
    try:
        fittings = _fittings(settings)
    except ModelNotAskedError as error:
        context.log.error(f"No style was trained: {error}")
        return _nothing_trained(f"not trained: {error.problem}")
    if not fittings:
        return _nothing_trained("no style is configured")
    fitted = [
        fit_style(fitting, force=config.force, progress=progress.of(context))
        for fitting in fittings
    ]
    checkpoints = [checkpoint for checkpoint, _ in fitted]
    trained = sum(not reused for _, reused in fitted)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(_version(checkpoints)),
        metadata={
            **_told_of(checkpoints),
            "checkpoints": [str(checkpoint.path) for checkpoint in checkpoints],
            "trained": trained,
            "reused": trained == 0,
            "seconds": time.perf_counter() - started,
        },
    )


@dg.asset(
    deps=["style_adapter", "facts"],
    group_name="evaluation",
    kinds={"duckdb", "pytorch"},
    owners=OWNERS,
    code_version=MEASURING_VERSION,
    pool="training",
)
def style(
    context: dg.AssetExecutionContext,
    config: RefreshConfig,
    warehouse: WarehouseResource,
    postgres: PostgresResource,
    progress: dg.ResourceParam[LoggedProgress],
) -> dg.MaterializeResult[None]:
    """One row a style, variant and metric: whose replies sound like the house's, and keep facts."""
    started, store, settings = time.perf_counter(), warehouse.open(), warehouse.settings()
    with postgres.open() as server:
        guards = known_answers(server, _QUESTIONS)
    sampling = StyleSampling(replies=settings.style_replies)

    def measure(
        fittings: Sequence[StyleFitting], checkpoints: Sequence[Checkpoint]
    ) -> dict[str, pl.DataFrame]:
        found = [
            measure_style(
                fitting.pairs,
                fitting.base.opened(),
                open_style(checkpoint, fitting.base),
                guards,
                sampling,
                seed=settings.seed,
                progress=progress.of(context),
            )
            for fitting, checkpoint in zip(fittings, checkpoints, strict=True)
        ]
        return {
            _STYLE: pl.concat([STYLE_SCHEMA.to_frame(), *(at.metrics for at in found)]),
            _REPLIES: pl.concat([REPLY_SCHEMA.to_frame(), *(at.replies for at in found)]),
        }

    def measured() -> Refreshed:
        fittings = _fittings(settings)
        checkpoints = [_required(fitting) for fitting in fittings]
        return refresh(
            store,
            [_STYLE, _REPLIES],
            lambda _folder: measure(fittings, checkpoints),
            inputs=fingerprint(
                MEASURING_VERSION,
                STYLE_VERSION,
                _version(checkpoints),
                [fitting.pairs.version for fitting in fittings],
                [(guard.found.question, guard.found.answer, guard.superseded) for guard in guards],
                sampling,
                settings.seed,
            ),
            force=config.force,
        )

    try:
        refreshed, told = measured(), _headline(store, settings)
    except ModelNotAskedError as error:
        context.log.error(f"Nothing was measured, and what was before stands: {error}")
        refreshed, told = Refreshed({}, reused=True), {"summary": f"not measured: {error.problem}"}
    seconds = time.perf_counter() - started
    return table_result(store, _STYLE, refreshed, seconds=seconds, metadata=told)


def _fittings(settings: Settings) -> list[StyleFitting]:
    """What is to be trained; the base model is looked for only where there is a style."""
    styles = [StylePairs.read(source) for source in configured_styles(settings)]
    if not styles:
        return []
    with told_as_not_asked():
        base = StyleBase.from_settings(settings)
    return [StyleFitting.current(pairs, base, settings) for pairs in styles]


def _required(fitting: StyleFitting) -> Checkpoint:
    path = find_checkpoint(fitting.checkpoints, fitting.checkpoint_name, fitting.fingerprint)
    if path is None:
        raise ModelNotAskedError(
            f"The style {fitting.pairs.name} has not been trained on the current pairs and model.",
            "Materialize style_adapter: `pricing-platform run` does.",
        )
    return open_checkpoint(path)


def _nothing_trained(summary: str) -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(
        data_version=dg.DataVersion(fingerprint(summary)[:32]),
        metadata={"trained": 0, "summary": summary, "reused": True},
    )


def _version(checkpoints: Sequence[Checkpoint]) -> str:
    return fingerprint(*(sorted(at.manifest.files.items()) for at in checkpoints))[:32]


def _told_of(checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    """The figures of each training, and the style in words."""
    told: dict[str, Any] = {}
    for checkpoint in checkpoints:
        style = read_description(checkpoint)
        told |= {
            f"{style.name}/{metric}": value for metric, value in checkpoint.manifest.metrics.items()
        }
        told[f"{style.name}/style"] = dg.MetadataValue.text(style.described)
    return told


def _headline(store: Warehouse, settings: Settings) -> dict[str, Any]:
    """Numbers that plot over time, the tables, the replies beside each other, and the pictures."""
    found = run_query(store, "style")
    numbers = {
        f"{row['style']}/{row['variant']}/{name}": row[name]
        for row in found.iter_rows(named=True)
        for name in _PLOTTED
        if row[name] is not None
    }
    told = []
    for rows in found.partition_by("style"):
        share = dict(rows.select("variant", "percent_house").iter_rows())
        told.append(
            f"{rows['style'][0]}: {share[FINE_TUNED]:.0f} % of its replies taken for the house's"
            f" (base {share['base']:.0f} %, {HOUSE} {share[HOUSE]:.0f} %)"
        )
    return {
        **numbers,
        "table": dg.MetadataValue.md(markdown_table(found)),
        "replies": dg.MetadataValue.md(markdown_table(run_query(store, "style_replies"))),
        "summary": "; ".join(told) or "no style is configured",
        **pictures(
            settings.cache_folder / "pictures" / "style",
            fingerprint(STYLE_PICTURES_VERSION, store.data_version(_STYLE))[:32],
            lambda: draw_style(store),
        ),
    }
