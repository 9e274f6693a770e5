"""The picture of a training's losses.

Here belongs drawing it from what stands beside the trained model. Measuring belongs to
``training``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pricing_platform.drawing import LINE_COLOURS, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_loss_curve(path: Path) -> bytes:
    """A PNG of price and text loss against tokens read, from a ``loss_curve.json``."""
    points: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))

    def draw(axes: Axes) -> None:
        tokens = [at["tokens"] / 1e6 for at in points]
        for colour, name in zip(LINE_COLOURS, ("price_loss", "text_loss"), strict=False):
            label = name.replace("_", " ")
            axes.plot(tokens, [at[name] for at in points], color=colour, label=label)
        axes.set_title("Training of the base model")
        axes.set_xlabel("million tokens read")
        axes.set_ylabel("cross-entropy, nats")
        axes.legend()
        axes.grid(axis="y")

    return picture(draw)
