"""Techniques that learn from a table of features or look similar items up, and those features.

No language model is asked here; other rooms may use the features, and these use no other room.
"""
