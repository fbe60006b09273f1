"""A service manager whose units are names: what runs, what fails, who stops with whom."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from leger import generation
from leger.generation import EMPTY, Current, Generation
from leger.model import Built, Compiled, Tree, Unit
from leger.scope import Scope
from leger.systemd import State


class Killed(BaseException):
    """As kill -9: nothing of the program's own is done any more."""


@dataclass
class Manager:
    """`up` are the units that run, `needs` what a unit Requires=, and what is started with it.

    `on` is called before each job, `fails` says whether a start of this unit fails now. A reload
    emits units.json.
    """

    scope: Scope
    up: set[str] = field(default_factory=set)
    needs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fails: Callable[[str], bool] = lambda _name: False
    on: Callable[[str, str], None] = lambda _verb, _name: None
    failed: set[str] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def phase(self) -> str:
        return "running"

    def reload(self) -> None:
        self.on("reload", "")
        self.done.append("reload")
        point = generation.emitted_point(self.scope)
        note = {"generation": point.generation, "blake2b": point.digest} if point else {}
        self.scope.runtime.mkdir(parents=True, exist_ok=True)
        (self.scope.runtime / "emitted.json").write_text(json.dumps(note))

    def states(self, names: Iterable[str]) -> dict[str, State]:
        return {name: self._state(name) for name in names}

    def present(self) -> dict[str, State]:
        return self.states(sorted({*self.up, *self.failed}))

    def instances(self, _templates: Iterable[str]) -> list[str]:
        return []

    def stopped_with(self, name: str) -> frozenset[str]:
        return frozenset(other for other, needed in self.needs.items() if name in needed)

    def fragment(self, _name: str) -> Path | None:
        return None

    def restarts(self, _name: str) -> int:
        return 0

    def was_stopped(self, _name: str) -> bool:
        return False

    def can_reload(self, _name: str) -> bool:
        return False

    def reset_failed(self, names: Iterable[str]) -> None:
        self.failed -= {*names}

    def run(
        self, jobs: Sequence[tuple[str, str]], _timeout: float, _tell: object = None
    ) -> dict[str, str]:
        return {name: self._job(verb, name) for verb, name in jobs}

    def _state(self, name: str) -> State:
        if name in self.up:
            return State("loaded", "active", "running")
        if name in self.failed:
            return State("loaded", "failed", "failed")
        point = generation.emitted_point(self.scope)
        known = generation.load(self.scope, point.generation).compiled.files if point else {}
        return State("loaded" if name in known else "not-found")

    def _job(self, verb: str, name: str) -> str:
        self.on(verb, name)
        self.done.append(f"{verb} {name}")
        if verb != "start":
            for other in (name, *self.stopped_with(name)):
                self.up.discard(other)
        return "done" if verb == "stop" else self._start(name)

    def _start(self, name: str) -> str:
        if any(self._start(other) != "done" for other in self.needs.get(name, ())):
            return "dependency"
        if name not in self.up and self.fails(name):
            self.failed.add(name)
            return "failed"
        self.failed.discard(name)
        self.up.add(name)
        return "done"


def kill(manager: Manager, number: int) -> None:
    """Kill the program before it asks the manager for the job (or the reload) `number`, from 0."""
    left = [None] * number

    def on(_verb: str, _name: str) -> None:
        if not left:
            manager.on = lambda _verb, _name: None
            raise Killed
        left.pop()

    manager.on = on


def compiled(version: str, *more: Unit, name: str = "web") -> Compiled:
    """One deployment with a container whose text says `version`, and `more` units."""
    text = f"[Service]\nExecStart=/bin/{version}\n"
    unit = Unit(f"{name}.service", name, "container", f"{name}.container", text, text, wanted=True)
    units = {one.name: one for one in (unit, *more)}
    tree = Tree(Path(f"/x/{name}-{version}"), version, {})
    built = Built(name, version * 40, "/srv", tree, units, ())
    files = {one.name: {"text": one.text, "deployment": name} for one in units.values()}
    return Compiled({name: built}, files, {}, (), EMPTY.quadlet)


def deployed(scope: Scope, made: Compiled) -> Generation:
    """A generation that was switched to, and was well."""
    saved = generation.new(scope, made, dict.fromkeys(made.deployments, "source: /srv\n"), "deploy")
    saved = saved.save(scope)
    scope.deployments.mkdir(parents=True, exist_ok=True)
    generation.commit(scope, saved.point)
    Current(saved.point, confirmed=True).write(scope)
    return saved
