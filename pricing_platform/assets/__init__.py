"""Dagster's side of the platform: an asset opens a resource and calls one domain function."""

from collections.abc import Sequence

import dagster as dg

from pricing_platform.assets.curated import (
    catalog_profile,
    curated_listings,
    item_families,
    items,
    price_leaks,
)
from pricing_platform.assets.embeddings import chunk_embeddings, item_embeddings
from pricing_platform.assets.evaluation import (
    evaluation_report,
    freshness_impact,
    retrieval_quality,
    technique_comparison,
    technique_metrics,
)
from pricing_platform.assets.facts import fact_freshness, fact_observations, facts
from pricing_platform.assets.ingestion import knowledge_documents
from pricing_platform.assets.language_evaluation import (
    context_sweep,
    forgetting,
    injection_resistance,
)
from pricing_platform.assets.style import style, style_adapter
from pricing_platform.assets.training import (
    base_model,
    classical_model,
    encoder_adapter,
    language_adapter,
    language_techniques,
    learned_comparables_model,
)
from pricing_platform.assets.training_evaluation import inference_cost, learning_curve

ASSETS: Sequence[dg.AssetsDefinition] = (
    price_leaks,
    curated_listings,
    item_families,
    items,
    catalog_profile,
    item_embeddings,
    knowledge_documents,
    chunk_embeddings,
    fact_observations,
    facts,
    fact_freshness,
    classical_model,
    learned_comparables_model,
    encoder_adapter,
    base_model,
    language_adapter,
    language_techniques,
    style_adapter,
    technique_metrics,
    technique_comparison,
    context_sweep,
    injection_resistance,
    forgetting,
    style,
    learning_curve,
    inference_cost,
    retrieval_quality,
    freshness_impact,
    evaluation_report,
)
"""All assets but ``raw_listings`` and ``predictions``, whose partitions depend on the settings."""
