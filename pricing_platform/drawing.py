"""The look that all pictures share, and how one becomes a PNG.

Here belong style, colours and rendering. What a picture shows belongs to the package that draws it.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours, which the colour-blind tell apart."""

STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar sign is one
}


def picture(draw: Callable[[Axes], None], *, width: float = 7.2, height: float = 3.6) -> bytes:
    """A PNG of what ``draw`` draws, ``width`` by ``height`` inches.

    The figure is its own, without pyplot: nothing is shared between threads or left open.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
        buffer = BytesIO()
        figure.savefig(buffer, format="png", dpi=130, pil_kwargs={"optimize": True})
    return buffer.getvalue()
