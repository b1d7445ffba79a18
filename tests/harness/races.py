"""Finds tests that look at a page before it has done what they asked for.

Read as a sequence of steps, a test of a page alternates between *acting* (a click, a key, a trait set in Python),
*settling* (waiting until the page is quiet) and *looking* (an assertion, a text, a pixel, where something lies).
Looking after acting and before settling is a race, which passes on an idle machine. Waiting for one thing (``expect``,
``until``) is always right, but says nothing of the next: that must be waited for as well, or the page be settled.

The order of steps is read from the source. A helper of the tests is followed by its name, once it is known what it does
first and how it leaves the page.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

FIXTURES = {"show", "live", "lab", "page", "open_view"}
ACTS = {
    "blur", "check", "clear", "click", "dblclick", "dispatch_event", "down", "drag_to", "emulate_media", "fill",
    "goto", "hover", "insert_text", "move", "press", "press_sequentially", "pump", "reload",
    "scroll_into_view_if_needed", "select_option", "set_viewport_size", "tap", "type", "uncheck", "up", "wheel",
}  # fmt: skip
LOOKS = {
    "all_inner_texts", "all_text_contents", "bounding_box", "count", "eval_on_selector", "eval_on_selector_all",
    "get_attribute", "inner_html", "inner_text", "input_value", "is_checked", "is_disabled", "is_enabled", "is_hidden",
    "is_visible", "text_content",
}  # fmt: skip
HASTY = {"focus"}  # acts, but unlike a click it does not wait until the element can be seen
RUNS = {"evaluate", "python"}  # a look where its value is used, else an act
SETTLES = {"settle", "show", "live", "open_view"}
SLEEPS = {"sleep", "wait_for_timeout"}
WAITS = {"cell_with", "until"}  # one for what it names; the other looks at the text of a notebook, which stays
CLEAN, DIRTY, ANY = "settled", "acted upon", "as it was"


@dataclass(frozen=True)
class Race:
    """A place where a test looks too early."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


@dataclass
class Walk:
    """The steps of one function, in the order in which Python takes them."""

    helpers: dict[str, "Walk"]
    live: bool = False  # traits set in Python reach the page
    state: str = ANY
    looks_first: bool = False  # it must be called on a settled page
    found: dict[int, str] = field(default_factory=dict)

    def look(self, line: int, what: str) -> None:
        if self.state == DIRTY:
            self.found.setdefault(line, f"{what} before the page is known to be quiet")
        elif self.state == ANY:
            self.looks_first = True

    def call(self, node: ast.Call, *, used: bool) -> None:
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in SLEEPS:
            self.found.setdefault(node.lineno, f"{name}: a fixed time is too short on a busy machine")
        elif name in SETTLES:
            self.state = CLEAN
        elif name in WAITS:
            pass
        elif name in self.helpers:
            if self.helpers[name].looks_first:
                self.look(node.lineno, f"{name}(…) looks")
            if self.helpers[name].state != ANY:
                self.state = self.helpers[name].state
        elif name in LOOKS | HASTY or (name in RUNS and used):
            self.look(node.lineno, f"{name}(…)")
            if name in HASTY:
                self.state = DIRTY
        elif name in ACTS or name in RUNS or (self.live and not used and is_of_explorer(node.func)):
            self.state = DIRTY

    def expression(self, node: ast.AST, *, used: bool = True) -> None:
        if isinstance(node, ast.Lambda):
            return  # run later, by what waits for it
        for child in ast.iter_child_nodes(node):
            self.expression(child)
        if isinstance(node, ast.Call):
            self.call(node, used=used)

    def block(self, body: Iterable[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def either(self, *bodies: Iterable[ast.stmt]) -> None:
        before, after = self.state, []
        for body in bodies:
            self.state = before
            self.block(body)
            after.append(self.state)
        self.state = next(state for state in (DIRTY, ANY, CLEAN) if state in after)

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                pass
            case ast.Expr():
                self.expression(node.value, used=False)
            case ast.Assert():
                self.expression(node.test)
                self.look(node.lineno, "assert")
            case ast.Assign():
                self.expression(node.value)
                if self.live and any(is_of_explorer(target) for target in node.targets):
                    self.state = DIRTY
            case ast.For():
                self.expression(node.iter)
                self.block([*node.body, *node.body])  # the second time round it begins as the first left it
            case ast.While():
                for _ in range(2):
                    self.expression(node.test)
                    self.block(node.body)
            case ast.If():
                self.expression(node.test)
                self.either(node.body, node.orelse)
            case ast.With():
                for item in node.items:
                    self.expression(item.context_expr)
                self.block(node.body)
            case ast.Try():
                self.either(node.body, *(handler.body for handler in node.handlers))
                self.block(node.finalbody)
            case _:
                self.expression(node)


def is_of_explorer(node: ast.AST) -> bool:
    """``explorer.x``, or several such."""
    if isinstance(node, ast.Tuple):
        return any(is_of_explorer(item) for item in node.elts)
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and "explorer" in node.value.id


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def walk(node: ast.FunctionDef, helpers: dict[str, Walk]) -> Walk:
    names = {argument.arg for argument in node.args.args}
    is_test = node.name.startswith("test_")
    made = Walk(helpers, live="live" in names, state=CLEAN if is_test else ANY)
    made.block(node.body)
    return made


def followed(definitions: Iterable[ast.FunctionDef], known: dict[str, Walk]) -> dict[str, Walk]:
    """What each helper does, where helpers call helpers. A name of Playwright's or of a wait is never a helper's."""
    own = [node for node in definitions if node.name not in ACTS | LOOKS | HASTY | RUNS | SETTLES | SLEEPS | WAITS]
    table = dict(known)
    for _ in range(3):  # as deep as they call one another
        table |= {node.name: walk(node, table) for node in own}
    return table


def races(files: Iterable[Path], harness: Iterable[Path] = ()) -> Iterator[Race]:
    """Every race of the tests in `files`; `harness` holds files whose helpers they use, which may do as they must."""
    shared = followed([node for file in harness for node in functions(ast.parse(file.read_text("utf-8")))], {})
    for file in files:
        found = functions(ast.parse(file.read_text("utf-8")))
        helpers = followed([node for node in found if not node.name.startswith("test_")], shared)
        on_pages = [node for node in found if FIXTURES & {argument.arg for argument in node.args.args}]
        for node in found if on_pages else ():
            if node.name.startswith("test_") and node not in on_pages:
                continue
            for line, what in walk(node, helpers).found.items():
                yield Race(file.name, line, what)
