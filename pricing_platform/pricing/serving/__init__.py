"""Pricing what stands in no catalogue yet: what the command ``price`` does."""
