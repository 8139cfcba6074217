"""The documentation names what exists: links, files, names of bnas, tests and commands."""

import importlib
import re
import shlex

import pytest
from helpers import ROOT

from bnas.options import build_parser

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "tutorials" / "README.md",
]
PAGES += sorted((ROOT / "tutorials").glob("[0-9]*.py"))
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
# Any path of a Python file, and whatever lies in a folder of the repository.
FILE = re.compile(r"(?:[\w-]+/)+[\w-]+\.py\b|(?<![\w/.])(?:bnas|data|docs|tests)/[\w./-]*\w")
DOTTED = re.compile(r"bnas(?:\.\w+)+")
TEST = re.compile(r"test_\w+")


def prose(page):
    """The text of a page without its fenced blocks; of a tutorial, the text between the code."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":
        return "\n".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    return FENCED.sub("", text)


def anchors(page):
    """The names by which GitHub knows the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def resolve(name):
    """What a dotted name stands for: the longest module in it, then attribute by attribute."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there, and what it imports is not
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found


@every_page
def test_links_lead_somewhere(page):
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"\w+:", target):  # of the world outside
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


@every_page
def test_files_that_are_named_exist(page):
    assert not [path for path in set(FILE.findall(prose(page))) if not (ROOT / path).exists()]


@every_page
def test_names_of_bnas_exist(page):
    missing = []
    for name in sorted({code for code in CODE.findall(prose(page)) if DOTTED.fullmatch(code)}):
        try:
            resolve(name)
        except AttributeError as error:
            missing.append(f"{name}: {error}")
    assert not missing


@every_page
def test_tests_that_are_named_exist(page):
    named = {code for code in CODE.findall(prose(page)) if TEST.fullmatch(code)}
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py")]
    assert not [name for name in named if not any(f"def {name}(" in text for text in sources)]


@every_page
def test_commands_are_understood(page):
    """Each line of a shell block that begins with `bnas`; a comment may follow."""
    refused = []
    for language, block in FENCED.findall(page.read_text(encoding="utf-8")):
        for line in block.splitlines() if language == "sh" else ():
            words = shlex.split(line, comments=True)
            if words[:1] != ["bnas"]:
                continue
            try:
                build_parser().parse_args(words[1:])
            except SystemExit as error:
                if error.code:
                    refused.append(line)
    assert not refused


def test_every_room_is_in_the_page_on_the_layout():
    """A room is a module or a folder of bnas/."""
    text = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
    modules = [path.name for path in (ROOT / "bnas").glob("*.py") if path.name != "__init__.py"]
    folders = {path.relative_to(ROOT / "bnas").parts[0] for path in (ROOT / "bnas").glob("*/*.py")}
    linked = {target.removeprefix("../bnas/") for target in LINK.findall(text)}
    rooms = {target.split("/")[0] for target in linked}
    assert not [room for room in [*modules, *sorted(folders)] if room not in rooms]
