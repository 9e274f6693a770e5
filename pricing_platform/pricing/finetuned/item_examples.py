"""Items as token examples: what of an item is read, and how its price is written after it.

Here belongs the way from texts to tokens. A text is cut off by tokens, since time is tokens. An
example is a plain prompt, so no line of a text is left that begins as those of the prompt do.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from pricing_platform.finetuning.language.token_examples import TokenExample
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.language.model import Message, Prompt
from pricing_platform.language.prompts import Currency, plain_data, whole_price

MOST_TOKENS = 160
"""Of an item's text; what stands further behind decides little."""


class ItemTokens:
    """Writes items as a tokenizer of a folder writes them."""

    def __init__(self, folder: Path, currency: Currency, most_tokens: int = MOST_TOKENS) -> None:
        self._folder, self._currency, self._most_tokens = folder, currency, most_tokens

    def example(self, text: str, price: float | None = None, *, context: str = "") -> TokenExample:
        """The text, a context where there is one, and the price where it is to be learnt.

        Args:
            text: of the item; the tokens of it are those that describe it.
            price: written after it; without one there is nothing to learn.
            context: stands between the text and the price, as what comparables cost.
        """
        described = self._encoded(text)
        read = described + self._plain(f"{context}\n{self._currency.answer_prefix}")
        written = [] if price is None else self._plain(f"{whole_price(price)}\n")
        return TokenExample(tuple(read + written), len(read), (0, len(described)))

    @property
    def symbol(self) -> str:
        """What stands before a price."""
        return self._currency.symbol

    def prompt_of(self, example: TokenExample) -> Prompt:
        """What an example reads, as a prompt that any language model can be asked."""
        ids = example.ids[len(self._tokenizer.leading_ids) : example.start]
        read = self._tokenizer.decode_after([], list(ids))
        asked = read.removesuffix(f"\n{self._currency.answer_prefix}")
        message = Message("user", asked)
        return Prompt((message,), self._currency.answer_prefix, form="plain")

    def _encoded(self, text: str) -> list[int]:
        (ids,) = self._tokenizer.encode([plain_data(text)])
        return ids[: self._most_tokens]

    def _plain(self, text: str) -> list[int]:
        """Ids of what stands within a text."""
        (ids,) = self._tokenizer.encode([text])
        leading = self._tokenizer.leading_ids
        return ids[len(leading) :]

    @cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self._folder)
