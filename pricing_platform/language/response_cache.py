"""What language models answered, kept so that no answer is computed or paid for twice.

One SQLite file that threads and processes share and a kill can't break. An answer, what it cost,
and the end of the claim that kept others from asking the same are one transaction, so the sum of
what was spent always fits the answers. Here belongs keeping answers, claims on what is being asked,
and the sums that budgets are held against. How an endpoint is asked belongs to ``endpoint``.

What was spent is counted in full: a call that never told what it cost (it broke off, timed out, or
its process was killed) is counted at the most that it can have cost.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self, TypeVar, get_args

import numpy as np
import psutil
from pydantic import JsonValue

from pricing_platform.errors import PlatformError
from pricing_platform.language.model import (
    Completion,
    CompletionRequest,
    LanguageModel,
    Outcome,
    PriceAnswer,
    Prompt,
    PromptForm,
    ToolCall,
    Usage,
)
from pricing_platform.language.price_distribution import PriceDistribution
from pricing_platform.settings import Settings
from pricing_platform.stores.warehouse import make_folder

Kind = Literal["price", "completion"]
Claim = Literal[
    "mine",  # ask now, then keep or release
    "answered",  # somebody else has asked meanwhile
    "elsewhere",  # somebody else is asking now
    "no room now",  # it would fit the budget if the calls under way cost less than they may
    "no room",  # it does not fit what is left of the budget
]
READING_VERSION = 3
"""To be raised when how an answer is read changes: what was read otherwise is not served then."""
KEPT_OUTCOMES: frozenset[Outcome] = frozenset({"answered", "refused"})
KEPT_OF_BATCHES: frozenset[Outcome] = KEPT_OUTCOMES | {"too_long", "unreadable"}
"""A batch brings outcomes of one prompt to another run, and that run has to find them."""

_LOCK_SECONDS = 60.0
_KEYS_A_QUERY = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    answer TEXT NOT NULL,
    distribution BLOB,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE TABLE IF NOT EXISTS claims (
    key TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    usd REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spending (
    told INTEGER PRIMARY KEY, -- 1: as the server told it; 0: at the most it can have been
    tokens INTEGER NOT NULL,
    usd REAL NOT NULL
);
INSERT OR IGNORE INTO spending VALUES (0, 0, 0), (1, 0, 0);
CREATE TABLE IF NOT EXISTS batch_requests (
    key TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    reading TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    usd REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dropped_parameters (
    endpoint TEXT NOT NULL,
    model TEXT NOT NULL,
    parameter TEXT NOT NULL,
    PRIMARY KEY (endpoint, model, parameter)
) WITHOUT ROWID;
"""
_T = TypeVar("_T")
_HELD: set[tuple[str, str]] = set()
"""Owner and key of the claims that runs in this process hold."""


@dataclass(frozen=True)
class Cost:
    """Tokens, in and out together, and USD."""

    tokens: int = 0
    usd: float = 0.0


@dataclass(frozen=True)
class Spending:
    """What all calls so far cost, and how much of it no server has told."""

    total: Cost
    not_told: Cost


@dataclass(frozen=True)
class Budget:
    """What all calls together may cost; None sets no limit."""

    usd: float | None = None
    tokens: int | None = None


_NOTHING = Cost()
_NO_BUDGET = Budget()


@dataclass(frozen=True)
class BatchRequest:
    """A request that was written to a file: how its answer is read, and the most it can cost."""

    key: str
    file: str
    reading: str
    worst: Cost


