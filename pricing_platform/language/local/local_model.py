"""A causal language model of a folder, behind the protocol of all language models.

Here belongs how prompts become batches and batches become answers. The steps of it belong to the
other modules of this package.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pricing_platform.errors import told_as_not_asked
from pricing_platform.language.local import folder as folders
from pricing_platform.language.local.continuations import log_likelihoods
from pricing_platform.language.local.generation import generate
from pricing_platform.language.local.length_batches import BATCH_TOKENS, length_sorted_batches
from pricing_platform.language.local.network import (
    Batch,
    Network,
    default_device,
    loaded_network,
    network_precision,
)
from pricing_platform.language.local.number_tokens import NumberTokens
from pricing_platform.language.local.precision import Precision
from pricing_platform.language.local.price_readout import PriceProbabilities, TrieReader
from pricing_platform.language.local.prompt_tokens import PromptTokenizer
from pricing_platform.language.local.quantization import Quantization
from pricing_platform.language.local.shared_beginnings import common_prefix, groups_by_beginning
from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    PriceAnswer,
    Prompt,
    PromptForm,
    Usage,
)
from pricing_platform.language.price_distribution import PriceDistribution

_BATCH_ITEMS = 64
_WRITTEN_ITEMS = 96  # writing a token takes hardly longer for more rows
_CACHED_TOKENS = {"cpu": 32_768, "cuda": 1_048_576}  # of all prompts of a batch together
_WRITTEN_TOGETHER = 8
_SCORED_TOGETHER = 16  # each token of a scored text has logits over the whole vocabulary
_LOADING = threading.Lock()
READOUT_VERSION = 2
"""To be raised when prices are read off the same probabilities in another way."""
LEAST_SHARE = 0.01
"""Of a model's probability, on whole numbers, below which it gives no price."""
_TOKENS_A_NODE = 6
_FEWEST_FOLLOWED, _MOST_FOLLOWED = 16, 32
_SHARED_AT_LEAST = 8  # tokens; a shorter beginning is not worth a cache of its own


def answering_identity(
    content: str,
    *,
    highest_price: int,
    precision: Precision,
    quantization: Quantization = "none",
    least_share: float = LEAST_SHARE,
) -> str:
    """What a model's answers follow from: its files, how it computes, how prices are read off it.

    Args:
        content: the files' sha256.
        highest_price: this and all others as :meth:`LocalLanguageModel.open` takes them.
        precision: what it computes in.
        quantization: how the weights are held.
        least_share: of its probability on whole numbers.
    """
    read = f"{highest_price}:{least_share:g}:{READOUT_VERSION}"
    return f"{content}:{precision}:{quantization}:{read}"


@dataclass(frozen=True)
class _Prefix:
    """What all prompts of a call begin with, its keys and values, and how long they took."""

    ids: list[int]
    cache: Any | None
    seconds: float


