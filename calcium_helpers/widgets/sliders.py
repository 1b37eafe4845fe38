"""What the sliders share: a picture that follows its controls."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_ipywidgets() -> ModuleType:
    """Import ipywidgets, or say how it is installed."""
    try:
        import ipywidgets
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("sliders need ipywidgets: pip install 'calcium_helpers[widgets]'") from missing
    return ipywidgets


def wide_slider(widgets: ModuleType) -> dict[str, Any]:
    """Layout of a slider with room for its description; the picture follows when it is let go."""
    return {"layout": widgets.Layout(width="420px"), "style": {"description_width": "130px"}, "continuous_update": False}


def add_player(name: str, first: int, n: int, *, interval_ms: int) -> tuple[Any, Any]:
    """Return a slider over ``n`` steps with a player beside it, and the slider alone."""
    widgets = require_ipywidgets()
    last = max(n - 1, 0)
    slider = widgets.IntSlider(first, 0, last, description=name, layout=widgets.Layout(width="420px"))
    player = widgets.Play(value=first, min=0, max=last, interval=interval_ms)
    widgets.jslink((player, "value"), (slider, "value"))
    return widgets.HBox([player, slider]), slider


def follow(controls: dict[str, Any], draw: Callable[..., bytes]) -> Any:
    """Return a picture that ``draw`` draws anew from the controls' values, by name, whenever one of them moves."""
    widgets = require_ipywidgets()
    own_size = widgets.Layout(align_self="flex-start", max_width="100%")  # a box would stretch it to the width of the page
    picture = widgets.Image(format="png", layout=own_size)

    def redraw(_: Any = None) -> None:
        picture.value = draw(**{name: control.value for name, control in controls.items()})

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    return picture


def as_png(figure: Figure) -> bytes:
    """Draw a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
