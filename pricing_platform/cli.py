"""The command ``pricing-platform``.

Here belongs what a command's words mean and what it prints. What it does belongs to the packages
that it calls, which are imported only by the command that needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pricing_platform.console import (
    Format,
    messages,
    output,
    print_error,
    print_frame,
    print_leaderboard,
)
from pricing_platform.currencies import price_decimals, written_price
from pricing_platform.errors import PlatformError
from pricing_platform.finetuning.export.forms import ExportForm, GgufType
from pricing_platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from pricing_platform.catalog.sources import Source
    from pricing_platform.facts.answers import FoundAnswer
    from pricing_platform.facts.upkeep import UpkeepSummary
    from pricing_platform.facts.written_answers import WrittenAnswer
    from pricing_platform.pricing.serving.price_service import PricedFile
    from pricing_platform.retrieval.embedding_cache import CachedEncoder
    from pricing_platform.stores.postgres import Postgres

_ROWS_TOLD = 5
_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"]

app = typer.Typer(
    name="pricing-platform",
    help="Decides, with evidence, how product prices should be estimated by language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Runs the command line; a user's mistake ends with one message and the status 1."""
    try:
        app()
    except PlatformError as error:
        print_error(error)
        sys.exit(1)


@app.command()
def run(
    force: Annotated[
        bool, typer.Option(help="Recompute everything, also what has not changed.")
    ] = False,
) -> None:
    """Materialize everything, from listings to the leaderboard."""
    from pricing_platform.build import build_platform
    from pricing_platform.catalog.items import catalogue_currency
    from pricing_platform.evaluation.leaderboard import best_technique, leaderboard

    settings = load_settings()
    try:
        summary = build_platform(settings, force=force)
    except KeyboardInterrupt:
        messages.print("interrupted; what was done is kept: run the same command again to go on")
        raise typer.Exit(130) from None
    print_leaderboard(leaderboard(summary.warehouse), catalogue_currency(summary.warehouse))
    output.print(
        f"{summary.encoded:,} texts encoded, {summary.trained} techniques trained,"
        f" {summary.seconds:.0f} s"
    )
    output.print(
        f"Best on validation, and so what `price` uses: {best_technique(summary.warehouse)}"
    )
    for line in summary.refusals:
        messages.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    output.print(f"Report: {summary.report}", soft_wrap=True)
    output.print("UI:     pricing-platform ui", soft_wrap=True)


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 3000,
) -> None:
    """Open the Dagster UI on this machine, with its schedules."""
    from pricing_platform.instance import prepare_instance, require_free_port

    settings = load_settings()
    require_free_port(port)
    os.environ["DAGSTER_HOME"] = str(prepare_instance(settings))
    output.print(f"Dagster UI: http://127.0.0.1:{port}  (Ctrl-C ends it)")
    # What supersedes it is a package of its own, for those who write Dagster projects.
    quiet = ["-W", "ignore:Function `dev_command` is superseded"]
    served = ["-m", "pricing_platform.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *quiet, "-m", "dagster", "dev", *served])  # noqa: S606


@app.command()
def price(
    text: Annotated[str | None, typer.Argument(help="The product's text.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="A file of products: CSV, JSON, XML, Excel or Parquet.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the priced file (.parquet, .csv, .jsonl).")
    ] = None,
    technique: Annotated[
        str | None, typer.Option(help="By default the best one on validation.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Of sources.toml: whose files are written like --file.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what a language model was told and said.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Estimate the price of a text, or of every row of a file."""
    from pricing_platform.evaluation.leaderboard import best_technique
    from pricing_platform.pricing.serving.price_service import PricingService
    from pricing_platform.stores.warehouse import Warehouse

    if (text is None) == (file is None):
        raise PlatformError(
            "Give either a text or --file.",
            'As in: pricing-platform price "Steel water bottle, 1 litre" or --file new.csv.',
        )
    if (explain or as_json) and file is not None:
        raise PlatformError(
            "--explain and --json are for a text, not for --file.",
            "Leave them out; --out names the file of estimates, and its ending the format.",
        )
    if out is not None and text is not None:
        raise PlatformError("--out is for --file, not for a text.", "Leave it out, or use --json.")
    if source is not None and file is None:
        raise PlatformError("--source is for --file, not for a text.", "Leave it out.")
    settings = load_settings()
    written_like = None if source is None else _source_named(settings, source)
    chosen = technique or best_technique(Warehouse.from_settings(settings))
    with PricingService.open(settings, chosen) as service:
        if text is not None:
            priced = service.price_text(_readable(text), explained=explain or as_json)
            _print_priced_text(priced, as_json=as_json, explain=explain)
            return
        assert file is not None  # noqa: S101
        target = out or file.with_suffix(".priced.parquet")
        found = service.price_file(file, target, source=written_like)
        _print_priced_file(found, service.technique, target)


@app.command()
def export(
    technique: Annotated[str, typer.Argument(help="language_finetuned or rag_finetuned.")],
    folder: Annotated[Path, typer.Argument(help="Where to write; new, or empty.")],
    form: Annotated[
        ExportForm,
        typer.Option(
            "--as",
            help="An adapter for PEFT with the price head, a whole model, or a file for llama.cpp.",
        ),
    ] = "adapter",
    gguf_type: Annotated[
        GgufType | None,
        typer.Option(help="How --as gguf holds the weights; f16 if nothing is said."),
    ] = None,
) -> None:
    """Give away a fine-tuned language model, with a card that says what it is."""
    from pricing_platform.console import TerminalProgress
    from pricing_platform.pricing.finetuned.export.exporting import export_technique

    if gguf_type is not None and form != "gguf":
        raise PlatformError("--gguf-type is for --as gguf.", "Leave it out, or add --as gguf.")
    settings = load_settings()
    with TerminalProgress().shown() as progress:
        exported = export_technique(
            settings,
            technique,
            folder,
            form=form,
            gguf_type=gguf_type or "f16",
            progress=progress.report,
        )
    output.print(
        f"{technique} as {form}: {len(exported.files)} files, {exported.size / 1e6:,.1f} MB, in"
        f" {exported.folder}",
        soft_wrap=True,
    )
    if exported.adapter_scale != 1:
        output.print(
            f"Its adapters act at {exported.adapter_scale:g} of their strength: more of them"
            " forgets more than PRICING_FORGETTING_LIMIT."
        )


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SQL statement, or @file.sql.")],
    postgres: Annotated[
        bool, typer.Option("--postgres", help="Ask Postgres instead of DuckDB.")
    ] = False,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="name=value, for $name.")
    ] = None,
    layout: Annotated[Format, typer.Option("--format", help="table, csv or json")] = "table",
) -> None:
    """Ask the warehouse (or Postgres) in SQL; nothing can be changed."""
    from pricing_platform.stores.queries import query_postgres, query_warehouse

    parameters = dict(_name_and_value(text) for text in parameter or [])
    ask = query_postgres if postgres else query_warehouse
    print_frame(ask(load_settings(), _query_text(query), parameters), layout)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="As in: Who is the CEO of Northwind?")],
    k: Annotated[int, typer.Option(min=1, help="How many passages and facts to show.")] = 5,
    as_of: Annotated[
        datetime | None,
        typer.Option(formats=_DATES, help="What facts said at this time (UTC), as is known now."),
    ] = None,
    extract: Annotated[
        bool, typer.Option("--extract", help="Never ask a language model for a sentence.")
    ] = False,
    style: Annotated[
        str | None,
        typer.Option(help="Let the sentence be written in the style of this name in sources.toml."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Answer a question from the documents and facts, with its age.

    The answer is found. Where a language model is named (PRICING_LLM_BASE_URL or
    PRICING_BASE_MODEL) it writes a sentence, which stands only if it says what was found.
    """
    from pricing_platform.facts.answers import answer, answer_as_of
    from pricing_platform.facts.configuration import configured_knowledge

    question = _readable(question).strip()
    if not question:
        raise PlatformError("The question is empty.", 'As in: pricing-platform ask "Who is …?"')
    if style is not None and (extract or as_of):
        raise PlatformError(
            "--style is for an answer that is written, of what holds now.",
            "Leave out --extract and --as-of, or --style.",
        )
    with _knowledge_stores() as (settings, server, encoder):
        if as_of is None:
            rules = configured_knowledge(settings).rules
            found = answer(server, encoder, question, rules=rules, k=k)
        else:
            found = answer_as_of(server, encoder, question, as_of.replace(tzinfo=UTC), k=k)
        written: WrittenAnswer | None = None
        if style is not None:
            written = _styled_or_found(settings, server, found, style)
        elif not extract and not as_of:
            written = _written(settings, server, found)
    if as_json:
        output.print_json(found.to_json(sentence=written.sentence if written else None))
        return
    _print_answer(found, written)


@app.command()
def reply(
    message: Annotated[str, typer.Argument(help="A customer's message.")],
    style: Annotated[
        str | None,
        typer.Option(
            help="The name of a style in sources.toml; not needed where there is only one."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of text.")] = False,
) -> None:
    """Reply to a message in the house's style, from the documents and facts.

    What answers the message is found first. The reply of the language model that was trained on the
    style stands only if it says that, and no number or value that is not known.
    """
    from pricing_platform.facts.answers import answer
    from pricing_platform.facts.configuration import configured_knowledge

    message = _readable(message).strip()
    if not message:
        raise PlatformError("The message is empty.", 'As in: pricing-platform reply "Where …?"')
    with _knowledge_stores() as (settings, server, encoder):
        rules = configured_knowledge(settings).rules
        found = answer(server, encoder, message, rules=rules)
        written = _styled(settings, server, found, style)
    if as_json:
        output.print_json(found.to_json(sentence=written.sentence))
    elif written.sentence and found.answer is None:
        output.print(written.sentence, markup=False, soft_wrap=True)
    else:
        _print_answer(found, written)
    if not written.sentence and found.answer is None:
        reason = (written.reason or "").rstrip(".")
        messages.print(f"No reply stands: {reason}.", markup=False, soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def retrieve(
    questions: Annotated[Path, typer.Option(help="JSON Lines with `question`.")],
    out: Annotated[Path, typer.Option(help="JSON Lines with `question` and `passages`.")],
    k: Annotated[int, typer.Option(min=1, help="At most so many passages a question.")] = 10,
    max_chars: Annotated[
        int, typer.Option(min=1, help="At most so many characters of passages a question.")
    ] = 4000,
) -> None:
    """Write the passages that are retrieved for every question of a file, for scoring."""
    from pricing_platform.evaluation.retrieval_quality import read_questions, write_retrieved
    from pricing_platform.retrieval.search import CHUNKS, search_many

    if out.exists() and out.samefile(questions):
        raise PlatformError(f"{out} holds the questions.", "Name another file for --out.")
    asked = [at.question for at in read_questions(questions)]
    with _knowledge_stores() as (_settings, server, encoder):
        found = search_many(server, encoder, asked, k=k, max_characters=max_chars, origins=CHUNKS)
    write_retrieved(out, asked, [[passage.text for passage in at] for at in found])
    output.print(f"{len(asked):,} questions into {out}", soft_wrap=True)


@app.command()
def refresh(
    kind: Annotated[
        list[str] | None, typer.Option(help="Ask for facts of this kind, due or not.")
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option(help="Ask for facts of this subject, due or not.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Follow all documents and ask for all facts.")
    ] = False,
) -> None:
    """Ask the sources again for the facts that are due, or for those named."""
    from pricing_platform.console import TerminalProgress
    from pricing_platform.facts.configuration import configured_knowledge
    from pricing_platform.facts.fact_queries import facts_of
    from pricing_platform.facts.refresh import failed_checks
    from pricing_platform.facts.upkeep import refresh_what_is_due
    from pricing_platform.stores.warehouse import Warehouse

    started = datetime.now(UTC)
    with _knowledge_stores(may_be_new=True) as (settings, server, encoder):
        for name in () if everything else subject or ():
            facts_of(server, name)  # tells of a subject that nobody knows
        try:
            with TerminalProgress().shown() as progress:
                summary = refresh_what_is_due(
                    Warehouse.from_settings(settings),
                    server,
                    encoder,
                    configured_knowledge(settings),
                    kinds=kind or (),
                    subjects=subject or (),
                    everything=everything,
                    deletion_share_limit=settings.deletion_share_limit,
                    secrets=settings.http_secrets,
                    progress=progress.report,
                )
        except KeyboardInterrupt:
            messages.print("interrupted; what was done is kept: run the same command to go on")
            raise typer.Exit(130) from None
        failed = failed_checks(server, started)
    _print_refresh(summary)
    for row in failed.iter_rows(named=True):
        messages.print(
            f"{row['connector']}: {row['failed']} failed: {row['last_reason']}",
            markup=False,
            soft_wrap=True,
        )
    done = summary.refreshed
    if done.checked and done.failed == done.checked:
        raise typer.Exit(1)


@app.command()
def facts(
    subject: Annotated[str, typer.Argument(help="As in: Northwind.")],
    history: Annotated[
        bool, typer.Option(help="Also what held before, and what was believed before.")
    ] = False,
    layout: Annotated[Format, typer.Option("--format", help="table, csv or json")] = "table",
) -> None:
    """Show what is known of a subject, from where, since when, and how fresh."""
    from pricing_platform.facts.fact_queries import facts_of

    with _knowledge_stores() as (_settings, server, _encoder):
        print_frame(facts_of(server, _readable(subject), history=history), layout)


@app.command()
def doctor() -> None:
    """Show what is configured, which versions, what is reachable, what is stale."""
    from pricing_platform.diagnosis import diagnose

    findings = diagnose(load_settings())
    print_frame(findings)
    if "failed" in findings["status"].to_list():
        raise typer.Exit(1)


batch_app = typer.Typer(
    help="Offline batches of requests to a language model's endpoint.", no_args_is_help=True
)
app.add_typer(batch_app, name="batch")


@batch_app.command("import")
def batch_import(
    results: Annotated[Path, typer.Argument(help="The provider's JSON Lines of results.")],
) -> None:
    """Keep the answers of an offline batch; the next materialization finds them."""
    from pricing_platform.language.endpoint import import_batch_results
    from pricing_platform.language.response_cache import ResponseCache

    settings = load_settings()
    read = import_batch_results(settings, ResponseCache.from_settings(settings), results)
    output.print(
        f"{read.read:,} results: {read.kept:,} kept, {read.failed:,} failed,"
        f" {read.unknown:,} of requests that are not ours"
    )
    told = [f"{count:,} times: {reason}" for reason, count in read.reasons.items()]
    for line in (*told, *read.damaged):
        messages.print(line, markup=False, soft_wrap=True)
    if read.failed or read.damaged or not read.kept:
        raise typer.Exit(1)


fetch_app = typer.Typer(help="Download published catalogues.", no_args_is_help=True)
app.add_typer(fetch_app, name="fetch")


@fetch_app.command("amazon-reviews-2023")
def fetch_amazon_reviews_2023(
    category: Annotated[str, typer.Option(help="As in Appliances or All_Beauty.")],
    folder: Annotated[Path, typer.Option(help="Where the file goes.")] = Path("data"),
) -> None:
    """Download the item metadata of one category of Amazon Reviews 2023."""
    from pricing_platform.catalog.hub import fetch_amazon_reviews_2023 as fetch
    from pricing_platform.console import TerminalProgress

    with TerminalProgress().shown() as progress:
        path = fetch(category, folder, progress=progress.report)
    output.print(f'{path}\nName it in sources.toml with format = "amazon_reviews_2023".')


@app.command()
def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Stop the embedded Postgres and delete all that runs have produced in the home."""
    from pricing_platform.instance import delete_home

    settings = load_settings()
    home = settings.home_folder
    if yes or typer.confirm(f"Delete all that runs have produced in {home}?"):
        left = delete_home(settings)
        output.print(f"deleted {home}" if not left else f"cleaned {home}", soft_wrap=True)
        for path in left:
            output.print(f"left {path}, which the platform did not make", soft_wrap=True)


@contextmanager
def _knowledge_stores(
    *, may_be_new: bool = False
) -> Iterator[tuple[Settings, Postgres, CachedEncoder]]:
    """The settings, Postgres and the encoder, for as long as a command needs them.

    Raises:
        PlatformError: when nothing has been put into the embedded Postgres yet, unless that may be.
    """
    from pricing_platform.retrieval.embedding_cache import CachedEncoder
    from pricing_platform.stores.postgres import Postgres

    settings = load_settings()
    is_embedded = settings.postgres_url is None
    if is_embedded and not may_be_new and not settings.postgres_folder.is_dir():
        raise PlatformError(
            f"There are no documents and no facts in {settings.home_folder} yet.",
            "Run `pricing-platform run`, or `pricing-platform refresh --all` for documents alone;"
            " or set PRICING_HOME to the home that has them.",
        )
    with closing(Postgres.from_settings(settings)) as server:
        yield settings, server, CachedEncoder.from_settings(settings)


def _written(settings: Settings, server: Postgres, found: FoundAnswer) -> WrittenAnswer | None:
    """The sentence of the language model that the settings name, where they name one."""
    if settings.llm_base_url is None and settings.base_model is None:
        return None
    from pricing_platform.facts.written_answers import WrittenAnswer, write_answer
    from pricing_platform.language.prompts import Currency
    from pricing_platform.pricing.prompting.asked_model import open_language_model

    if settings.llm_mode == "batch":
        return WrittenAnswer(None, "PRICING_LLM_MODE is batch, which answers no question at once")
    try:
        model = open_language_model(settings, Currency("USD"))  # a sentence has no price to read
        return write_answer(model, server, found)
    except PlatformError as error:  # what was found stands, whatever the model's state
        return WrittenAnswer(None, error.problem)


def _styled(
    settings: Settings, server: Postgres, found: FoundAnswer, style: str | None
) -> WrittenAnswer:
    """The sentence of the language model that was trained on the style."""
    from pricing_platform.finetuning.style.configuration import required_style
    from pricing_platform.finetuning.style.fitting import StyleBase, latest_style
    from pricing_platform.finetuning.style.writing import write_in_style

    name = required_style(settings, style).name
    model = latest_style(settings, name, StyleBase.from_settings(settings))
    return write_in_style(model, server, found)


def _styled_or_found(
    settings: Settings, server: Postgres, found: FoundAnswer, style: str
) -> WrittenAnswer:
    """The same for a style that there is; what was found stands, whatever the model's state."""
    from pricing_platform.facts.written_answers import WrittenAnswer
    from pricing_platform.finetuning.style.configuration import required_style

    required_style(settings, style)
    if found.answer is None:
        return WrittenAnswer(None, "nothing that is known answers the question")
    try:
        return _styled(settings, server, found, style)
    except PlatformError as error:
        return WrittenAnswer(None, error.problem)


def _print_answer(found: FoundAnswer, written: WrittenAnswer | None = None) -> None:
    from pricing_platform.facts.answers import as_frame

    if found.answer is None:
        output.print("Nothing that is known answers this. What comes closest:")
        print_frame(as_frame(found.passages))
        return
    if written and written.sentence:
        output.print(written.sentence, markup=False, soft_wrap=True)
    elif written:
        reason = (written.reason or "").rstrip(".")
        messages.print(f"Found, not written: {reason.rstrip('.')}.", markup=False, soft_wrap=True)
    if found.differing:
        output.print("Sources differ, and nothing tells which is newer:")
        for at in found.differing:
            dated = f"dated {at.dated}" if at.dated else "without a date"
            output.print(at.answer, style="bold", markup=False, soft_wrap=True)
            output.print(f"source {at.source}, {dated}", markup=False, highlight=False)
        print_frame(as_frame(found.passages))
        return
    output.print(found.answer, style="bold", markup=False, soft_wrap=True)
    about = [found.statement] if found.statement not in (None, found.answer) else []
    about.append(f"source {found.source}")
    if found.dated:
        about.append(f"dated {found.dated}")
    if found.valid_since:
        about.append(f"since {found.valid_since:%Y-%m-%d %H:%M}")
    if found.last_verified:
        about.append(f"last verified {found.last_verified:%Y-%m-%d %H:%M} UTC")
    if found.freshness:
        about.append(found.freshness)
    if found.silent:
        about.append(f"and {found.silent}, which is newer, does not say it")
    output.print(", ".join(about), markup=False, highlight=False, soft_wrap=True)
    print_frame(as_frame(found.passages))


def _print_refresh(summary: UpkeepSummary) -> None:
    for document, reason in summary.told:
        messages.print(f"{document}: {reason}", markup=False, soft_wrap=True)
    if summary.documents is not None:
        read = summary.documents
        output.print(
            f"{read.inserted + read.updated + read.unchanged:,} documents: {read.inserted:,} new,"
            f" {read.updated:,} changed, {read.deleted:,} gone;"
            f" {summary.versions:,} versions of facts written"
        )
    done = summary.refreshed
    output.print(
        f"{done.checked:,} facts asked for: {done.changed:,} changed, {done.confirmed:,} confirmed,"
        f" {done.absent:,} gone, {done.failed:,} failed; {summary.encoded:,} texts encoded,"
        f" {summary.seconds:.1f} s"
    )


def _readable(text: str) -> str:
    """The text with a mark in the place of bytes that are none, for a terminal sends any."""
    return text.encode("utf-8", "replace").decode()


def _query_text(query: str) -> str:
    if not query.startswith("@"):
        return _readable(query)
    path = Path(query[1:])
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlatformError(f"{path} cannot be read: {error.strerror}.", "") from None
    except UnicodeDecodeError:
        raise PlatformError(f"{path} is not UTF-8 text.", "Save it in that encoding.") from None


def _name_and_value(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise PlatformError(f"--parameter {text!r} has no value.", "Write it as name=value.")
    return name, value


def _print_priced_text(priced: Any, *, as_json: bool, explain: bool) -> None:
    if as_json:
        output.print_json(priced.to_json())
        return
    if explain:
        told = priced.prompt or f"{priced.technique} asks no language model: there is no prompt."
        output.print(told, markup=False, highlight=False, soft_wrap=True)
    decimals = price_decimals(priced.currency)
    output.print(
        f"[bold]{written_price(priced.estimate, priced.currency)}[/]  (80 % between"
        f" {priced.low:,.{decimals}f} and {priced.high:,.{decimals}f}, by {priced.technique})"
    )
    if priced.unlike_all:
        messages.print(
            "Nothing in the catalogue is much like this: the estimate is a guess, and the interval,"
            " which was calibrated on the catalogue's products, is too narrow.",
            style="yellow",
        )
    title = "Comparables that it was shown" if priced.are_used else "Most similar in the catalogue"
    print_frame(priced.comparables, title=title)


def _source_named(settings: Settings, name: str) -> Source:
    from pricing_platform.catalog.configured_sources import configured_sources

    sources = {source.name: source for source in configured_sources(settings)}
    if name not in sources:
        raise PlatformError(
            f"There is no source {name!r}.", f"Those in sources.toml are: {', '.join(sources)}."
        )
    return sources[name]


def _row_numbers(rows: list[int]) -> str:
    shown = ", ".join(f"{row:,}" for row in rows[:_ROWS_TOLD])
    more = f" and {len(rows) - _ROWS_TOLD:,} more" if len(rows) > _ROWS_TOLD else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def _print_priced_file(priced: PricedFile, technique: str, target: Path) -> None:
    """What became of the rows; it is a failure where none was priced."""
    output.print(f"{priced.priced:,} rows priced by {technique} into {target}", soft_wrap=True)
    told = [
        f"{len(rows):,} not priced: {reason} ({_row_numbers(rows)})"
        for reason, rows in priced.failures.items()
    ]
    if priced.unlike_all:
        told.append(
            f"{priced.unlike_all:,} of them are like nothing in the catalogue (`unlike_all`): their"
            " estimates are guesses."
        )
    if priced.replaced:
        told.append(f"The file's own {', '.join(priced.replaced)} gave way to the estimates'.")
    for line in told:
        messages.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if not priced.priced:
        raise typer.Exit(1)


if __name__ == "__main__":
    main()