@dataclass
class LocalLanguageModel:
    """A model on this machine; its weights are read when it is first asked.

    Prices are read as a distribution over 0 to ``highest_price``, of which only what is likely is
    followed token by token, unless ``follows_all_numbers``. What all prompts of a call begin with
    is computed once, and counted as cached tokens.
    """

    name: str
    folder: Path
    highest_price: int
    quantization: Quantization
    asked_precision: Precision | None
    device: str
    batch_tokens: int
    cache_folder: Path | None = None
    shares_prefix: bool = True
    least_share: float = LEAST_SHARE
    follows_all_numbers: bool = False
    held: Network | None = None
    _number_tokens: dict[str, NumberTokens] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        name: str,
        folder: Path,
        *,
        highest_price: int = 1000,
        quantization: Quantization = "none",
        device: str | None = None,
        precision: Precision | None = None,
        batch_tokens: int | None = None,
        shares_prefix: bool = True,
        least_share: float = LEAST_SHARE,
        cache_folder: Path | None = None,
    ) -> LocalLanguageModel:
        """Of a folder in the layout of ``transformers``, see ``language.pretrained``.

        Args:
            name: what the model is called in tables.
            folder: holds weights as safetensors, configuration and tokenizer.
            highest_price: the last whole number that a price is looked for among.
            quantization: how the weights are held.
            device: as torch names it; the GPU by default where there is one.
            precision: what it computes in; by default the fastest, measured at its first use.
            batch_tokens: tokens that are computed together, padding included.
            shares_prefix: whether what prompts begin with alike is computed once.
            least_share: of its probability that the model has to put on whole numbers up to the
                highest price; below, the answer is that it refused.
            cache_folder: where that measurement is remembered.

        Raises:
            PlatformError: when something in the folder is missing.
        """
        folders.check_folder(folder)
        device = device or default_device()
        tokens = batch_tokens or BATCH_TOKENS[device.split(":")[0]]
        return cls(
            name,
            folder,
            highest_price,
            quantization,
            precision,
            device,
            tokens,
            cache_folder,
            shares_prefix,
            least_share,
        )

    @classmethod
    def of_network(
        cls, name: str, folder: Path, network: Network, *, highest_price: int
    ) -> LocalLanguageModel:
        """Of a network that is in memory, as one that adapters were merged into.

        Its identity is that of the folder and not of the network: its answers are not to be kept.

        Args:
            name: what the model is called in tables.
            folder: holds the tokenizer that the network was trained with.
            network: that is asked.
            highest_price: the last whole number that a price is looked for among.
        """
        model = cls.open(
            name,
            folder,
            highest_price=highest_price,
            device=network.device,
            precision=network.precision,
        )
        model.held = network
        return model

    @functools.cached_property
    def precision(self) -> Precision:
        """What it computes in."""
        if self.asked_precision is not None:
            return self.asked_precision
        with _LOADING:
            return network_precision(
                self.folder,
                self._content_sha256,
                self.quantization,
                self.device,
                self.cache_folder,
            )

    @functools.cached_property
    def identity(self) -> str:
        """The files' sha256, how the model computes, and how prices are read off it."""
        return answering_identity(
            self._content_sha256,
            highest_price=self.highest_price,
            quantization=self.quantization,
            precision=self.precision,
            least_share=self.least_share,
        )

    @property
    def base_weights(self) -> dict[str, str]:
        """The model's name and the sha256 over its weights, configuration and tokenizer."""
        return {self.name: self._content_sha256}

    @functools.cached_property
    def context_window(self) -> int:
        """Tokens that prompt and answer may have together."""
        return folders.context_window(self.folder)

    @property
    def prompt_forms(self) -> tuple[PromptForm, ...]:
        """Both: which of them a model does better with is found by trying."""
        return ("plain", "chat")

    @property
    def calls_tools(self) -> bool:
        """No: every model writes calls in a form of its own, and one in plain text is for all."""
        return False

    def estimate_cost_usd(self, tokens_in: int, tokens_out: int) -> float:  # noqa: ARG002
        """Nothing is paid for tokens on this machine."""
        return 0.0

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt, its answer prefix included; the weights are not needed."""
        return [len(ids) for ids in self._tokenizer.encode_prompts(prompts)]

    def read_prices(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, PriceAnswer]]:
        """The distribution of the whole price after each prompt, batch by batch."""
        texts = [self._tokenizer.prompt_text(prompt) for prompt in prompts]
        tokens = self._tokenizer.encode(texts)
        groups: dict[NumberTokens, list[int]] = {}
        for i, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
            groups.setdefault(self._numbers_after(prompt, text, tokens[i]), []).append(i)
        for numbers, group in groups.items():
            yield from self._group_prices(numbers, group, tokens)

    def complete(
        self, prompts: Sequence[Prompt], request: CompletionRequest
    ) -> Iterator[tuple[int, Completion]]:
        """The most probable continuation of each prompt, batch by batch.

        The request's schema and tools are not used: nothing here could hold the model to them.
        """
        tokens = self._tokenizer.encode_prompts(prompts)
        fitting = []
        for i, ids in enumerate(tokens):
            if reason := self._too_long(ids, request.max_tokens):
                usage = Usage(tokens_in=len(ids), attempts=0)
                yield i, Completion(usage, outcome="too_long", reason=reason)
            else:
                fitting.append(i)
        for alike in groups_by_beginning({i: tokens[i] for i in fitting}) if fitting else ():
            yield from self._alike_completions(alike, tokens, request)

    def log_likelihoods(
        self, prompts: Sequence[list[int]], texts: Sequence[list[int]]
    ) -> npt.NDArray[np.float64]:
        """The log-probability of each text after its prompt, in nats, shape (prompts,).

        Args:
            prompts: token ids by the model's own tokenizer, see ``PromptTokenizer``.
            texts: token ids that follow them, at least one each.
        """
        prefix = self._prefix(prompts)
        both = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
        lengths = np.array([len(ids) - len(prefix.ids) for ids in both])
        found = np.zeros(len(prompts))
        for rows in length_sorted_batches(
            lengths, batch_tokens=self.batch_tokens, batch_items=_SCORED_TOGETHER
        ):
            found[rows] = log_likelihoods(
                self._network,
                self._tokenizer.pad_id,
                [prompts[at] for at in rows],
                [texts[at] for at in rows],
                prefix.ids,
                prefix.cache,
            )
        return found

    @property
    def tokenizer(self) -> PromptTokenizer:
        """The model's own; the weights are not needed for it."""
        return self._tokenizer

    def _group_prices(
        self, numbers: NumberTokens, group: Sequence[int], tokens: Sequence[list[int]]
    ) -> Iterator[tuple[int, PriceAnswer]]:
        """Of prompts after which numbers are tokenised alike."""
        starts = {}
        for i in group:
            if reason := self._too_long(tokens[i], numbers.longest - numbers.replaced):
                usage = Usage(tokens_in=len(tokens[i]), attempts=0)
                yield i, PriceAnswer(usage, outcome="too_long", reason=reason)
            else:
                starts[i] = numbers.start(tokens[i])
        for alike in groups_by_beginning(starts) if starts else ():
            yield from self._alike_prices(numbers, {i: starts[i] for i in alike}, tokens)

    def _alike_completions(
        self, alike: Sequence[int], tokens: Sequence[list[int]], request: CompletionRequest
    ) -> Iterator[tuple[int, Completion]]:
        """Of prompts whose common beginning is computed once."""
        prefix = self._prefix([tokens[i] for i in alike])
        for rows in self._batches(alike, tokens, prefix, written=request.max_tokens):
            started = time.perf_counter()
            texts = generate(
                self._network,
                self._tokenizer,
                [tokens[i] for i in rows],
                prefix.ids,
                prefix.cache,
                max_tokens=request.max_tokens,
                stop=request.stop,
            )
            seconds = time.perf_counter() - started
            for i, found in zip(rows, texts, strict=True):
                usage = _usage(tokens[i], found.tokens, prefix, seconds, len(rows), len(alike))
                yield i, Completion(usage, found.text)

    def _alike_prices(
        self,
        numbers: NumberTokens,
        starts: Mapping[int, list[int]],
        tokens: Sequence[list[int]],
    ) -> Iterator[tuple[int, PriceAnswer]]:
        """Of prompts whose common beginning is computed once."""
        prefix = self._prefix(list(starts.values()))
        prices = np.arange(self.highest_price + 1, dtype=np.float64)
        for rows in self._batches(list(starts), starts, prefix):
            started = time.perf_counter()
            found = self._probabilities(numbers, [starts[i] for i in rows], prefix)
            seconds = time.perf_counter() - started
            for i, probabilities in zip(rows, found.numbers, strict=True):
                usage = _usage(tokens[i], 0, prefix, seconds, len(rows), len(starts))
                yield i, _answer(usage, prices, probabilities, self.least_share)

    def _probabilities(
        self, numbers: NumberTokens, prompts: Sequence[list[int]], prefix: _Prefix
    ) -> PriceProbabilities:
        import torch

        network = self._network
        with torch.inference_mode():
            batch = Batch.of(prompts, len(prefix.ids), self._tokenizer.pad_id, self.device)
            cache = network.expanded(prefix.cache, len(prompts))
            reader = self._trie_reader(numbers)
            followed = None if self.follows_all_numbers else list(map(_followed, prompts))
            return reader.probabilities(batch, cache, followed=followed)

    def _trie_reader(self, numbers: NumberTokens) -> TrieReader:
        if numbers not in self._readers:
            self._readers[numbers] = TrieReader(self._network, numbers, self._number_goes_on)
        return self._readers[numbers]

    @functools.cached_property
    def _readers(self) -> dict[NumberTokens, TrieReader]:
        return {}

    @functools.cached_property
    def _number_goes_on(self) -> npt.NDArray[np.bool_]:
        return self._tokenizer.number_goes_on(self._network.vocabulary_size)

    def _numbers_after(self, prompt: Prompt, text: str, ids: Sequence[int]) -> NumberTokens:
        """How numbers are written after a prompt: looked up by its end, where that is enough."""
        tail = self._tokenizer.tail_of(text, prompt.answer_prefix)
        found = self._number_tokens.get(tail)
        if found is None:
            with told_as_not_asked():
                found = NumberTokens.after(tail, self.highest_price, self._tokenizer.encode)
            self._number_tokens[tail] = found
        if found.follows(ids):
            return found
        return NumberTokens.after(text, self.highest_price, self._tokenizer.encode)

    def _prefix(self, prompts: Sequence[list[int]]) -> _Prefix:
        """What all of several prompts begin with; at least a token is left of each."""
        shared = min(common_prefix(prompts), min(map(len, prompts)) - 1)
        if not self.shares_prefix or len(prompts) < 2 or shared < _SHARED_AT_LEAST:
            return _Prefix([], None, 0.0)
        network, started = self._network, time.perf_counter()
        ids = prompts[0][:shared]
        cache = network.prefix_cache(ids)
        return _Prefix(ids, cache, time.perf_counter() - started)

    def _batches(
        self,
        rows: Sequence[int],
        tokens: Sequence[list[int]] | Mapping[int, list[int]],
        prefix: _Prefix,
        *,
        written: int = 0,
    ) -> Iterator[list[int]]:
        """Rows of about one length together, the shortest first; more where tokens are written.

        Writing computes a token of each row at a time, which takes many rows to be worth its while.
        """
        lengths = np.array([len(tokens[i]) - len(prefix.ids) + written for i in rows])
        batch_tokens = self.batch_tokens * (_WRITTEN_TOGETHER if written else 1)
        cached = _CACHED_TOKENS[self.device.split(":")[0]] // (len(prefix.ids) + int(lengths.max()))
        batches = length_sorted_batches(
            lengths,
            batch_tokens=batch_tokens,
            batch_items=max(1, min(_WRITTEN_ITEMS if written else _BATCH_ITEMS, cached)),
        )
        for chosen in batches:
            yield [rows[int(at)] for at in chosen]

    def _too_long(self, ids: Sequence[int], answer: int) -> str | None:
        if len(ids) + answer <= self.context_window:
            return None
        return (
            f"The prompt has {len(ids)} tokens and the answer up to {answer}; the context window"
            f" of {self.name} has {self.context_window}."
        )

    @functools.cached_property
    def _tokenizer(self) -> PromptTokenizer:
        return PromptTokenizer(self.folder)

    @functools.cached_property
    def _content_sha256(self) -> str:
        return folders.content_sha256(self.folder)

    @property
    def _network(self) -> Network:
        if self.held is not None:
            return self.held
        precision = self.precision
        with _LOADING, told_as_not_asked():
            return loaded_network(
                self.folder, self._content_sha256, precision, self.quantization, self.device
            )


