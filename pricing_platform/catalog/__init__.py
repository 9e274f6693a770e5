"""From listings as published to curated items: sources, quarantine, families, splits."""
