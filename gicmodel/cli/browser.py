# SPDX-License-Identifier: Apache-2.0
"""The terminal browser of `gicmodel inspect --browse`: the tree at the left, the bytes and their fields beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Footer, Input, Static, Tree
from textual.widgets.tree import TreeNode

from gicmodel.cli.outline import Item, Outline, Path
from gicmodel.errors import number_in

_PROMPTS = {"search": "INTID", "jump": "address"}


class Browser(App[None]):
    """A decoded dump to walk through."""

    CSS = """
    Tree { width: 2fr; }
    #beside { width: 3fr; border-left: solid $primary; padding: 0 1; overflow-x: auto; }
    #detail { width: auto; }
    #prompt { dock: bottom; display: none; }
    #status { dock: bottom; height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask('search')", "INTID", key_display="/"),
        Binding("g", "ask('jump')", "Address"),
        Binding("n", "next", "Next"),
        Binding("f", "findings", "Findings"),
        Binding("tab", "app.focus_next", "Other side"),
        Binding("q", "quit", "Quit"),
        Binding("escape", "dismiss", show=False),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, title: str, outline: Outline) -> None:
        super().__init__()
        self._title = title
        self._outline = outline
        self._asked = ""
        self._places: Iterator[Path] = iter(())

    def compose(self) -> ComposeResult:
        """The tree, the details, and the line to type in."""
        with Horizontal():
            yield Tree[Item | None](Text(self._title), id="tree")
            with VerticalScroll(id="beside"):
                yield Static(id="detail")
        yield Static(id="status")
        yield Input(id="prompt")
        yield Footer()

    def on_mount(self) -> None:
        """Unfold the root."""
        for item in self._outline.roots():
            self._add(self._tree.root, item)
        self._tree.root.expand()
        self._tree.focus()

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Item | None]) -> None:
        """Unfold an item when somebody looks."""
        self._unfold(event.node)

    def on_tree_node_highlighted(self, event: Tree.NodeHighlighted[Item | None]) -> None:
        """Show what the cursor is on."""
        item = event.node.data
        lines = [self._title] if item is None else self._outline.detail(item)
        self.query_one("#detail", Static).update(Text("\n".join(lines), no_wrap=True))
        self.query_one("#beside").scroll_home(animate=False)

    def on_tree_node_selected(self, event: Tree.NodeSelected[Item | None]) -> None:
        """Enter on a finding leads to the entry that it is about."""
        item = event.node.data
        if item is not None and item.kind == "findings" and not item.group:
            address = self._outline.findings.told[item.start].address
            self._visit(self._outline.places_at(address), "the finding has no place in memory")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Look for what was typed."""
        text = event.value
        self.action_dismiss()
        try:
            number = number_in(text)
        except ValueError as error:
            self._say(str(error))
            return
        if self._asked == "search":
            self._visit(self._outline.places_of(number), f"no event and no pending interrupt has INTID {number}")
        else:
            self._visit(self._outline.places_at(number), f"nothing of the GIC is at {number:#x}")

    def action_ask(self, what: str) -> None:
        """Open the line to type in."""
        self._asked = what
        prompt = self.query_one("#prompt", Input)
        prompt.value, prompt.placeholder = "", _PROMPTS[what]
        prompt.display = True
        prompt.focus()

    def action_dismiss(self) -> None:
        """Close the line to type in."""
        self.query_one("#prompt", Input).display = False
        self._tree.focus()

    def action_next(self) -> None:
        """Go to the next place that was found."""
        self._visit(self._places, "no more places")

    def action_findings(self) -> None:
        """Go to the findings."""
        roots = [root for root in self._outline.roots() if root.kind == "findings"]
        self._visit(iter([roots] if roots else []), "no findings")

    @property
    def _tree(self) -> Tree[Item | None]:
        return self.query_one("#tree", Tree)

    def _say(self, text: str) -> None:
        self.query_one("#status", Static).update(Text(text))

    def _add(self, node: TreeNode[Item | None], item: Item) -> None:
        node.add(Text(self._outline.label(item)), item, allow_expand=bool(self._outline.children(item)))

    def _unfold(self, node: TreeNode[Item | None]) -> None:
        if node.data is not None and not node.children:
            for item in self._outline.children(node.data):
                self._add(node, item)

    def _visit(self, places: Iterator[Path], nowhere: str) -> None:
        """Unfold the tree to the first of the places, and keep the others for `n`."""
        self._places = places
        path = next(places, None)
        self._say(nowhere if path is None else "")
        if path is None:
            return
        node = self._tree.root
        for item in path:
            node = self._descend(node, item)
            if item != path[-1]:
                node.expand()
        # Nodes have their lines once the unfolded tree is laid out.
        self.call_after_refresh(self._tree.move_cursor, node)

    def _descend(self, node: TreeNode[Item | None], item: Item) -> TreeNode[Item | None]:
        """The node of an item below another one, through the groups that fold it."""
        while True:
            self._unfold(node)
            node.expand()
            node = next(child for child in node.children if child.data is not None and _holds(child.data, item))
            if node.data == item:
                return node


def _holds(group: Item, item: Item) -> bool:
    return group.kind == item.kind and group.start <= item.start and item.end <= group.end
