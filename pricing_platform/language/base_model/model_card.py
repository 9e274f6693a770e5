"""The model card: what the platform's own language model is, saw, can do and can't.

Here belongs the text. The figures come from the training.
"""

from __future__ import annotations

from pricing_platform.language import prompts
from pricing_platform.language.base_model.configuration import (
    BASE_MODEL_VERSION,
    BaseModelConfiguration,
)
from pricing_platform.language.base_model.reading import Reading

_LEFT_OUT = """\
- {items:,} items of {families:,} families of the training split, left out for fine-tuning:
  `held_out_families.json` names them. The figures below are measured on {measured:,} of these
  items."""
_NOTHING_LEFT_OUT = """\
- Nothing else: no family of the training split was left out, as little would have remained where
  there are few. So there are no figures below about items that it did not read."""


def model_card(
    configuration: BaseModelConfiguration,
    reading: Reading,
    metrics: dict[str, float],
    *,
    parameters: int,
    vocabulary: int,
    currency: str,
    seed: int,
    fingerprint: str,
) -> str:
    """The card as Markdown, with the metadata that a model hub reads at its top."""
    left_out = _LEFT_OUT if reading.left_out_items else _NOTHING_LEFT_OUT
    not_seen = left_out.format(
        items=reading.left_out_items,
        families=len(reading.left_out_families),
        measured=reading.measured_items,
    )
    measured = "\n".join(f"| {name} | {value:,.4g} |" for name, value in sorted(metrics.items()))
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [llama, prices]
---
# pricing_platform's own base model

A small Llama-architecture causal language model that the platform trained itself, from nothing, on
the training split of one product catalogue, to continue prompts that ask for a price in {currency}.
It is not a general language model: it knows no language but that of these listings, follows no
instructions other than the platform's own prompts, and knows nothing that stands in neither the
catalogue's training split nor the knowledge documents.

## Sizes
{parameters:,} parameters: hidden {configuration.hidden}, {configuration.layers} layers,
{configuration.heads} heads, feed-forward {configuration.feed_forward}, tied embeddings, window of
{configuration.window:,} tokens. Byte-level BPE of {vocabulary:,} tokens, in which every whole
number from 0 to 1000 is one token. It can answer with whole prices from 1 to
{configuration.highest_price:,}.

## What it saw
- {reading.items:,} items of {reading.families:,} families of the training split, texts and prices;
- {reading.knowledge_documents:,} knowledge documents;
- as {reading.documents:,} rendered documents at most, of which {reading.tokens:,} tokens were read:
  prompts of the techniques with their answers, some of them with comparable items and their prices,
  transcripts of chains and of tools made from the items' own fields.

The prices that its context held were learnt as well as the last one; a product's text stood whole,
those of comparables and shots were cut to their start. In {configuration.shifted_share:.0%} of the
documents with comparables all prices, the last one too, were multiplied by one random factor, so
that the model reads the prices beside a product and does not only know them by heart. Numbers'
embeddings started as sines and cosines of log(1 + n), those of other tokens at the mean of that
over the prices of the items above whose texts hold them; the layers' weights at random.

It saw every item at its last known price and the documents as they stood when it was trained. As
all techniques that are trained here, it may so know of a time after that of the item asked about.

## What it did not see
- Any item of the validation or the test split.
{not_seen}

## Figures
| | |
|---|---|
{measured}

`held_out_perplexity` is a token's, over the products' texts and their prices; the instructions,
which are always the same, do not count. Errors are mean absolute ones in {currency}, of the median
of the model's distribution over prices, with comparables out of the items above.

## Use and limits
For the platform's techniques where no other model is named: it shows what prompting, retrieval and
tools change on one and the same model. Its zero-shot price is a regression learnt from the training
split, not world knowledge. The attributes and comparable products that it writes in a chain look
like the catalogue's and may be wrong. Prices above {configuration.highest_price:,} can't be
answered. It never saw more than {configuration.most_comparables} comparables or shots at once, nor
a context of more than {configuration.window:,} tokens.

## Made with
Version {BASE_MODEL_VERSION}, prompts {prompts.templates_version()}, seed {seed}, budget
{configuration.token_budget:,} tokens, peak learning rate {configuration.learning_rate:g}.
Fingerprint of data, documents, tools, configuration and seed: `{fingerprint}`.
"""
