"""The repository's own rules: sizes, who may import what, what no file may refer to."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 400
GENERATOR_MAY = {
    "gc",
    "os",
    "posix",
    "sys",
    "json",
    "_json",
    "time",
    "_signal",
    "_blake2",
    "leger_generator",
}
ONE_IMPORTER = {
    "lib/leger": ("pystemd", "requests", "git", "yaml", "jinja2", "podman"),
    "legerd": ("cryptography", "bottle", "waitress", "boto3"),
}
WHERE_TO_SAY_NO = Path("tests/test_repository.py")


def tracked() -> tuple[Path, ...]:
    """Every file that Git knows, relative to the root."""
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = (Path(name) for name in listing.split("\0") if name)
    return tuple(name for name in names if (ROOT / name).is_file())


def is_python(path: Path) -> bool:
    """Whether `path` is Python: by its suffix, or a program's first line."""
    if path.suffix:
        return path.suffix == ".py"
    first = (ROOT / path).read_bytes().split(b"\n", 1)[0]
    return first.startswith(b"#!") and b"python" in first


FILES = tracked()
PYTHON = tuple(path for path in FILES if is_python(path))


def below(*folders: str) -> tuple[Path, ...]:
    return tuple(path for path in PYTHON if any(path.is_relative_to(name) for name in folders))


def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), filename=str(path))


def is_type_checking(node: ast.If) -> bool:
    """A block that only type checkers read: `if TYPE_CHECKING:` or `if False:`-like guards."""
    test = node.test
    if isinstance(test, ast.Constant):
        return not test.value
    return isinstance(test, ast.Name | ast.Attribute) and "TYPE_CHECKING" in ast.unparse(test)


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node` except bodies that never run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and is_type_checking(child):
            for other in child.orelse:
                yield other
                yield from run_time_nodes(other)
            continue
        yield child
        yield from run_time_nodes(child)


def imports(path: Path) -> set[str]:
    """The top-level packages that `path` imports when it runs, late imports included."""
    found: set[str] = set()
    for node in run_time_nodes(tree_of(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found - {"__future__"}


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) < MAX_LINES


@pytest.mark.parametrize("path", below("generator"), ids=str)
def test_the_generator_imports_only_what_starts_fast(path: Path) -> None:
    assert imports(path) <= GENERATOR_MAY


@pytest.mark.parametrize("path", below("hooks"), ids=str)
def test_the_hook_imports_only_the_standard_library(path: Path) -> None:
    assert imports(path) <= sys.stdlib_module_names | {"leger_hook"}


@pytest.mark.parametrize("path", below("legerd"), ids=str)
def test_the_daemon_uses_the_library_and_never_its_command_line(path: Path) -> None:
    assert "leger.cli" not in (ROOT / path).read_text()


@pytest.mark.parametrize(
    ("folder", "package"),
    [(folder, package) for folder, packages in ONE_IMPORTER.items() for package in packages],
)
def test_a_foreign_package_has_one_importer(folder: str, package: str) -> None:
    importers = [str(path) for path in below(folder) if package in imports(path)]
    assert len(importers) <= 1, importers


@pytest.mark.parametrize("path", below("lib", "legerd", "generator", "hooks", "tools"), ids=str)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    if (ROOT / path).stat().st_size:
        assert ast.get_docstring(tree_of(path))


def public_definitions(path: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


@pytest.mark.parametrize("path", below("lib", "legerd", "generator"), ids=str)
def test_what_is_public_has_a_docstring(path: Path) -> None:
    silent = [node.name for node in public_definitions(path) if not ast.get_docstring(node)]
    assert not silent


def lines_with(pattern: str) -> list[str]:
    """FILE:LINE of every match in the repository's text files, this one apart."""
    found = []
    for path in FILES:
        if path == WHERE_TO_SAY_NO:
            continue
        text = (ROOT / path).read_bytes()
        if b"\0" in text[:4096]:
            continue
        for number, line in enumerate(text.decode(errors="replace").splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path}:{number}: {line.strip()[:100]}")
    return found


def test_nothing_outside_the_repository_is_referred_to() -> None:
    assert not lines_with(r"\.\./shared\b|/work/(main|shared|venv)\b")


def test_no_file_names_a_package_registry_or_its_mirror() -> None:
    hosts = r"pypi\.org|pythonhosted|registry\.npmjs|deb\.debian\.org|proxy\.golang|crates\.io"
    assert not lines_with(rf"{hosts}|--index-url|--extra-index-url|--trusted-host")


def test_nothing_is_left_for_later() -> None:
    assert not lines_with(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")


def test_programs_can_be_executed() -> None:
    scripts = [
        path
        for path in FILES
        if (ROOT / path).read_bytes()[:2] == b"#!" and not (ROOT / path).stat().st_mode & 0o100
    ]
    assert not scripts


def test_both_licences_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert "Redistribution and use" in (ROOT / "legerd/LICENSE").read_text()


def test_one_version_everywhere() -> None:
    version = re.search(r'__version__ = "(.+)"', (ROOT / "lib/leger/__init__.py").read_text())
    spec = re.search(r"^Version:\s*(\S+)", (ROOT / "rpm/leger.spec").read_text(), re.MULTILINE)
    assert version
    assert spec
    assert version[1] == spec[1]
    assert version[1] in (ROOT / "CHANGELOG.md").read_text()


MARKDOWN = tuple(path for path in FILES if path.suffix == ".md")


@pytest.mark.parametrize("path", MARKDOWN, ids=str)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    text = (ROOT / path).read_text()
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert not [name for name in targets if not (ROOT / path.parent / name).exists()]


def test_the_pages_name_only_targets_that_make_knows() -> None:
    known = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = "".join((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))
    assert set(re.findall(r"`?\bmake ([a-z]+)\b(?=`| +#| DESTDIR|$)", pages, re.M)) <= known


def test_the_package_ships_every_manual_page() -> None:
    spec = (ROOT / "rpm/leger.spec").read_text()
    pages = [path for path in FILES if path.is_relative_to("docs/man")]
    assert pages
    assert not [page.name for page in pages if page.name not in spec]


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_a_page_that_a_module_names_is_there(path: Path) -> None:
    named = re.findall(r"\bdocs/[\w./-]+\.(?:md|[1-8])\b", (ROOT / path).read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


def test_each_decision_has_a_number_of_its_own_and_says_it() -> None:
    pages = sorted(path for path in FILES if re.fullmatch(r"docs/adr/\d{4}-.+\.md", str(path)))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    titles = [(ROOT / page).read_text().partition(". ")[0] for page in pages]
    assert titles == [f"# {number}" for number in numbers]


def test_every_package_is_installed() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    listed = set(metadata["options"]["packages"].split())
    folders = {path.parent for path in below("lib", "generator", "hooks", "legerd")}
    roots = (Path("lib"), Path("generator"), Path("hooks"), Path())
    found = {
        ".".join(folder.relative_to(next(r for r in roots if folder.is_relative_to(r))).parts)
        for folder in folders
        if (ROOT / folder / "__init__.py").exists()
    }
    assert found == listed
    installer = (ROOT / "tools/install").read_text()
    assert {name for name in listed if "." not in name} == set(
        re.findall(r"^package \S+ (\S+)$", installer, re.MULTILINE)
    )
