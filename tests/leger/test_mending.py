"""Units that fell over are started again, whatever limits their last starts have used up."""

from __future__ import annotations

from pathlib import Path

from leger import generation, judge, mending
from leger.generation import Current
from leger.model import Built, Compiled, Tree, Unit
from leger.scope import Scope
from leger.switch import Host


class Manager:
    """Notes whose failures and limits were forgotten."""

    def __init__(self) -> None:
        self.forgotten: set[str] = set()

    def reset_failed(self, names):
        self.forgotten |= {*names}


def test_the_limits_of_what_a_unit_refers_to_are_forgotten_too(tmp_path: Path, monkeypatch) -> None:
    scope, manager = Scope.system(tmp_path), Manager()
    units = {
        name: Unit(name, "shop", "container", f"{name}.container", "", "", depends=depends)
        for name, depends in (
            ("web.service", ("web-build.service",)),
            ("web-build.service", ()),
            ("other.service", ()),
        )
    }
    built = Built("shop", "c", "s", Tree(tmp_path / "t", "1", {}), units, ())
    compiled = Compiled({"shop": built}, {}, {}, (), {})
    saved = generation.new(scope, compiled, {}, "").save(scope)
    Current(saved.point, confirmed=True).write(scope)
    monkeypatch.setattr(judge.Watch, "start", lambda *_args, **_more: {})
    host = Host(scope, manager, lambda _line: None)  # type: ignore[arg-type]
    assert mending._start(host, {"web.service": "failed"}) == {}
    assert manager.forgotten == {"web.service", "web-build.service"}
