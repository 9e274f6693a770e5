"""The house style that comes with the bundled catalogue: customers' messages and the replies.

600 pairs of two shops with one way of talking, drawn with a seed from the phrases of
``house_style.toml``, about orders, goods, returns, prices, and facts of the bundled documents. No
amount of money stands in them. Here belongs what is drawn; the wording is in the TOML file.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict

from pricing_platform.catalog.bundled.hedonics import seeded_random
from pricing_platform.catalog.bundled.knowledge import Thing, drawn_world
from pricing_platform.catalog.bundled.vocabulary import categories
from pricing_platform.catalog.bundled.wording import expand

PAIRS = 600
STYLE_FILE = "house.jsonl"
_SEED = 42
_TERSE, _LOUD = 0.15, 0.08
_FAREWELLS = {"first": 0.85, "later": 0.5}
_CONTINUED = 0.7
_SOLD_AS = {
    "Bedding": "set of",
    "Coffee & Tea": "bag of",
    "Fasteners": "box of",
    "Headphones": "pair of",
}
_AFTER_END = re.compile(r"(?<=[.?!] )[a-z]")


class _Turn(BaseModel):
    """What a customer may write, and what the reply is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    opening: str
    messages: tuple[str, ...]
    says: tuple[tuple[str, ...], ...]
    promise: bool = False
    facts: tuple[str, ...] = ()


class _Topic(BaseModel):
    """A conversation's turns. ``each`` names the things of the bundled documents it is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    each: str | None = None
    turn: tuple[_Turn, ...]


def write_house_style(folder: Path) -> Path:
    """Writes the pairs as JSON Lines into the folder; equal bytes at every call."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STYLE_FILE
    lines = [json.dumps(pair, ensure_ascii=False) + "\n" for pair in house_style_pairs()]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")
    return path


def house_style_pairs(count: int = PAIRS) -> list[dict[str, Any]]:
    """So many pairs: ``conversation``, ``message``, ``reply`` and the ``facts`` it was made of.

    No two replies are the same, and no two messages.
    """
    pairs: list[dict[str, Any]] = []
    seen: set[str] = set()
    number = 0
    while len(pairs) < count:
        number += 1
        for pair in _conversation(number):
            if len(pairs) < count and not {pair["message"], pair["reply"]} & seen:
                seen |= {pair["message"], pair["reply"]}
                pairs.append(pair)
    return pairs


def _conversation(number: int) -> Iterator[dict[str, Any]]:
    style, topics = _phrases(), _topics()
    rng = seeded_random(_SEED, "house style", number)
    topic = topics[number % len(topics)]
    values = _values(topic, style["words"], rng)
    mood = rng.choices(["plain", "terse", "loud"], [1 - _TERSE - _LOUD, _TERSE, _LOUD])[0]
    turns = topic.turn if rng.random() < _CONTINUED else topic.turn[:1]
    for place, turn in enumerate(turns):
        chosen = rng.randrange(len(turn.messages))
        words = values | {"when": _filled(rng.choice(style["words"]["when"]), values, rng)}
        message = _filled(turn.messages[chosen], words, rng)
        yield {
            "conversation": f"house_{number:04d}",
            "message": _in_mood(message, mood),
            "reply": _reply(style, turn, chosen, words, rng, is_first=place == 0),
            "facts": [_filled(fact, words, rng) for fact in turn.facts],
        }


@cache
def _phrases() -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "house_style.toml").read_text(encoding="utf-8"))


@cache
def _topics() -> tuple[_Topic, ...]:
    return tuple(_Topic.model_validate(entry) for entry in _phrases()["topic"])


def _reply(
    style: dict[str, Any],
    turn: _Turn,
    chosen: int,
    words: dict[str, str],
    rng: Random,
    *,
    is_first: bool,
) -> str:
    parts = [rng.choice(style["openings"][turn.opening])]
    for sentences in turn.says:
        coupled = len(sentences) == len(turn.messages)
        parts.append(sentences[chosen] if coupled else rng.choice(sentences))
    if turn.promise:
        parts.append(rng.choice(style["endings"]["promises"]))
    if rng.random() < _FAREWELLS["first" if is_first else "later"]:
        endings = style["endings"]["farewells" if is_first else "short_farewells"]
        parts.append(rng.choice(endings))
    return " ".join(_sentence(_filled(part, words, rng)) for part in parts)


def _values(topic: _Topic, words: dict[str, list[str]], rng: Random) -> dict[str, str]:
    """What the slots of a conversation's phrases are filled with."""
    world = drawn_world()
    brand = rng.choice(world["brands"])
    if topic.each == "guides":
        guide = rng.choice(world["guides"])
        brand = rng.choice([at for at in world["brands"] if at["category"] == guide["category"]])
    category = next(at for at in categories() if at.name == brand["category"])
    guide = next(at for at in world["guides"] if at["category"] == category.name)
    maker, store = brand["maker"], rng.choice(world["stores"])
    care = rng.choice(sorted(guide["advice"]))
    kinds = [_one_of(word, category.name) for kind in category.kinds for word in kind.words]
    things = rng.sample(kinds, 2)
    materials = rng.sample([material.words[0] for material in category.materials], 2)
    return {
        "brand": brand["name"],
        "other_brand": next(name for name in category.brands if name != brand["name"]),
        "thing": things[0],
        "other_thing": things[1],
        "material": materials[0],
        "other_material": materials[1],
        "category": category.name.lower(),
        "care_material": care,
        "advice": guide["advice"][care],
        "designer": brand["designer"],
        **_of_maker(maker),
        **_of_store(store),
        "order": f"{rng.choice('NH')}{rng.randrange(10_000, 99_999)}",
        "count": rng.choice(["two", "three", "four", "five", "six"]),
        "more": rng.choice(["eight", "ten", "a dozen", "fifteen", "twenty", "forty"]),
        "number": str(rng.randrange(2, 190)),
        **{name: rng.choice(words[name]) for name in ("weekday", "colour", "street")},
    }


def _one_of(kind: str, category: str) -> str:
    """What is sold by the pair or the box, in the singular."""
    return f"{_SOLD_AS[category]} {kind}" if kind.endswith("s") else kind


def _of_maker(maker: Thing) -> dict[str, str]:
    named = ("city", "founded", "founder", "employees", "phone", "warranty", "parts")
    told = {name: str(maker[name]) for name in named}
    return {"maker": maker["name"], "ceo": maker["ceo"]["name"], **told}


def _of_store(store: Thing) -> dict[str, str]:
    named = ("manager", "return_days", "refund_days", "standard_days", "cutoff")
    told = {name: str(store[name]) for name in named}
    return {"shop": store["name"], "shop_city": store["city"], **told}


def _filled(template: str, values: dict[str, str], rng: Random) -> str:
    # Choices first: what is filled in may hold a bracket of its own one day.
    return expand(template, rng).format_map(values)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return _AFTER_END.sub(lambda found: found[0].upper(), text)


def _in_mood(message: str, mood: str) -> str:
    """As people type: some without capitals and full stops, some loudly."""
    message = _sentence(message)
    if mood == "terse":
        return message.lower().rstrip(".")
    return message.rstrip(".?!") + "!!" if mood == "loud" else message