@dataclass(frozen=True)
class KeptAnswer:
    """An answer of either kind, as it is kept."""

    usage: Usage
    text: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    distribution: PriceDistribution | None = None
    outcome: Outcome = "answered"
    reason: str | None = None

    @classmethod
    def of(cls, answer: PriceAnswer | Completion) -> Self:
        """What is to be kept of an answer; a distribution is rounded as keeping it rounds it."""
        if isinstance(answer, Completion):
            calls = answer.tool_calls
            return cls(answer.usage, answer.text, calls, None, answer.outcome, answer.reason)
        found = answer.distribution
        return cls(answer.usage, answer.text, (), found, answer.outcome, answer.reason).as_kept()

    def price(self) -> PriceAnswer:
        """As the answer to a question for a price."""
        return PriceAnswer(self.usage, self.distribution, self.text, self.outcome, self.reason)

    def completion(self) -> Completion:
        """As a completion."""
        return Completion(self.usage, self.text or "", self.tool_calls, self.outcome, self.reason)

    def as_kept(self) -> Self:
        """The same, its distribution rounded as keeping it rounds it."""
        return replace(self, distribution=_rounded(self.distribution))

    def again(self) -> Self:
        """The same, for one who did not have to ask."""
        return replace(self, usage=replace(self.usage, from_cache=True))


