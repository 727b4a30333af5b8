"""What a page is made of: sections with a question, a sentence on how to read what follows, figures and
tables."""
import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """A picture as a data URI, with what it shows for those who do not see it."""
    uri: str
    width: int    # pixels of the page at which its letters have the page's size
    height: int
    alt: str
    title: str = ""      # above it
    large: bool = False  # wider than a panel


@dataclass(frozen=True)
class Thumbnail:
    """An image of the dataset, small."""
    uri: str
    alt: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `heading`: it names its row."""
    text: str
    heading: bool = False
    number: bool = False
    mark: str = ""       # a CSS class
    thumbnails: tuple[Thumbnail, ...] = ()


@dataclass(frozen=True)
class Table:
    caption: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass
class Section:
    """A question and its answer. `missing` has a sentence for everything that cannot be shown."""
    name: str            # its anchor
    question: str
    reading: str = ""
    roles: list[str] = field(default_factory=list)     # whose colours and marks the figures use: the legend
    figures: list[list[Figure]] = field(default_factory=list)   # lists that each begin on a line of their own
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    commands: str = ""   # lines to copy

    @property
    def shows(self) -> bool:
        """Whether there is anything to read as `reading` says."""
        return bool(any(self.figures) or self.tables or self.commands)


def text(value: str, heading: bool = False, mark: str = "") -> Cell:
    return Cell(value, heading=heading, mark=mark)


def number(value: float | int | None, pattern: str = "{:.2f}", mark: str = "") -> Cell:
    """A dash where there is none (None or not a number)."""
    missing = value is None or value != value
    return Cell("–" if missing else minus(pattern.format(value)), number=True, mark=mark)


def minus(digits: str) -> str:
    """With the sign of its own, as wide as a plus; zero has none."""
    return re.sub(r"-(?=0(\.0+)?(?![\d.]))", "", digits).replace("-", "−")


def listing(names: list[str]) -> str:
    """"a", "a and b", "a, b and c"."""
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def count(number_of: int, noun: str, plural: str = "") -> str:
    """"1 seed", "3 seeds"."""
    return f"{number_of} {noun if number_of == 1 else plural or noun + 's'}"
