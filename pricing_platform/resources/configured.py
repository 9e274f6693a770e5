"""What all resources share: they are configured by the platform's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import dagster as dg
from pydantic import Field, PrivateAttr

from pricing_platform.settings import Settings

_SECRETS = {"postgres_url", "http_secrets", "llm_api_key", "llm_base_url"}


class ConfiguredResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource that is opened with the settings that the definitions were built with.

    Dagster shows a resource's configuration to everyone who opens the UI, so all settings but the
    secrets stand in it. Those stay in the process, as does what is None, for which Dagster has no
    place; a process that has not been given them reads the environment.
    """

    configuration: dict[str, Any] = Field(
        default_factory=dict, description="The platform's settings, those that are secret excepted."
    )
    _not_shown: dict[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The resource with every setting written down, whatever the environment says later."""
        shown = settings.model_dump(mode="json", exclude=_SECRETS, exclude_none=True)
        resource = cls(configuration=shown)
        not_shown = Settings.model_fields.keys() - shown.keys()
        resource._not_shown = {name: getattr(settings, name) for name in not_shown}
        return resource

    def settings(self) -> Settings:
        """The settings, the secret ones included."""
        return Settings(**{**self._not_shown, **self.configuration})

    def _with_updated_values(self, values: Mapping[str, Any] | None) -> Self:
        """The copy that Dagster opens for a run, which it makes of the public fields alone."""
        copy: Self = super()._with_updated_values(values)  # type: ignore[assignment]
        copy._not_shown = self._not_shown
        return copy
