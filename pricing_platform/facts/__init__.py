"""What is known of a subject, since when, from whom, and how old it is.

Here belong the kinds of facts and for how long they stay fresh, the recording and folding of
observations, the reading of facts, their extraction from documents, their sentences, and the
refresh of those that are due. How documents are read, cut and searched belongs to
:mod:`pricing_platform.retrieval`; which tables there are, and the fold itself, stand in
``sql/migrations``.
"""
