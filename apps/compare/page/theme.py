"""Colours, marks and line styles of the roles, the same in every figure, and figures as data URIs.

Nothing is told by colour alone: standard is blue, hollow and dashed, generous is orange, filled and solid,
a student alone is grey with a triangle and dotted; teachers have squares, students circles. Blue and
orange differ for the colour-blind, and in grey one is dark and the other light."""
import base64
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib
import numpy
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from page.section import Figure


@dataclass(frozen=True)
class Role:
    """What a run is in the study, and how it is drawn."""
    name: str
    colour: str
    marker: str          # matplotlib's
    filled: bool
    dashes: str          # matplotlib's line style
    svg_dashes: str      # the same for the legend's stroke-dasharray


BLUE, ORANGE, GREY, PURPLE = "#00558c", "#e06c00", "#5a5a5a", "#a6478f"
ROLES = {role.name: role for role in (
    Role("standard teacher", BLUE, "s", False, "--", "6 3"),
    Role("generous teacher", ORANGE, "s", True, "-", ""),
    Role("alone", GREY, "^", True, ":", "2 3"),
    Role("student of standard", BLUE, "o", False, "--", "6 3"),
    Role("student of generous", ORANGE, "o", True, "-", ""),
    Role("student of another teacher", PURPLE, "D", True, "-.", "6 3 2 3"),
)}

PANEL = 372              # pixels: fits a screen of 400
DIFFERENCES = "PuOr_r"   # diverging, and told apart by the colour-blind
LARGEST_SVG = 120_000    # bytes: above, a PNG may be smaller

STYLE = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica"],
    "font.size": 8.5, "axes.labelsize": 8.5, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#888888", "axes.linewidth": 0.7,
    "axes.grid": False, "grid.color": "#e2e2e2", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "xtick.color": "#444444", "ytick.color": "#444444", "axes.labelcolor": "#222222", "text.color": "#1a1a1a",
    "lines.linewidth": 1.5, "lines.markersize": 5.5, "svg.fonttype": "none", "svg.hashsalt": "generous",
    "axes.unicode_minus": True,
}


class EmptyPlot(Exception):
    """A figure without data: the module that made it should have said what is missing instead."""


@contextmanager
def panel(height: int, width: int = PANEL) -> Iterator[tuple[Canvas, Axes]]:
    """A figure of one pair of axes, that many pixels of the page large."""
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(width / 96, height / 96), layout="constrained")
        yield canvas, canvas.subplots()


def figure(canvas: Canvas, alt: str, title: str = "", large: bool = False) -> Figure:
    """The finished figure: SVG, or PNG of twice the page's pixels where that is the smaller one of the two.
    Throws EmptyPlot if axes have nothing finite in them. The same figure gives the same bytes."""
    for axes in canvas.axes:
        if not axes.has_data() or not numpy.isfinite(axes.dataLim.get_points()).all():
            raise EmptyPlot(f"a plot without data: {alt}")
    width, height = (round(inches * 96) for inches in canvas.get_size_inches())
    with matplotlib.rc_context(STYLE):
        kind, content = "svg+xml", _saved(canvas, "svg", metadata={"Date": None})
        if len(content) > LARGEST_SVG:
            picture = _saved(canvas, "png", dpi=192)
            if len(picture) < len(content):
                kind, content = "png", picture
    return Figure(data_uri(kind, content), width, height, alt, title, large)


def _saved(canvas: Canvas, kind: str, **settings) -> bytes:
    with io.BytesIO() as file:
        canvas.savefig(file, format=kind, **settings)
        return file.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """kind: what follows "image/"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def mark(role: str) -> dict:
    """How a role's points are drawn: arguments of Axes.plot."""
    style = ROLES[role]
    return {"marker": style.marker, "color": style.colour, "markeredgecolor": style.colour,
            "markerfacecolor": style.colour if style.filled else "white", "markeredgewidth": 1.3}


def line(role: str) -> dict:
    """How a role's curves are drawn: arguments of Axes.plot."""
    return {"color": ROLES[role].colour, "linestyle": ROLES[role].dashes}


def in_order(roles: Iterable[str]) -> list[str]:
    """Each once, in the order of the legend."""
    wanted = set(roles)
    return [role for role in ROLES if role in wanted]


def legend_mark(role: str) -> dict:
    """The same for the page's legend, drawn as inline SVG by the template."""
    style = ROLES[role]
    return {"name": style.name, "colour": style.colour, "fill": style.colour if style.filled else "white",
            "marker": style.marker, "dashes": style.svg_dashes}
