"""A language model behind an OpenAI-compatible endpoint.

Here belong what is sent, how it is sent and sent again, how what comes back is read, and files of
requests for offline batches. What is kept of the answers belongs to ``response_cache``.
"""

from pricing_platform.language.endpoint.batches import BatchImport, import_batch_results
from pricing_platform.language.endpoint.costs import CostEstimate
from pricing_platform.language.endpoint.model import EndpointLanguageModel

__all__ = ["BatchImport", "CostEstimate", "EndpointLanguageModel", "import_batch_results"]
