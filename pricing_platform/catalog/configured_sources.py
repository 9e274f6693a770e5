"""Which sources this platform reads: the user's, or the bundled catalogue.

Here belongs the choice between the two. What a source is belongs to
:mod:`pricing_platform.catalog.sources`.
"""

from __future__ import annotations

from pathlib import Path

from pricing_platform.catalog.sources import Source, load_sources
from pricing_platform.settings import Settings

BUNDLED_FOLDER = "bundled_catalogue"
_IN_WORKING_FOLDER = Path("sources.toml")


def configured_sources(settings: Settings) -> tuple[Source, ...]:
    """The sources of ``sources.toml``; without one, those of the bundled catalogue.

    Writes the bundled catalogue into the home's cache where it is not there yet (seconds).

    Raises:
        PlatformError: when a named ``sources.toml`` is not there or is wrong.
    """
    return load_sources(sources_file(settings), data=settings.data, time_zone=settings.time_zone)


def sources_file(settings: Settings) -> Path:
    """The ``sources.toml`` in force."""
    if not uses_bundled_catalogue(settings):
        return settings.sources or _IN_WORKING_FOLDER
    from pricing_platform.catalog.bundled import write_bundled_catalogue

    return write_bundled_catalogue(settings.cache_folder / BUNDLED_FOLDER)


def uses_bundled_catalogue(settings: Settings) -> bool:
    """Whether no sources are named and no ``sources.toml`` lies in the working folder."""
    return settings.sources is None and not _IN_WORKING_FOLDER.exists()


def configured_source_names(settings: Settings) -> tuple[str, ...]:
    """The names of the sources, without writing the bundled catalogue."""
    if uses_bundled_catalogue(settings):
        from pricing_platform.catalog.bundled import SHOP_NAMES

        return SHOP_NAMES
    return tuple(source.name for source in configured_sources(settings))
