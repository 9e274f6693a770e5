"""Dagster's side of the platform: an asset opens a resource and calls one domain function."""
