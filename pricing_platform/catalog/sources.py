"""The catalogue's sources as ``sources.toml`` declares them.

Here belong the declaration, its validation and finding the files that it means. Reading the files
belongs to :mod:`pricing_platform.catalog.ingestion`.
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import duckdb
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from pricing_platform.catalog.declaration import (
    EXAMPLE,
    absolute_path,
    declared_entries,
    entry_label,
    path_pattern,
    validated,
)
from pricing_platform.catalog.file_layout import DeclaredLayout
from pricing_platform.errors import PlatformError
from pricing_platform.price_reading import known_currencies
from pricing_platform.settings import sql_folder

MAPPED_FIELDS = (
    "listing_id",
    "title",
    "description",
    "brand",
    "category",
    "price",
    "currency",
    "url",
)
"""What ``columns`` may map to a column of the user's files."""

_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_]?(0[1-9]|1[0-2])"
    r"(?:[-_]?(0[1-9]|[12]\d|3[01])(?!\d)|(?!\d)(?=([-_](?!00)\d)?))"
)
"""Year, month, day, and what stands after a month as a day may; parts are numbered from 00."""


_TOP_KEY = re.compile(r"""\$(?:\.|\[['"]?)(?:"([^"]+)"|([^."'\[\]]+))""")


_FIELD_FROM = re.compile(r"(\w+) from (`[^`]+`(?: or `[^`]+`)*)")
_READS = re.compile(rf"Reads {_FIELD_FROM.pattern}(?:, {_FIELD_FROM.pattern})*\.")
"""How a format's comment tells what it takes the fields from that it needs."""


def _is_comment(line: str) -> bool:
    return line.startswith("--")


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _mapped_fields_only(columns: dict[str, str]) -> dict[str, str]:
    if unknown := columns.keys() - set(MAPPED_FIELDS):
        raise ValueError(f"{sorted(unknown)[0]!r} is not one of {', '.join(MAPPED_FIELDS)}")
    return columns


def _known_time_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is no time zone, as Europe/Berlin is one") from None


def _known_currency(code: str) -> str:
    if code not in known_currencies():
        raise ValueError(f"{code!r} is the ISO 4217 code of no currency, as EUR is one")
    return code


def _readable_format(date_format: str) -> str:
    """A format that strptime takes and that tells day, month and year."""
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT try_strptime('', ?)", [date_format]).fetchall()
    except duckdb.Error:
        raise ValueError(f"{date_format!r} is no format of dates, as %d/%m/%Y is one") from None
    if "%" not in date_format.replace("%%", ""):
        raise ValueError(f"{date_format!r} names no part of a date, as %d/%m/%Y does")
    return date_format


class Source(DeclaredLayout):
    """One ``[[source]]`` of ``sources.toml``, its paths made absolute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9_]+$", description="The source's name in every table.")
    path: Annotated[tuple[str, ...], BeforeValidator(_as_tuple), Field(min_length=1)] = Field(
        description="A path, a glob or a list: JSON, CSV, XML, Excel or Parquet; gzip or zip."
    )
    format: str = Field(description="The name of a shipped format, or the path of a SQL file.")
    observed_at: Literal["column", "file_name", "file_time"] = Field(
        "file_time", description="What says when the rows were true."
    )
    observed_at_column: str | None = Field(None, description="The column, where a column says it.")
    date_format: Annotated[str, AfterValidator(_readable_format)] | None = Field(
        None, description="How dates in that column are written, as strptime has it."
    )
    time_zone: Annotated[str, AfterValidator(_known_time_zone)] | None = Field(
        None, description="Of times that name none; by default PRICING_TIME_ZONE."
    )
    currency: Annotated[str, AfterValidator(_known_currency)] = Field(
        "USD", description="ISO 4217 code of the prices."
    )
    ttl_days: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="For how many days an observed price is fresh."
    )
    columns: Annotated[dict[str, str], AfterValidator(_mapped_fields_only)] = Field(
        default_factory=dict, description="For the format `generic`: field -> the file's column."
    )
    reference_prices: Path | None = Field(
        None, description="A Parquet file (listing_id, price) of the best estimates known."
    )

    @model_validator(mode="after")
    def _keys_fit_together(self) -> Self:
        if (self.observed_at == "column") != (self.observed_at_column is not None):
            raise ValueError('observed_at = "column" and observed_at_column go together')
        if (self.format == "generic") != bool(self.columns):
            raise ValueError('format = "generic" and columns go together')
        return self

    @property
    def format_file(self) -> Path:
        """The SQL file that turns the source's records into listings."""
        return Path(self.format) if "/" in self.format else _shipped_formats()[self.format]

    @property
    def headings(self) -> dict[str, tuple[str, ...]]:
        """Of the fields without which a row is of no use, the columns that the format takes them
        from, as its first comment tells it."""
        try:
            lines = self.format_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):  # told of where the format is run
            return {}
        comment = " ".join(line[2:].strip() for line in takewhile(_is_comment, lines))
        told = _READS.search(comment)
        return {
            field: tuple(re.findall("`([^`]+)`", names))
            for field, names in _FIELD_FROM.findall(told[0] if told else "")
            if field in MAPPED_FIELDS
        }

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The columns that are read by name, and of JSON paths the one that they begin at."""
        named = [*self.columns.values(), self.observed_at_column]
        mapped = [top_column(column) for column in named if column]
        return tuple(dict.fromkeys([*mapped, *chain(*self.headings.values())]))

    def files(self) -> tuple[Path, ...]:
        """The files that the source's paths mean now, sorted.

        Raises:
            PlatformError: when a path matches no file, or when a file is empty.
        """
        found: set[Path] = set()
        for pattern in self.path:
            matches = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207 (absolute)
            files = {match for match in matches if match.is_file()}
            if not files:
                raise PlatformError(
                    f"Source {self.name!r}: no file matches {pattern}.",
                    "Correct its path in sources.toml, or put the file there.",
                )
            found |= files
        for file in sorted(found):
            if file.stat().st_size == 0:
                raise PlatformError(
                    f"Source {self.name!r}: {file} is empty.", "Fetch the file again or remove it."
                )
        return tuple(sorted(found))


def top_column(column: str) -> str:
    """The column that a column's name or a JSON path is of: what is mapped is no attribute too."""
    found = _TOP_KEY.match(column)
    return column if found is None else found[1] or found[2]


