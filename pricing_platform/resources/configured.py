"""What all resources share: they are configured by the platform's settings."""

from __future__ import annotations

from typing import Any, Self

import dagster as dg
from pydantic import Field

from pricing_platform.settings import Settings

_SECRETS = {"postgres_url"}


class ConfiguredResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource that reads the platform's settings when it is opened.

    Dagster shows a resource's configuration to everyone who opens the UI, so only what is set and
    is no secret stands in it; secrets are read from the environment when the resource is opened.
    """

    configuration: dict[str, Any] = Field(
        default_factory=dict, description="Settings that differ from their defaults."
    )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The resource with what differs from the defaults written down."""
        differing = settings.model_dump(mode="json", exclude_defaults=True, exclude=_SECRETS)
        return cls(configuration=differing)

    def settings(self) -> Settings:
        """The settings, those of the environment included."""
        return Settings(**self.configuration)
