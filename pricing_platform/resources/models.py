"""The encoder as a resource."""

from __future__ import annotations

from pricing_platform.resources.configured import ConfiguredResource
from pricing_platform.retrieval.embedding_cache import CachedEncoder
from pricing_platform.retrieval.encoder import Encoder


class ModelsResource(ConfiguredResource):
    """The models named in the settings; their weights are loaded when they are first used."""

    def encoder(self) -> Encoder:
        """The encoder, verified."""
        return Encoder.from_settings(self.settings())

    def cached_encoder(self) -> CachedEncoder:
        """The encoder behind the home's content-addressed cache."""
        return CachedEncoder.from_settings(self.settings())
