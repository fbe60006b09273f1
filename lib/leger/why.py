"""`leger why UNIT`: why a unit is not loaded, does not run, or will be restarted.

The causes are looked for from the outside in: is the unit ours at all, is it emitted and loaded,
does something override it, what does it need, how did it end, what did podman and the hook say,
and what will the next `leger apply` do with it. The last word is the command that mends it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from leger import changes, generation, properties, quadlet, systemd, why_next, why_unit
from leger.errors import LegerError
from leger.finding import Finding, in_scope
from leger.generation import Generation
from leger.model import Unit
from leger.scope import Scope
from leger.systemctl import Systemctl
from leger.systemd import Manager

_SUFFIXES = (".service", ".timer", ".socket", ".path", ".target")


@dataclass(frozen=True)
class Answer:
    """What is to be said of a unit; `source` is its file in the deployment's repository.

    `state` is systemd's, in words; without `findings` all is well with it.
    """

    unit: str
    deployment: str
    source: str
    state: str
    findings: tuple[Finding, ...]

    @property
    def mend(self) -> str:
        """The command that mends what was found first."""
        return next((found.mend for found in self.findings if found.mend), "")

    def raw(self) -> dict[str, object]:
        """As JSON takes it."""
        return asdict(self) | {"mend": self.mend}


def explain(scope: Scope, name: str) -> Answer:
    """All that can be found about `name`: a unit, a quadlet's file, or a container's name.

    Raises LegerError for what neither Leger nor systemd knows, with names that come near.
    """
    systemd.insist()
    current = generation.load_current(scope)
    manager = Systemctl(scope.name == "user")
    units = _units(current, manager) if current else {}
    found = _meant(name, units)
    if current is not None and found:
        return _known(scope, current, found, units)
    return _unknown(scope, name, current, units)


def _units(current: Generation, manager: Manager) -> dict[str, Unit]:
    """All units of the generation that one can ask about, templates too."""
    loaded = manager.present()
    units = [u for built in current.compiled.deployments.values() for u in built.units.values()]
    named = {name: unit for unit in units for name in changes.names(unit, loaded)}
    return {unit.name: unit for unit in units} | named


def _meant(name: str, units: Mapping[str, Unit]) -> str:
    """The unit that `name` means; "" if it means none."""
    for candidate in (name, *(f"{name}{suffix}" for suffix in _SUFFIXES)):
        if candidate in units:
            return candidate
    template = changes.template_of(name if name.endswith(_SUFFIXES) else f"{name}.service")
    if template in units:
        return name if name.endswith(_SUFFIXES) else f"{name}.service"
    for unit in units.values():
        if name in (unit.source, PurePosixPath(unit.source).name, unit.resource):
            return unit.name
    return ""


def _known(scope: Scope, current: Generation, name: str, units: Mapping[str, Unit]) -> Answer:
    unit = units.get(name) or units[changes.template_of(name)]
    if changes.is_template(name):
        instances = sorted(one for one in units if changes.template_of(one) == name)
        return Answer(name, unit.deployment, unit.source, "a template", (_template(instances),))
    user = scope.name == "user"
    shown = properties.show([name], why_unit.KEYS, user=user)[name]
    case = why_unit.Case(scope, current, name, unit, shown, units)
    found = tuple(
        dict.fromkeys([*why_unit.findings(case), *why_next.findings(scope, current, unit, name)])
    )
    found = tuple(Finding(one.text, in_scope(one.mend, user=user)) for one in found)
    return Answer(name, unit.deployment, unit.source, why_unit.state(shown), found)


def _template(instances: list[str]) -> Finding:
    if instances:
        return Finding(f"it runs as {', '.join(instances)}", f"leger why {instances[0]}")
    return Finding("a template runs under the name of an instance only, and it has none")


def _unknown(
    scope: Scope, name: str, current: Generation | None, units: Mapping[str, Unit]
) -> Answer:
    """What is no unit of the current generation: still to come, somebody else's, or misspelt."""
    unit = name if name.endswith(_SUFFIXES) else f"{_stem(name)}.service"
    found = (*_beside(current, name), *why_next.missing(scope, name, unit))
    shown = properties.show([unit], why_unit.KEYS, user=scope.name == "user")[unit]
    if shown.get("LoadState") not in ("not-found", "", None):
        where = shown.get("FragmentPath") or "the manager itself"
        found = (
            *found,
            Finding(f"it is not Leger's: {where} makes it", f"systemctl status {unit}"),
        )
    if found:
        return Answer(unit, "", "", why_unit.state(shown), found)
    known = {*units, *(PurePosixPath(one.source).name for one in units.values())}
    stems = {one.rpartition(".")[0]: one for one in sorted(known)}
    near = difflib.get_close_matches(unit.rpartition(".")[0], stems, 3, 0.55)
    hint = "leger status lists the units"
    if near:
        hint = f"did you mean {', '.join(stems[stem] for stem in near)}?"
    raise LegerError(f"{name}: no unit of a deployment, and systemd does not know it", hint=hint)


def _stem(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix in quadlet.SUFFIXES else name


def _beside(current: Generation | None, name: str) -> Iterator[Finding]:
    """Files of the deployed trees that look like the unit and that nothing makes a unit of."""
    built = current.compiled.deployments.values() if current else ()
    for deployment in built:
        sources = {unit.source for unit in deployment.units.values()}
        for path in deployment.tree.files:
            file = PurePosixPath(path).name.lstrip(".")
            if path not in sources and file.startswith(f"{_stem(name)}.") and _is_meant(file):
                yield Finding(f"{deployment.name} has {path}, which is no quadlet's name")


def _is_meant(file: str) -> bool:
    """Whether a file is a quadlet or unit under a name that makes it none."""
    return any(f".{suffix}" in file for suffix in (*quadlet.SUFFIXES, "service", "timer"))
