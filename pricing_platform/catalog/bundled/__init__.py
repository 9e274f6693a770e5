"""The catalogue that comes with the platform: generated, seeded, with a known best estimate.

What a product costs follows from a documented formula (``hedonics``), with noise of a known size,
so that the best error any model can reach is known. Two shops list the products (``shops``) in
words of their own (``wording``, ``vocabulary``), with the noise of real data planted and counted
(``noise``); ``catalogue`` writes it all to disk.

Only the writing is public. The platform reads the files as it reads anybody's.
"""

from pricing_platform.catalog.bundled.catalogue import VERSION, write_bundled_catalogue
from pricing_platform.catalog.bundled.shops import SHOPS

SHOP_NAMES = tuple(shop.name for shop in SHOPS)
"""The names of the catalogue's sources."""

__all__ = ["SHOP_NAMES", "VERSION", "write_bundled_catalogue"]
