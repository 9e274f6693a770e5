"""Everything that can be configured from outside, and the only place that reads the environment.

Here belong values and the folders derived from them. Opening what they point at does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_PACKAGE = Path(__file__).resolve().parent


def sql_folder() -> Path:
    """The folder of SQL files: inside an installed wheel, or at the top of a checkout."""
    installed = _PACKAGE / "sql"
    return installed if installed.is_dir() else _PACKAGE.parent / "sql"


class Settings(BaseSettings):
    """The platform's configuration: environment variables ``PRICING_*``, or a ``.env`` file."""

    model_config = SettingsConfigDict(
        env_prefix="PRICING_", env_file=".env", extra="ignore", frozen=True
    )

    home: Path = Field(Path(".pricing"), description="The folder that holds all a run produces.")
    sources: Path = Field(
        Path("sources.toml"),
        description="The catalogue's sources; without this file the bundled catalogue is used.",
    )
    data: Path | None = Field(None, description="The folder that ${PRICING_DATA} means in sources.")
    postgres_url: SecretStr | None = Field(
        None, description="A Postgres with pgvector 0.8.4 or newer; without it an embedded one."
    )
    encoder: str = Field(
        "all-MiniLM-L6-v2",
        description="The embedded encoder's name, a local folder, or a hub id as name@revision.",
    )
    executor: Literal["in_process", "multiprocess"] = "in_process"
    schedules: Literal["running", "stopped"] = Field(
        "stopped", description="Whether the schedules are on when the code location loads."
    )
    time_zone: str = Field("UTC", description="The time zone of the schedules.")
    memory_limit: str = Field("1GB", description="What DuckDB may hold in memory.")
    threads: int | None = Field(None, description="DuckDB's threads; by default one per core.")
    lock_timeout_seconds: float = Field(
        60.0, description="How long to wait for another process that holds the warehouse."
    )
    price_minimum: float = Field(0.5, description="Cheaper listings are quarantined.")
    price_maximum: float = Field(999.49, description="Dearer listings are quarantined.")
    deletion_share_limit: float = Field(
        0.2, description="A reconciliation that would delete a larger share of the rows stops."
    )
    seed: int = 42

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
