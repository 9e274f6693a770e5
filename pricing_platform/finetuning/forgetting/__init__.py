"""Catastrophic forgetting: what a language model loses of its general ability by fine-tuning.

``configuration`` and ``probes`` say what is asked, ``measuring`` asks it, ``comparison`` sets a
fine-tuned model beside its base, ``curve`` makes the tables, ``gate`` decides. ``replay``,
``divergence`` and ``scaling`` are what training can do against it.
"""
