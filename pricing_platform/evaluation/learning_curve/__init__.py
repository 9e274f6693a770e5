"""How the error falls with the number of items that techniques learn from.

Here belong the nested parts of the train items, which points are measured within a budget,
measuring them, and the power laws that are fitted to them. How a technique learns belongs to
``pricing``.
"""