def request_key(identity: str, kind: Kind, request: JsonValue) -> str:
    """The sha256 of all that an answer follows from: the model, the kind, the full request.

    What is kept was read already, so how it was read is part of it: ``READING_VERSION``.
    """
    followed = [READING_VERSION, identity, kind, request]
    canonical = json.dumps(followed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


class ResponseCache:
    """The answers in one SQLite file, which is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = _owner()
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The cache of the configured home."""
        return cls(settings.cache_folder / "language_responses.sqlite")

    def close(self) -> None:
        """Lets go of the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    def find(
        self, keys: Iterable[str], outcomes: frozenset[Outcome] = KEPT_OUTCOMES
    ) -> dict[str, KeptAnswer]:
        """The answers that are kept; one that can't be read counts as none.

        Args:
            keys: of the requests.
            outcomes: those that count as an answer.

        Raises:
            PlatformError: when the file is damaged, as every other method here does.
        """
        found: dict[str, KeptAnswer] = {}
        wanted = list(dict.fromkeys(keys))
        with self._transaction(write=False) as connection:
            for start in range(0, len(wanted), _KEYS_A_QUERY):
                rows = connection.execute(
                    "SELECT key, answer, distribution FROM responses"
                    " WHERE key IN (SELECT value FROM json_each(?))",
                    [json.dumps(wanted[start : start + _KEYS_A_QUERY])],
                )
                for key, answer, distribution in rows:
                    read = _read_answer(answer, distribution)
                    if read is not None and read.outcome in outcomes:
                        found[key] = read
        return found

    def keep(
        self,
        key: str,
        kind: Kind,
        model: str,
        answer: KeptAnswer,
        spent: Cost | None = None,
        *,
        told: bool = True,
    ) -> bool:
        """Keeps an answer and what it cost, and ends the claim on it; whether it was new.

        ``told``: the server said what it cost, and ``spent`` is not just the most it can be.
        """
        with self._transaction() as connection:
            new = connection.execute(
                "INSERT OR REPLACE INTO responses (key, kind, model, answer, distribution)"
                " SELECT ?, ?, ?, ?, ? WHERE NOT EXISTS"
                " (SELECT 1 FROM responses WHERE key = ? AND answer = ?)",
                [key, kind, model, *_written_answer(answer), key, _written_answer(answer)[0]],
            ).rowcount
            if spent is not None and new:
                _add(connection, spent, told=told)
            connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", [key, self.owner])
            connection.execute("DELETE FROM batch_requests WHERE key = ?", [key])
        _HELD.discard((self.owner, key))
        return bool(new)

    def keep_all(self, kind: Kind, model: str, answers: Mapping[str, KeptAnswer]) -> None:
        """Keeps those answers that are worth it, all of them or, where it is killed, none."""
        rows = [
            (key, kind, model, *_written_answer(answer))
            for key, answer in answers.items()
            if answer.outcome in KEPT_OUTCOMES
        ]
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO responses (key, kind, model, answer, distribution)"
                " VALUES (?, ?, ?, ?, ?)",
                rows,
            )

    def claim(self, key: str, worst: Cost, budget: Budget) -> Claim:
        """Takes it upon this process to ask, where the most that it can cost fits the budget."""
        with self._transaction() as connection:
            if _has_answer(connection, key):
                return "answered"
            holder = connection.execute("SELECT owner FROM claims WHERE key = ?", [key]).fetchone()
            if holder is not None:
                if _is_held(holder[0], key):
                    return "elsewhere"
                _write_off_dead(connection)
            room = _room(connection, worst, budget)
            if room == "no room now" and _write_off_dead(connection):
                room = _room(connection, worst, budget)
            if room == "mine":
                connection.execute(
                    "INSERT INTO claims VALUES (?, ?, ?, ?)",
                    [key, self.owner, worst.tokens, worst.usd],
                )
                _HELD.add((self.owner, key))  # before others can see the claim
            return room

    def charge(self, cost: Cost, budget: Budget, *, told: bool) -> bool:
        """Counts what an attempt cost that brought no answer; whether another one still fits."""
        with self._transaction() as connection:
            _add(connection, cost, told=told)
            return _room(connection, Cost(), budget) == "mine"

    def release(self, key: str) -> None:
        """Ends a claim that brought no answer; nobody waits for it even where this fails."""
        _HELD.discard((self.owner, key))
        with self._transaction() as connection:
            connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", [key, self.owner])

    def write_off_dead(self) -> None:
        """Ends the claims that nobody holds, and counts the most that they can have cost.

        Those are of processes that are gone, or of this one where it could not end them.
        """
        with self._transaction() as connection:
            _write_off_dead(connection)

    def spending(self) -> Spending:
        """What all calls so far cost."""
        with self._transaction(write=False) as connection:
            rows = connection.execute("SELECT told, tokens, usd FROM spending")
            costs = {told: Cost(tokens, usd) for told, tokens, usd in rows}
        total = Cost(sum(c.tokens for c in costs.values()), sum(c.usd for c in costs.values()))
        return Spending(total, costs.get(0, Cost()))

    def batch_requests(self, keys: Iterable[str]) -> dict[str, BatchRequest]:
        """Those of the requests that were written for a batch and are not answered."""
        found: dict[str, BatchRequest] = {}
        wanted = list(dict.fromkeys(keys))
        with self._transaction(write=False) as connection:
            for start in range(0, len(wanted), _KEYS_A_QUERY):
                rows = connection.execute(
                    "SELECT key, file, reading, tokens, usd FROM batch_requests"
                    " WHERE key IN (SELECT value FROM json_each(?))",
                    [json.dumps(wanted[start : start + _KEYS_A_QUERY])],
                )
                for key, file, reading, tokens, usd in rows:
                    found[key] = BatchRequest(key, file, reading, Cost(tokens, usd))
        return found

    def add_batch_requests(
        self, requests: Sequence[BatchRequest], budget: Budget = _NO_BUDGET
    ) -> Claim:
        """Notes requests that are about to be written to a file, if the budget has room for them.

        Those that were noted before, for a file that is gone, are counted once.
        """
        with self._transaction() as connection:
            worst = [request.worst for request in requests]
            noted = _noted(connection, [request.key for request in requests])
            more = Cost(
                sum(cost.tokens for cost in worst) - noted.tokens,
                sum(cost.usd for cost in worst) - noted.usd,
            )
            room = _room(connection, more, budget)
            if room != "mine":
                return room
            connection.executemany(
                "INSERT OR REPLACE INTO batch_requests VALUES (?, ?, ?, ?, ?)",
                [(r.key, r.file, r.reading, r.worst.tokens, r.worst.usd) for r in requests],
            )
            return room

    def set_aside(self, key: str, worst: Cost, budget: Budget) -> Claim:
        """Takes from the budget what may be spent after this process has ended, as by a training.

        It ends with :meth:`keep`. What was set aside before with the same key is counted once.
        """
        return self.add_batch_requests([BatchRequest(key, "", "", worst)], budget)

    def remove_batch_request(self, key: str, spent: Cost = _NOTHING, *, told: bool = True) -> None:
        """Forgets a request that was answered with an error, so that it is written again.

        What the error cost is counted.
        """
        with self._transaction() as connection:
            _add(connection, spent, told=told)
            connection.execute("DELETE FROM batch_requests WHERE key = ?", [key])

    def dropped_parameters(self, endpoint: str, model: str) -> list[str]:
        """Parameters that an endpoint said in a batch it does not know for the model."""
        with self._transaction(write=False) as connection:
            rows = connection.execute(
                "SELECT parameter FROM dropped_parameters WHERE endpoint = ? AND model = ?",
                [endpoint, model],
            )
            return [parameter for (parameter,) in rows]

    def drop_parameter(self, endpoint: str, model: str, parameter: str) -> None:
        """Notes that the model is to be asked without a parameter in batches."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO dropped_parameters VALUES (?, ?, ?)",
                [endpoint, model, parameter],
            )

    @contextmanager
    def _transaction(self, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        with self._lock, self._translate_errors():
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self._roll_back(connection)
                raise

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:  # the file is out of reach; the next use opens it anew
            connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._process != os.getpid():  # a fork must not use its parent's connection
            self._connection, self._process, self.owner = None, os.getpid(), _owner()
        if self._connection is None:
            make_folder(self.path.parent)
            connection = sqlite3.connect(
                self.path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                _set_up(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            text = str(error)
            if "full" in text:
                raise PlatformError(
                    f"The disk that holds {self.path.parent} is full.",
                    "Free some space there; the next run goes on from what was answered.",
                ) from None
            if "malformed" in text or "not a database" in text or "no such column" in text:
                raise PlatformError(
                    f"The cache of language models' answers {self.path} is damaged: {text}.",
                    "Restore the file or delete it: what it held is asked, and paid for, again,"
                    " and what was spent is counted from 0.",
                ) from None
            if isinstance(error, sqlite3.OperationalError):
                raise PlatformError(
                    f"The cache of language models' answers {self.path} cannot be used: {text}.",
                    "See that no other program holds it, that the disk is well and that you may"
                    " write there; then run again: what was answered is kept.",
                ) from None
            raise


class CachedLanguageModel:
    """A model that remembers what it answered: the inner one is asked only for what is missing.

    It is asked for ``together`` prompts at a time, and their answers are kept all or none: the last
    digits of what a model on this machine computes depend on what is computed beside it, and so a
    run that was killed and goes on asks exactly what an undisturbed one asks.
    """

    def __init__(self, inner: LanguageModel, cache: ResponseCache, *, together: int = 256) -> None:
        self.inner = inner
        self.cache = cache
        self.together = together

    @property
    def name(self) -> str:
        """The inner model's."""
        return self.inner.name

    @property
    def identity(self) -> str:
        """The inner model's."""
        return self.inner.identity

    @property
    def base_weights(self) -> dict[str, str]:
        """The inner model's."""
        return self.inner.base_weights

    @property
    def context_window(self) -> int:
        """The inner model's."""
        return self.inner.context_window

    @property
    def prompt_forms(self) -> tuple[PromptForm, ...]:
        """The inner model's."""
        return self.inner.prompt_forms

    @property
    def calls_tools(self) -> bool:
        """The inner model's."""
        return self.inner.calls_tools

    def count_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """The inner model's count."""
        return self.inner.count_tokens(prompts)

    def estimate_cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        """The inner model's."""
        return self.inner.estimate_cost_usd(tokens_in, tokens_out)

    def read_prices(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, PriceAnswer]]:
        """Kept answers first, then the inner model's as they come."""
        keys = [request_key(self.identity, "price", prompt_json(prompt)) for prompt in prompts]
        found = self._answers("price", keys, lambda at: self.inner.read_prices(_at(prompts, at)))
        return ((index, answer.price()) for index, answer in found)

    def complete(
        self, prompts: Sequence[Prompt], request: CompletionRequest
    ) -> Iterator[tuple[int, Completion]]:
        """Kept answers first, then the inner model's as they come."""
        how = completion_json(request)
        keys = [
            request_key(self.identity, "completion", [prompt_json(prompt), how])
            for prompt in prompts
        ]
        found = self._answers(
            "completion", keys, lambda at: self.inner.complete(_at(prompts, at), request)
        )
        return ((index, answer.completion()) for index, answer in found)

    def _answers(
        self,
        kind: Kind,
        keys: Sequence[str],
        ask: Callable[[Sequence[int]], Iterator[tuple[int, PriceAnswer | Completion]]],
    ) -> Iterator[tuple[int, KeptAnswer]]:
        indices = grouped(keys)
        known = self.cache.find(indices)
        for key, answer in known.items():
            for index in indices[key]:
                yield index, answer.again()
        missing = [key for key in indices if key not in known]
        for start in range(0, len(missing), self.together):
            keys_asked = missing[start : start + self.together]
            asked = ask([indices[key][0] for key in keys_asked])
            answers = {keys_asked[place]: KeptAnswer.of(answered) for place, answered in asked}
            self.cache.keep_all(kind, self.name, answers)
            for key, answer in answers.items():
                first, *equal = indices[key]
                yield first, answer
                for index in equal:
                    yield index, answer.again()


def grouped(keys: Sequence[str]) -> dict[str, list[int]]:
    """The places at which each key stands, in order of the first."""
    indices: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        indices.setdefault(key, []).append(index)
    return indices


def prompt_json(prompt: Prompt) -> JsonValue:
    """All of a prompt that an answer follows from: neither the item nor the step."""
    form = [prompt.form] if prompt.form != "chat" else []
    return [[asdict(message) for message in prompt.messages], prompt.answer_prefix, *form]


def completion_json(request: CompletionRequest) -> JsonValue:
    """All of a request that an answer follows from."""
    return {
        "max_tokens": request.max_tokens,
        "stop": list(request.stop),
        "schema": None if request.schema is None else request.schema.model_json_schema(),
        "tools": [[tool.name, tool.description, tool.json_schema()] for tool in request.tools],
    }


def _at(prompts: Sequence[_T], places: Sequence[int]) -> list[_T]:
    return [prompts[place] for place in places]


def _room(connection: sqlite3.Connection, worst: Cost, budget: Budget) -> Claim:
    if budget.usd is None and budget.tokens is None:
        return "mine"
    # What was written for a batch will be spent, and nothing here can wait for it.
    committed = _plus(_sum(connection, "spending"), _sum(connection, "batch_requests"))
    if not _fits(committed, worst, budget):
        return "no room"
    under_way = _sum(connection, "claims")
    return "mine" if _fits(_plus(committed, under_way), worst, budget) else "no room now"


def _plus(one: Cost, other: Cost) -> Cost:
    return Cost(one.tokens + other.tokens, one.usd + other.usd)


def _fits(before: Cost, more: Cost, budget: Budget) -> bool:
    both = _plus(before, more)
    return (budget.usd is None or both.usd <= budget.usd * (1 + 1e-12)) and (
        budget.tokens is None or both.tokens <= budget.tokens
    )


def _sum(connection: sqlite3.Connection, table: str) -> Cost:
    query = f"SELECT coalesce(sum(tokens), 0), coalesce(sum(usd), 0.0) FROM {table}"
    return Cost(*connection.execute(query).fetchone())


def _noted(connection: sqlite3.Connection, keys: Sequence[str]) -> Cost:
    """What those of the requests take of the budget that are noted for a batch already."""
    query = (
        "SELECT coalesce(sum(tokens), 0), coalesce(sum(usd), 0.0) FROM batch_requests"
        " WHERE key IN (SELECT value FROM json_each(?))"
    )
    return Cost(*connection.execute(query, [json.dumps(list(keys))]).fetchone())


def _add(connection: sqlite3.Connection, cost: Cost, *, told: bool) -> None:
    connection.execute(
        "UPDATE spending SET tokens = tokens + ?, usd = usd + ? WHERE told = ?",
        [cost.tokens, cost.usd, int(told)],
    )


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout = {int(_LOCK_SECONDS * 1000)}")
    connection.execute("PRAGMA synchronous = NORMAL")
    until = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_TABLES)
            return
        except sqlite3.OperationalError as error:
            # SQLite does not wait by itself where two make the same file at once.
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.02)


