"""Style and tone: a language model that answers as a house's own people do.

``configuration`` and ``pairs`` say what is learnt from, ``dialogue`` how it is asked,
``description`` what can be told of a style in words. ``fitting`` trains and keeps the adapters,
``writing`` answers with them under guard. ``markers``, ``classifier`` and ``measuring`` say how
much of the style a model has.
"""
