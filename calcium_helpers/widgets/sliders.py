"""What the sliders share: a picture that follows its controls."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDGET = "application/vnd.jupyter.widget-view+json"
STILL_WIDTH_PX, STILL_QUALITY = 640, 45


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


def join(*controls: Any, picture: Any) -> Any:
    """Put controls above their picture; where no kernel runs, readers of the notebook see the picture as it was."""
    return _box_class()(controls, picture)


@cache
def _box_class() -> Any:
    """Return a VBox that also gives a still picture, and the same words in every run, to those who cannot show widgets."""
    VBox: Any = require_ipywidgets().VBox

    class PictureBox(VBox):
        _ipython_display_ = None  # of ipywidgets 7: it would keep what follows from being asked for

        def __init__(self, controls: tuple[Any, ...], picture: Any) -> None:
            super().__init__([*controls, picture])
            self.picture = picture

        def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
            view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
            still = base64.b64encode(_still(bytes(self.picture.value))).decode()
            return {"text/plain": "Controls and a picture that follows them: run this cell", "image/jpeg": still, WIDGET: view}

    return PictureBox


def _still(png: bytes) -> bytes:
    """Return a picture as a small JPEG, since a notebook keeps it as text."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((STILL_WIDTH_PX, 10 * STILL_WIDTH_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=STILL_QUALITY, optimize=True)
    return buffer.getvalue()


def as_png(figure: Figure) -> bytes:
    """Draw a figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