def _followed(prompt: Sequence[int]) -> int:
    """Nodes of each level of the number tree: after a long prompt, more are worth their while."""
    return min(max(len(prompt) // _TOKENS_A_NODE, _FEWEST_FOLLOWED), _MOST_FOLLOWED)


def _usage(
    ids: Sequence[int], written: int, prefix: _Prefix, seconds: float, rows: int, prompts: int
) -> Usage:
    """Of a prompt: its share of its batch's time, and of the prefix's."""
    return Usage(
        tokens_in=len(ids),
        tokens_cached=len(prefix.ids),
        tokens_out=written,
        latency_ms=1000 * (seconds / rows + prefix.seconds / prompts),
    )


def _answer(
    usage: Usage,
    prices: npt.NDArray[np.float64],
    probabilities: npt.NDArray[np.float32],
    least_share: float,
) -> PriceAnswer:
    total = float(probabilities.sum())
    if not np.isfinite(total) or total <= 0:
        reason = "The model gives no number any probability."
        return PriceAnswer(usage, outcome="failed", reason=reason)
    if total < least_share:
        reason = (
            f"The model puts only {100 * total:.2g} % on a whole number up to {prices[-1]:.0f}."
        )
        return PriceAnswer(usage, outcome="refused", reason=reason)
    return PriceAnswer(usage, PriceDistribution(prices, probabilities / np.float32(total)))
