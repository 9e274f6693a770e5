"""The tokenizer of the platform's own language model: byte-level BPE in which numbers are whole.

Here belong training it and knowing which tokens are prices. Nothing is unknown to it, every whole
number from 0 to 1000 between non-digits is one token, and longer numbers fall into groups of three
digits from the right, as thousands separators would set them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.language import prompts

BEGIN, END, PADDING = "<|begin|>", "<|end|>", "<|padding|>"
_LARGEST_NUMBER = 1_000
# A line's label and its colon stay together, so that frequent ones become single tokens.
_TEXT_PIECES = (
    r"\n[^\n:0-9]{1,40}:(?: (?=[0-9]))?|\s+(?=[0-9])| ?\p{L}+| ?[^\s\p{L}0-9]+|\s+(?!\S)|\s+"
)
_NUMBER_PIECES = r"(?<![0-9])1000(?![0-9])|[0-9]{1,3}(?=(?:[0-9]{3})*(?![0-9]))"
PRODUCT_END = "\n</product>"
_MARKUP = (
    "<product>\n",
    PRODUCT_END,
    '<comparable age_days="',
    '">\n',
    "\n</comparable>\n",
    "<facts>\n",
    "</facts>\n",
    "<result>\n",
    "</result>",
)


@dataclass(frozen=True, eq=False)
class PriceTokens:
    """Which tokens are prices, and after which tokens one follows.

    ``ids``: the tokens of 0, 1, ..., the highest price, shape (highest + 1,), int64. ``opens``:
    whether a token ends with the currency's sign, shape (vocabulary,), bool.
    """

    ids: npt.NDArray[np.int64]
    opens: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, tokenizer: Any, currency: prompts.Currency, highest: int) -> PriceTokens:
        """Those of a tokenizer in ``transformers``' form."""
        ids = tokenizer.convert_tokens_to_ids([str(number) for number in range(highest + 1)])
        symbol = currency.symbol
        ends = [tokenizer.decode([token]).endswith(symbol) for token in range(len(tokenizer))]
        return cls(np.array(ids, np.int64), np.array(ends, bool))

    def places(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where in a document's tokens a price is; never the first place."""
        is_price = np.isin(tokens[1:], self.ids[1:]) & self.opens[tokens[:-1]]
        return np.flatnonzero(is_price) + 1


def train_tokenizer(
    texts: Iterable[str], currency: prompts.Currency, *, vocabulary: int, window: int
) -> Any:
    """A tokenizer as ``transformers`` has it, trained on the texts; equal texts, equal tokenizer.

    Args:
        texts: those of the items that are trained on, and of the knowledge documents.
        currency: its answer prefix is a token of its own.
        vocabulary: how many tokens there are at most.
        window: how many tokens the model takes.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    specials = [BEGIN, END, PADDING]
    markup = [*_MARKUP, currency.answer_prefix]
    numbers = [str(number) for number in range(_LARGEST_NUMBER + 1)]
    learnt = json.loads(_train(texts, vocabulary - len(specials) - len(markup) - len(numbers)))
    tokens = [*specials, *numbers]
    tokens += [t for t in learnt["model"]["vocab"] if t not in set(tokens)]
    learnt["model"]["vocab"] = {token: place for place, token in enumerate(tokens)}
    learnt["model"]["merges"] = [*_number_merges(), *learnt["model"]["merges"]]
    learnt["pre_tokenizer"] = json.loads(_pieces(rf"{_NUMBER_PIECES}|{_TEXT_PIECES}"))
    tokenizer = Tokenizer.from_str(json.dumps(learnt))
    _add_tokens(tokenizer, specials, markup)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PADDING,
        model_max_length=window,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
    )


def _train(texts: Iterable[str], vocabulary: int) -> str:
    """The JSON of a tokenizer whose merges hold no digit."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.pre_tokenizer = _split(rf"[0-9]|{_TEXT_PIECES}")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    digits = 10  # of the alphabet, which are numbers as well
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocabulary + digits, len(alphabet)),
        initial_alphabet=alphabet,
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def _number_merges() -> list[list[str]]:
    """Merges that put together each number of two to four digits, whichever pair comes first."""
    pairs = [[str(n // 10), str(n % 10)] for n in range(10, _LARGEST_NUMBER + 1)]
    others = [[str(n // 100), f"{n % 100}"] for n in range(100, 1_000) if n % 100 >= 10]
    return pairs + others


def _split(pattern: str) -> Any:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _pieces(pattern: str) -> str:
    from tokenizers import Tokenizer, models

    holder = Tokenizer(models.BPE())
    holder.pre_tokenizer = _split(pattern)
    return json.dumps(json.loads(holder.to_str())["pre_tokenizer"])


def _add_tokens(tokenizer: Any, specials: Sequence[str], markup: Sequence[str]) -> None:
    from tokenizers import AddedToken, processors

    tokenizer.add_special_tokens(list(specials))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in markup])
    begin = tokenizer.token_to_id(BEGIN)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        pair=f"{BEGIN} $A $B",
        special_tokens=[(BEGIN, begin)],
    )
