"""Dot plots: a row for each configuration, a small dot for each seed, a large mark for the mean and a bar
for its spread. Names stand above their rows, so that the plot is as wide as a narrow screen."""
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy
from matplotlib.ticker import MaxNLocator

from page import theme
from page.section import Figure, count

GROUPS_A_PANEL = 12   # more make a further figure: beside it on a wide screen, below it on a narrow one
LETTERS = 50          # of a name in a line
ROW, LINE = 20, 13    # pixels: of a row, of a line of a name
BELOW = 7             # so far below the mean are the seeds


@dataclass(frozen=True)
class Row:
    role: str
    values: list[float]   # of each seed; not empty, finite
    bar: tuple[float, float] | None = None   # from, to; by default a standard deviation to either side

    def reach(self) -> tuple[float, float] | None:
        """The bar; None of a single value."""
        if self.bar or len(self.values) < 2:
            return self.bar
        mean, deviation = numpy.mean(self.values), numpy.std(self.values, ddof=1)
        return float(mean - deviation), float(mean + deviation)


@dataclass(frozen=True)
class Group:
    name: str
    rows: list[Row]


def figures(groups: list[Group], quantity: str, alt: str, reference: tuple[float, str] | None = None,
            span: tuple[float, float] | None = None) -> list[Figure]:
    """quantity: what the horizontal axis has, with its unit. alt: what the values are, for the alternative
    text, which also has the means. reference: a value to mark by a vertical line, and its name. span: of
    the axis; by default that of the values, common to all figures of these groups. Groups without rows are
    left out."""
    groups = [group for group in groups if group.rows]
    span = span or span_of(groups, include=reference)
    panels = -(-len(groups) // GROUPS_A_PANEL)
    size = -(-len(groups) // panels) if panels else 1
    parts = [groups[i:i + size] for i in range(0, len(groups), size)]
    return [_figure(part, quantity, alt, reference, span) for part in parts]


def span_of(groups: list[Group], *more: list[Group],
            include: tuple[float, str] | None = None) -> tuple[float, float]:
    """From the smallest to the largest value, that of a reference included, with a margin."""
    rows = [row for part in (groups, *more) for group in part for row in group.rows]
    values = [value for row in rows for value in (*row.values, *(row.reach() or ()))]
    if not values:
        return 0.0, 1.0
    values += [include[0]] if include else []
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _figure(groups: list[Group], quantity: str, alt: str, reference: tuple[float, str] | None,
            span: tuple[float, float]) -> Figure:
    names = [textwrap.wrap(group.name, LETTERS) for group in groups]
    height = sum(title_height(lines) + ROW * len(group.rows) for lines, group in zip(names, groups))
    with theme.panel(height + 58) as (canvas, axes):
        y = 0.0
        for lines, group in zip(names, groups):
            axes.annotate("\n".join(lines), (0, y + title_height(lines) / 2), (2, 0),
                          xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                          fontsize=8, fontweight="bold", annotation_clip=False, in_layout=False)
            y += title_height(lines)
            for row in group.rows:
                _row(axes, y + ROW / 2 - 2, row)
                y += ROW
        axes.set_ylim(height, 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(*span)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(True, axis="x")
        axes.set_xlabel(quantity)
        if reference:
            axes.axvline(reference[0], color="#888888", linewidth=1, linestyle=(0, (1, 2)))
            axes.annotate(reference[1], (reference[0], 1), (3, 3), xycoords=("data", "axes fraction"),
                          textcoords="offset points", fontsize=7.5, color="#555555", annotation_clip=False,
                          ha="right" if reference[0] > numpy.mean(span) else "left")
        return theme.figure(canvas, f"{alt}: {describe(groups)}")


def title_height(lines: list[str]) -> int:
    return LINE * len(lines) + 7


def _row(axes, y: float, row: Row) -> None:
    role = theme.mark(row.role)
    mean = numpy.mean(row.values)
    if reach := row.reach():
        axes.errorbar(mean, y, xerr=[[mean - reach[0]], [reach[1] - mean]], color=role["color"],
                      linewidth=1.3, capsize=3.5, zorder=2)
    if len(row.values) > 1:
        axes.plot(row.values, [y + BELOW] * len(row.values), "o", color=role["color"], markersize=2.8,
                  alpha=0.7, zorder=4, markeredgewidth=0)
    axes.plot(mean, y, **role, linestyle="none", zorder=3)


def describe(groups: list[Group], pattern: Callable[[float], str] = "{:.4g}".format) -> str:
    """The means in words, of the first groups where there are many."""
    words = []
    for group in groups[:8]:
        rows = ", ".join(f"{row.role} {pattern(float(numpy.mean(row.values)))}" for row in group.rows)
        words.append(f"{group.name}: {rows}")
    rest = f"; and {count(len(groups) - 8, 'further group')}" if len(groups) > 8 else ""
    return "; ".join(words) + rest
