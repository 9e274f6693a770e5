"""The stores and models as Dagster resources."""
