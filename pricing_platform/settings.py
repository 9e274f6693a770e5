"""Everything that can be configured from outside, and the only place that reads the environment.

Here belong values and the folders derived from them. Opening what they point at does not.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, JsonValue, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from pricing_platform.errors import PlatformError

SampleSize = int | Literal["all"]
_PACKAGE = Path(__file__).resolve().parent
_NEARLY = 0.7  # from here on a name that is no setting is taken for a misspelled one
_OF_TESTS = "TEST_"


def sql_folder() -> Path:
    """The folder of SQL files: inside an installed wheel, or at the top of a checkout."""
    installed = _PACKAGE / "sql"
    return installed if installed.is_dir() else _PACKAGE.parent / "sql"


class Settings(BaseSettings):
    """The platform's configuration: environment variables ``PRICING_*``, or a ``.env`` file."""

    model_config = SettingsConfigDict(
        env_prefix="PRICING_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # it may be a secret
    )

    home: Path = Field(Path(".pricing"), description="The folder that holds all a run produces.")
    sources: Path | None = Field(
        None,
        description="The catalogue's sources; by default sources.toml in the working folder, and"
        " where there is none the bundled catalogue.",
    )
    data: Path | None = Field(None, description="The folder that ${PRICING_DATA} means in sources.")
    postgres_url: SecretStr | None = Field(
        None, description="A Postgres with pgvector 0.8.4 or newer; without it an embedded one."
    )
    encoder: str = Field(
        "all-MiniLM-L6-v2",
        description="The embedded encoder's name, a local folder, or a hub id as name@revision.",
    )
    encoder_pooling: Literal["mean", "cls", "max", "lasttoken"] | None = Field(
        None,
        description="How the vectors of an encoder's tokens become one, where its folder does not"
        " say.",
    )
    encoder_query_prompt: str | None = Field(
        None,
        description="What stands before a question that is encoded, by default what the encoder's"
        " folder says.",
    )
    encoder_passage_prompt: str | None = Field(
        None,
        description="What stands before a text that is stored, by default what the encoder's"
        " folder says.",
    )
    executor: Literal["in_process", "multiprocess"] = "in_process"
    schedules: Literal["running", "stopped"] = Field(
        "stopped", description="Whether the schedules are on when the code location loads."
    )
    time_zone: str = Field(
        "UTC", description="Of the schedules, and of times in files that name none."
    )
    facts_cron: str = Field("0 * * * *", description="When facts that are due are asked for.")
    ingestion_cron: str = Field("0 3 * * *", description="When listings and documents are read.")
    retraining_cron: str = Field("0 5 * * 0", description="When techniques are fitted again.")
    memory_limit: str = Field("1GB", description="What DuckDB may hold in memory.")
    threads: int | None = Field(
        None, ge=1, description="DuckDB's threads; by default one per core."
    )
    lock_timeout_seconds: float = Field(
        60.0, ge=0, description="How long to wait for another process that holds the warehouse."
    )
    price_minimum: float = Field(0.5, gt=0, description="Cheaper listings are quarantined.")
    price_maximum: float = Field(999.49, gt=0, description="Dearer listings are quarantined.")
    http_secrets: dict[str, SecretStr] = Field(
        default_factory=dict,
        description="What headers of [[http]] name as ${NAME}, as a JSON object.",
    )
    deletion_share_limit: float = Field(
        0.2,
        ge=0,
        le=1,
        description="A reconciliation that would delete a larger share of the rows stops.",
    )
    stale_share_limit: float = Field(
        0.5,
        ge=0,
        le=1,
        description="The share of a kind's facts that may be past their time to live with a"
        " warning alone.",
    )
    oldest_observation_days: float = Field(
        365, gt=0, description="A current fact that was last observed earlier is warned of."
    )
    fine_tuning_tokens: int = Field(
        3_200_000,
        ge=1,
        description="How many tokens the encoder's fine-tuning reads at most, all epochs together.",
    )
    fine_tuning_seconds: float = Field(
        150,
        gt=0,
        description="How long a language model may be fine-tuned for language_finetuned; for"
        " rag_finetuned half as long.",
    )
    base_model: str | None = Field(
        None,
        description="The language model on this machine: a folder, a .gguf file, the folder of a"
        " PEFT adapter, or a hub id as name@revision; without it SmolLM2-135M-Instruct.",
    )
    quantization: Literal["none", "8bit", "4bit"] = Field(
        "none", description="How the weights of the language model on this machine are held."
    )
    language_tokens_per_second: float | None = Field(
        None,
        gt=0,
        description="How fast the language model reads here, where that is not to be measured: so"
        " that several machines plan the same trainings.",
    )
    forgetting_limit: float = Field(
        0.05,
        ge=0,
        description="The share of its probe accuracy that a fine-tuned language model may lose,"
        " and by which its perplexity on general text may grow, to be promoted.",
    )
    llm_base_url: SecretStr | None = Field(
        None, description="An OpenAI-compatible endpoint that the prompts go to, as in .../v1."
    )
    llm_model: str | None = Field(None, description="The name of the endpoint's model.")
    llm_api_key: SecretStr | None = Field(None, description="The endpoint's key.")
    llm_api: Literal["chat", "completions"] = Field(
        "chat", description="Which of the endpoint's interfaces is used."
    )
    llm_mode: Literal["live", "batch"] = Field(
        "live", description="Ask at once, or write files of requests for an offline batch."
    )
    llm_structured_output: bool = Field(
        False, description="Whether the endpoint can be held to a JSON schema."
    )
    llm_calls_tools: bool = Field(True, description="Whether the endpoint's model calls functions.")
    llm_top_logprobs: int = Field(
        0, ge=0, description="How many log-probabilities a token the endpoint gives; 0 for none."
    )
    llm_context_window: int = Field(
        8192, ge=64, description="Tokens that a prompt and its answer may have together."
    )
    llm_tokenizer: str | None = Field(
        None,
        description="The folder of the endpoint's tokenizer; without it a token is taken to be"
        " three bytes.",
    )
    llm_answer_tokens: int = Field(
        0, ge=0, description="Tokens that an answer may take at least; some thousands for thoughts."
    )
    llm_extra_body: dict[str, JsonValue] = Field(
        default_factory=dict, description="JSON: what is sent besides, as reasoning_effort."
    )
    llm_concurrency: int = Field(16, ge=1, description="Calls under way at once.")
    llm_timeout_seconds: float = Field(60, gt=0, description="How long one answer may take.")
    llm_attempts: int = Field(5, ge=1, description="How often a call is sent at most.")
    llm_budget_usd: float | None = Field(
        None, ge=0, description="What all calls of this home together may cost; no limit if empty."
    )
    llm_budget_tokens: int | None = Field(
        None, ge=0, description="The tokens that all calls of this home together may take."
    )
    llm_usd_per_million_input: float = Field(0, ge=0, description="Price of tokens sent.")
    llm_usd_per_million_cached: float = Field(0, ge=0, description="Price of cached tokens sent.")
    llm_usd_per_million_output: float = Field(0, ge=0, description="Price of tokens written.")
    llm_fine_tuning: bool = Field(
        False,
        description="Whether the endpoint is to fine-tune a model on the train items, which is then"
        " compared as endpoint_finetuned.",
    )
    llm_fine_tuning_model: str | None = Field(
        None, description="The endpoint's name of the model to fine-tune; without it llm_model."
    )
    llm_fine_tuning_epochs: int = Field(
        3, ge=1, description="How often the endpoint trains on each item."
    )
    llm_fine_tuning_items: int = Field(
        1000, ge=10, description="How many train items the endpoint is shown at most."
    )
    llm_fine_tuning_wait_seconds: float = Field(
        3600,
        ge=0,
        description="How long a run follows the endpoint's training; the next run goes on with it.",
    )
    llm_usd_per_million_training: float | None = Field(
        None, ge=0, description="Price of tokens trained on; needed where there is a budget in USD."
    )
    language_test_items: SampleSize = Field(
        150,
        description="How many test items techniques with a language model are asked about, or all.",
    )
    language_validation_items: SampleSize = Field(100, description="The same of validation items.")
    measured_items: int = Field(
        20, ge=2, description="How many validation items the context sweep is made on."
    )
    style_seconds: float = Field(
        30.0, gt=0, description="How long the training of a style may take, on this machine."
    )
    style_replies: int = Field(
        10, ge=2, description="To how many held-out messages a style's variants reply."
    )
    learning_curve_seconds: float = Field(
        45,
        ge=0,
        description="How long techniques may be fitted on parts of the items for the learning"
        " curve; 0 for only the fits that exist.",
    )
    timed_items: int = Field(
        12,
        ge=1,
        description="How many test items are estimated one by one to time each technique; twice as"
        " many are in batches.",
    )
    compute_usd_per_hour: float = Field(
        0, ge=0, description="What an hour of one core of this machine costs; 0 if that is nothing."
    )
    injected_items: int = Field(
        2, ge=2, description="How many test items the injections are planted into."
    )
    seed: int = Field(42, ge=0, description="Of all that is random in fitting and resampling.")

    @field_validator("memory_limit")
    @classmethod
    def _is_memory(cls, value: str) -> str:
        if not _duckdb_reads_as_memory(value):
            raise ValueError(f"{value!r} is no amount of memory; write it as in 2GB")
        return value

    @field_validator("language_test_items", "language_validation_items", mode="before")
    @classmethod
    def _is_sample_size(cls, value: object) -> object:
        if value == "all" or (str(value).isdecimal() and int(str(value)) >= 2):
            return value
        raise ValueError(f"{value!r} is no size of a sample; write a number from 2, or all")

    @field_validator("time_zone")
    @classmethod
    def _is_time_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"{value!r} is no time zone; write it as in Europe/Vienna or UTC"
            ) from None
        return value

    @model_validator(mode="after")
    def _leaves_prices(self) -> Self:
        if self.price_minimum >= self.price_maximum:
            raise ValueError("PRICING_PRICE_MINIMUM must be below PRICING_PRICE_MAXIMUM")
        return self

    @model_validator(mode="after")
    def _can_be_fine_tuned(self) -> Self:
        if self.llm_fine_tuning and not (self.llm_base_url and self.llm_model):
            raise ValueError(
                "PRICING_LLM_FINE_TUNING needs PRICING_LLM_BASE_URL and PRICING_LLM_MODEL"
            )
        if self.llm_fine_tuning and self.llm_api != "chat":
            raise ValueError("PRICING_LLM_FINE_TUNING needs PRICING_LLM_API=chat")
        return self

    @property
    def home_folder(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().resolve()

    @property
    def warehouse_path(self) -> Path:
        """The DuckDB file."""
        return self.home_folder / "warehouse.duckdb"

    @property
    def postgres_folder(self) -> Path:
        """The embedded Postgres server's data."""
        return self.home_folder / "postgres"

    @property
    def checkpoints_folder(self) -> Path:
        """Fitted models, one folder each, named by what they were fitted on."""
        return self.home_folder / "checkpoints"

    @property
    def cache_folder(self) -> Path:
        """What may be deleted at any time and costs only time to have again."""
        return self.home_folder / "cache"

    @property
    def reports_folder(self) -> Path:
        """Self-contained HTML reports."""
        return self.home_folder / "reports"

    @property
    def dagster_folder(self) -> Path:
        """DAGSTER_HOME."""
        return self.home_folder / "dagster"


def load_settings() -> Settings:
    """The settings of the environment and of ``.env``.

    Raises:
        PlatformError: with what is wrong with each; never with a value that may be secret.
    """
    try:
        settings = Settings()
        lines = _misspelled()
        if not lines:
            return settings
    except ValidationError as error:
        lines = [_told(e["loc"], e["msg"]) for e in error.errors(include_input=False)]
    except UnicodeDecodeError:
        lines = ["The file .env is not UTF-8."]
    except SettingsError as error:  # what should be JSON and is not; the message names the field
        lines = [f"{str(error).splitlines()[0]}: it is not JSON."]
    raise PlatformError(
        "The configuration cannot be read.\n" + "\n".join(lines),
        "Correct the environment variable or the .env file.",
    )


def _misspelled() -> list[str]:
    """A line for each name in the environment or ``.env`` that is nearly that of a setting."""
    from dotenv import dotenv_values

    prefix = Settings.model_config["env_prefix"].upper()
    known = {name.upper() for name in Settings.model_fields}
    file = Settings.model_config["env_file"]
    told = {**os.environ, **(dotenv_values(str(file)) if file else {})}
    names = sorted(name for name in map(str.upper, told) if name.startswith(prefix))
    lines = []
    for name in (name.removeprefix(prefix) for name in names):
        is_one = name in known or name.startswith(_OF_TESTS)
        near = [] if is_one else get_close_matches(name, known, n=1, cutoff=_NEARLY)
        lines += [f"{prefix}{name} is no setting; {prefix}{meant} is." for meant in near]
    return lines


@lru_cache
def _duckdb_reads_as_memory(value: str) -> bool:
    """Asks DuckDB itself, which knows its units; a connection costs 20 ms, so once a value."""
    import duckdb

    try:
        duckdb.connect(":memory:", config={"memory_limit": value}).close()
    except duckdb.Error:
        return False
    return True


def _told(location: tuple[int | str, ...], message: str) -> str:
    name = "".join(f"PRICING_{part}: " for part in location[:1]).upper()
    return name + message.removeprefix("Value error, ")
