"""`python3 -m bench [PART ...]`: measure, print one table, write one JSON file.

Every other module of this folder that has `figures()` is a part: it yields `Figure`s. The exit
code is 1 if a limit was broken or a part failed.
"""

from __future__ import annotations

import argparse
import json
import runpy
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.figures import Figure, machine

FOLDER = Path(__file__).resolve().parent
OURS = {"__init__", "__main__", "figures"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen parts, or all; 0 if each ran and kept its limits."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.part) - set(parts()):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    results: list[Figure] = []
    failed: dict[str, str] = {}
    for name in options.part or parts():
        print(f"measuring: {name}", file=sys.stderr)
        try:
            results += measure(name)
        except Exception as error:  # noqa: BLE001 - one part must not hide the others' figures
            failed[name] = f"{type(error).__name__}: {error}"
    facts = machine()
    print(", ".join(f"{key} {value}" for key, value in facts.items()))
    print()
    print("\n".join(table(results)))
    for name, message in failed.items():
        print(f"bench: error: {name}: {message}", file=sys.stderr)
    path = write(options.output, facts, results, failed)
    print(f"\nwritten to {path}")
    return 1 if failed or not all(figure.kept for figure in results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"only these: {', '.join(parts())}")
    parser.add_argument("--output", type=Path, default=FOLDER / "results", metavar="FOLDER")
    return parser


def parts() -> list[str]:
    """The names of the parts that there are."""
    modules = {path.stem for path in FOLDER.glob("*.py")} - OURS
    return sorted(name for name in modules if "def figures(" in source(name))


def source(name: str) -> str:
    """The text of a module of this folder."""
    return (FOLDER / f"{name}.py").read_text()


def measure(name: str) -> list[Figure]:
    """All figures of one part."""
    figures: Iterable[Figure] = runpy.run_path(str(FOLDER / f"{name}.py"))["figures"]()
    return list(figures)


def table(figures: Sequence[Figure]) -> Iterator[str]:
    """The figures as lines of aligned columns."""
    rows: list[tuple[str, ...]] = [("part", "what", "value", "limit", "", "against")]
    rows += [_row(figure) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in (2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _row(figure: Figure) -> tuple[str, ...]:
    limit = "" if figure.limit is None else f"{'≥' if figure.at_least else '≤'} {figure.limit:.4g}"
    verdict = "" if figure.limit is None else ("ok" if figure.kept else "BROKEN")
    value = f"{figure.value:.4g} {figure.unit}".strip()
    return (figure.group, figure.name, value, limit, verdict, figure.note)


def write(
    folder: Path,
    facts: dict[str, str | int],
    figures: Sequence[Figure],
    failed: dict[str, str],
) -> Path:
    """Write one JSON file with all of it; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    now = time.gmtime()
    content = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        "machine": facts,
        "figures": [{**asdict(figure), "kept": figure.kept} for figure in figures],
        "failed": failed,
    }
    path = folder / time.strftime("%Y%m%d-%H%M%S.json", now)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


if __name__ == "__main__":
    sys.exit(main())