def _has_answer(connection: sqlite3.Connection, key: str) -> bool:
    """Whether there is one; one that can't be read is deleted, to be asked anew."""
    query = "SELECT answer, distribution FROM responses WHERE key = ?"
    row = connection.execute(query, [key]).fetchone()
    if row is None:
        return False
    read = _read_answer(*row)
    if read is not None:
        return read.outcome in KEPT_OUTCOMES
    connection.execute("DELETE FROM responses WHERE key = ?", [key])
    return False


def _write_off_dead(connection: sqlite3.Connection) -> bool:
    claims = connection.execute("SELECT key, owner, tokens, usd FROM claims").fetchall()
    dead = {owner for owner in {claim[1] for claim in claims} if not _is_alive(owner)}
    lost = [
        (key, Cost(tokens, usd))
        for key, owner, tokens, usd in claims
        if owner in dead or _is_forgotten(owner, key)
    ]
    for key, worst in lost:
        _add(connection, worst, told=False)
        connection.execute("DELETE FROM claims WHERE key = ?", [key])
    return bool(lost)


def _is_held(owner: str, key: str) -> bool:
    return _is_alive(owner) and not _is_forgotten(owner, key)


def _is_forgotten(owner: str, key: str) -> bool:
    """Whether a claim is of this process, and no run of it asks any more."""
    return owner.startswith(f"{os.getpid()}:") and (owner, key) not in _HELD