def load_sources(
    path: Path, *, data: Path | None, time_zone: str | None = None
) -> tuple[Source, ...]:
    """The sources that a ``sources.toml`` declares, in its order.

    Whether the files exist is asked by :meth:`Source.files`, not here: a source whose files arrive
    later is declared all the same.

    Args:
        path: the TOML file; relative paths in it start from its folder.
        data: the folder that ``${PRICING_DATA}`` means.
        time_zone: of the sources that name none.

    Raises:
        PlatformError: when the file or a source in it is wrong; the message names the key.
    """
    entries = declared_entries(path, "source")
    if not entries:
        raise PlatformError(f"{path} declares no source.", EXAMPLE)
    sources = tuple(
        _source(path, entry, position, data) for position, entry in enumerate(entries, 1)
    )
    sources = tuple(
        source.model_copy(update={"time_zone": source.time_zone or time_zone}) for source in sources
    )
    repeated = [name for name, count in Counter(s.name for s in sources).items() if count > 1]
    if repeated:
        raise PlatformError(
            f"{path} declares two sources named {repeated[0]!r}.",
            "Give each source a name of its own, or list both paths under one source.",
        )
    return sources


def snapshot_names(files: Sequence[Path]) -> dict[Path, str]:
    """A name for each file of a source: its date where that tells them apart, else its file name.

    Files of one name in several folders are told apart by their path.
    """
    dates = {file: d.date().isoformat() if (d := date_in_name(file)) else None for file in files}
    names = Counter(file.name for file in files)
    shared = Counter(dates.values())
    return {
        file: date
        if (date := dates[file]) is not None and shared[date] == 1
        else (file.name if names[file.name] == 1 else file.as_posix())
        for file in files
    }


def shard(file: Path) -> str:
    """Which of several files of one date a file is: its path without the date in its name."""
    return str(file.with_name(_DATE.sub("", file.name, count=1) or file.name))


def date_in_name(file: Path, time_zone: str = "UTC") -> datetime | None:
    """The start of the day or month that a file's name holds, as ``2024-03-27`` or ``20240327``.

    None where it holds none, several, or one that may be read in two ways.
    """
    dates = {found.groups() for found in _DATE.finditer(file.name)}
    if len(dates) != 1:
        return None
    ((year, month, day, odd),) = dates
    if odd:
        return None
    try:
        start = datetime(int(year), int(month), int(day or 1), tzinfo=ZoneInfo(time_zone))
    except ValueError:
        return None
    return start.astimezone(UTC)


def _source(path: Path, entry: dict[str, Any], position: int, data: Path | None) -> Source:
    label = entry_label("source", entry, position)
    declared = validated(Source, path, label, entry)
    return declared.model_copy(
        update={
            "path": tuple(path_pattern(path, label, part, data) for part in declared.path),
            "format": _resolved_format(path, label, declared.format),
            "reference_prices": declared.reference_prices
            and Path(absolute_path(path, label, str(declared.reference_prices), data)),
        }
    )


def _resolved_format(toml: Path, label: str, name: str) -> str:
    shipped = _shipped_formats()
    if name in shipped:
        return name
    file = toml.resolve().parent / Path(name).expanduser()
    if name.endswith(".sql") and file.is_file():
        return str(file)
    missing = "there is no such file" if name.endswith(".sql") else "there is no such format"
    raise PlatformError(
        f"{toml}, {label}: format {name!r}: {missing}.",
        f"Formats that exist: {', '.join(sorted(shipped))}; or give the path of a SQL file.",
    )


def _shipped_formats() -> dict[str, Path]:
    return {path.stem: path for path in (sql_folder() / "sources").glob("*.sql")}
