"""YAML, read strictly: every value knows its line, nothing is guessed, and whatever is wrong is one line of text.

PyYAML's own reading would take the last of two equal keys, `no` for false, 010 for 8 and 1e-4 for a text; here a
value is the text that stands in the file until somebody asks for a type."""
from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Sequence

import yaml

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
INTEGER = re.compile(r"0|-?[1-9][0-9]*")
MERGE = "tag:yaml.org,2002:merge"


class GridError(Exception):
    """A mistake in a grid: one line for the user."""


def nearest(name: str, known: Sequence[str]) -> str:
    """ "; did you mean seeds?", or what there is where nothing is near."""
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def named(what: str, key: str) -> str:
    return f"{what}.{key}" if what else key


@dataclass(frozen=True)
class Item:
    """A value in a YAML file, and what it is: "teachers[1].model"."""
    node: yaml.Node
    file: str
    what: str

    @property
    def place(self) -> str:
        """ "grid.yaml:12: teachers[1].model" """
        line = f"{self.file}:{self.node.start_mark.line + 1}"
        return f"{line}: {self.what}" if self.what else line

    def fail(self, message: str) -> NoReturn:
        raise GridError(f"{self.place}: {message}")

    def found(self) -> str:
        """The value in a message."""
        if isinstance(self.node, yaml.ScalarNode):
            return repr(self.node.value) if self.node.value else "nothing"
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "keys with values"

    def mapping(self, known: Sequence[str] | None = None, required: Sequence[str] = ()) -> dict[str, Item]:
        """Its values by key; only `known` keys where they are given."""
        if not isinstance(self.node, yaml.MappingNode):
            self.fail(f"expected keys with values, found {self.found()}")
        items = self._entries(self.node, ())
        for key, item in items.items():
            if known is not None and key not in known:
                item.fail(f"there is no such key{nearest(key, known)}")
        for key in required:
            if key not in items:
                self.fail(f"the key {key} is missing")
        return items

    def _entries(self, node: yaml.MappingNode, around: tuple[yaml.Node, ...]) -> dict[str, Item]:
        """With `<<: *anchor` resolved, whose keys give way to the mapping's own."""
        own: dict[str, Item] = {}
        merged: dict[str, Item] = {}
        for key, value in node.value:
            if key.tag == MERGE:
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(other, yaml.MappingNode) or other in (*around, node):
                        self.fail("<<: expected *NAME of an &NAME with keys before it")
                    merged = {**self._entries(other, (*around, node)), **merged}
                continue
            at = Item(key, self.file, self.what)
            if not isinstance(key, yaml.ScalarNode):
                at.fail(f"expected a key, found {at.found()}")
            if key.value in own:
                at.fail(f"the key {key.value} is given twice")
            own[key.value] = Item(value, self.file, named(self.what, key.value))
        return {**merged, **own}

    def sequence(self) -> list[Item]:
        if not isinstance(self.node, yaml.SequenceNode):
            self.fail(f"expected a list, found {self.found()}")
        return [Item(node, self.file, f"{self.what}[{index}]") for index, node in enumerate(self.node.value)]

    def text(self) -> str:
        """As it stands in the file; never empty."""
        if not isinstance(self.node, yaml.ScalarNode) or not self.node.value:
            self.fail(f"expected a value, found {self.found()}")
        return self.node.value

    def name(self) -> str:
        """A text that can be a part of a file's name."""
        text = self.text()
        if not NAME.fullmatch(text):
            self.fail(f"expected a name of letters, digits and . _ + -, found {text!r}")
        return text

    def integer(self, least: int, most: int) -> int:
        text = self.text()
        if not INTEGER.fullmatch(text) or not least <= int(text) <= most:
            self.fail(f"expected an integer from {least} to {most}, in decimal, found {text!r}")
        return int(text)

    def choice(self, known: Sequence[str]) -> str:
        text = self.text()
        if text not in known:
            self.fail(f"found {text!r}{nearest(text, known)}")
        return text

    def switch(self) -> bool:
        text = self.text()
        if text not in ("true", "false"):
            self.fail(f"expected true or false, found {text!r}")
        return text == "true"

    def setting(self) -> str:
        """The value of a program's flag: a list has commas between, true is 1."""
        if isinstance(self.node, yaml.SequenceNode):
            return ",".join(item.setting() for item in self.sequence())
        text = self.text()
        if isinstance(self.node, yaml.ScalarNode) and self.node.style is None:
            if text in ("true", "false"):
                return str(int(text == "true"))
            if self.node.tag == "tag:yaml.org,2002:bool":
                self.fail(f"expected 1 or 0 (or true or false), found {text!r}")
        return text


def read_yaml(path: Path) -> Item:
    """The document in a file. Throws GridError for what is no YAML."""
    try:
        with path.open("rb") as file:
            node = yaml.compose(file, Loader=yaml.SafeLoader)
    except OSError as error:
        raise GridError(f"{path}: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise GridError(f"{path}:{mark.line + 1 if mark else 1}: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise GridError(f"{path}: {' '.join(str(error).split())}") from None
    if node is None:
        raise GridError(f"{path}: the file is empty")
    return Item(node, str(path), "")
