"""The benchmarks' frame: what a broken limit and a failing part do to the table and the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as bench
from bench.figures import Figure

GOOD = Figure("hook", "5 unchanged", 50.0, limit=80.0)
FAST = Figure("legerd", "gets", 4000.0, "1/s", limit=3000.0, at_least=True, note="setec 3396/s")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of parts in place of the real one."""
    parts = tmp_path / "bench"
    parts.mkdir()
    monkeypatch.setattr(bench, "FOLDER", parts)
    return parts


def part(folder: Path, name: str, *lines: str) -> None:
    """Write one part whose figures() has these lines."""
    body = "".join(f"    {line}\n" for line in lines)
    text = f"from bench.figures import Figure\n\ndef figures():\n{body}"
    (folder / f"{name}.py").write_text(text)


def run(folder: Path) -> tuple[int, Any]:
    code = bench.main(["--output", str(folder / "results")])
    (written,) = (folder / "results").iterdir()
    return code, json.loads(written.read_text())


def test_kept_limits_end_well_and_everything_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part(folder, "hook", "yield Figure('hook', '5 unchanged', 50.0, limit=80.0)")
    part(folder, "legerd", "return [Figure('legerd', 'gets', 4000, '1/s', note='setec 3396/s')]")
    code, content = run(folder)
    assert code == 0
    assert [figure["value"] for figure in content["figures"]] == [50.0, 4000]
    assert content["machine"]["cores"] >= 1
    assert "setec 3396/s" in capsys.readouterr().out


def test_a_broken_limit_is_marked_and_fails(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part(folder, "hook", "yield Figure('hook', '5 unchanged', 90.0, limit=80.0)")
    code, _ = run(folder)
    assert code == 1
    assert capsys.readouterr().out.count("BROKEN") == 1


def test_a_part_that_fails_hides_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part(folder, "bad", "raise RuntimeError('no podman here')")
    part(folder, "good", "yield Figure('hook', '5 unchanged', 50.0, limit=80.0)")
    code, content = run(folder)
    captured = capsys.readouterr()
    assert code == 1
    assert content["failed"] == {"bad": "RuntimeError: no podman here"}
    assert "no podman here" in captured.err
    assert "5 unchanged" in captured.out


def test_a_rate_must_not_fall_below_its_limit() -> None:
    assert FAST.kept
    assert not Figure("legerd", "gets", 2000.0, "1/s", limit=3000.0, at_least=True).kept


def test_the_table_s_columns_stand_below_each_other() -> None:
    lines = list(bench.table([GOOD, FAST]))[1:]
    assert len({line.index(" ok") for line in lines}) == 1


def test_every_part_of_the_repository_is_found() -> None:
    files = {path.stem for path in bench.FOLDER.glob("*.py")} - bench.OURS
    assert set(bench.parts()) <= files