def _owner() -> str:
    process = psutil.Process()
    return f"{process.pid}:{process.create_time()}:{uuid.uuid4().hex}"


def _is_alive(owner: str) -> bool:
    """Whether the process that made a claim still runs, and is not another one with its number."""
    number, started, _ = owner.split(":")
    try:
        process = psutil.Process(int(number))
        same = abs(process.create_time() - float(started)) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _written_answer(answer: KeptAnswer) -> tuple[str, bytes | None]:
    told = {
        "usage": asdict(replace(answer.usage, from_cache=False)),
        "text": answer.text,
        "tool_calls": [asdict(call) for call in answer.tool_calls],
        "outcome": answer.outcome,
        "reason": answer.reason,
    }
    distribution = answer.distribution
    return json.dumps(told), None if distribution is None else _written(distribution)


def _read_answer(answer: str, distribution: bytes | None) -> KeptAnswer | None:
    try:
        told: Mapping[str, object] = json.loads(answer)
        outcome = told["outcome"]
        if outcome not in get_args(Outcome):
            return None
        return KeptAnswer(
            Usage(**told["usage"]),  # type: ignore[arg-type]
            told["text"],  # type: ignore[arg-type]
            tuple(ToolCall(**call) for call in told["tool_calls"]),  # type: ignore[attr-defined]
            None if distribution is None else _read(distribution),
            outcome,  # type: ignore[arg-type]
            told["reason"],  # type: ignore[arg-type]
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _written(distribution: PriceDistribution) -> bytes:
    """The first price where they follow one another, else all; then half-precision probabilities.

    The likeliest has 1.0, so that half precision reaches down to the 16 millionth part of it.
    """
    prices = np.asarray(distribution.prices, dtype="<f8")
    probabilities = distribution.probabilities / distribution.probabilities.max()
    follows = len(prices) > 1 and bool((np.diff(prices) == 1).all())
    kept = prices[:1] if follows else prices
    header = np.array([len(prices), len(kept)], dtype="<u4")
    parts = header, kept, probabilities.astype("<f2")
    return b"".join(part.tobytes() for part in parts)


def _read(blob: bytes) -> PriceDistribution:
    count, kept = (int(number) for number in np.frombuffer(blob[:8], dtype="<u4"))
    prices = np.frombuffer(blob[8 : 8 + 8 * kept], dtype="<f8")
    probabilities = np.frombuffer(blob[8 + 8 * kept :], dtype="<f2").astype(np.float32)
    if len(probabilities) != count or kept not in (1, count):
        raise ValueError("a distribution of another length than its prices")
    prices = prices if kept == count else prices[0] + np.arange(count, dtype=np.float64)
    return PriceDistribution(prices, probabilities / probabilities.sum())


def _rounded(distribution: PriceDistribution | None) -> PriceDistribution | None:
    return None if distribution is None else _read(_written(distribution))
