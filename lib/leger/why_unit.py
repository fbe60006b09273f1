"""Why a unit of the current generation does not do what it should, as the host shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from leger import drift, emitted, journal, podman, properties, starters
from leger.drift import Kind, Repair, Seen
from leger.finding import Finding
from leger.generation import Generation
from leger.model import Unit
from leger.properties import Properties
from leger.scope import Scope
from leger.systemctl import Systemctl
from leger.systemd import State
from leger.unitfile import UnitFile, words

KEYS = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "FragmentPath",
    "NeedDaemonReload",
    "StateChangeTimestamp",
    "NRestarts",
    "ExecMainStatus",
    "InvocationID",
    "ConditionResult",
    "ConditionTimestamp",
    "Requires",
    "BindsTo",
    "Requisite",
    "WantedBy",
    "RequiredBy",
    "UpheldBy",
    "TriggeredBy",
    "Job",
)
_NEEDED = ("Requires", "BindsTo", "Requisite")
_PULLED = ("WantedBy", "RequiredBy", "UpheldBy")
_STATUS = {
    "125": "podman itself failed before the container ran",
    "126": "the image's command cannot be executed",
    "127": "the image has no such command",
    "137": "the process was killed, perhaps because it took too much memory",
    "203": "the program that the unit names is not there",
}
_RUN = re.compile(r"[;,] run: (.*)\Z")


@dataclass(frozen=True)
class Case:
    """A unit with what systemd shows of it, among all `units` of the generation."""

    scope: Scope
    current: Generation
    name: str
    unit: Unit
    shown: Properties
    units: Mapping[str, Unit]

    @property
    def user(self) -> bool:
        return self.scope.name == "user"

    @property
    def systemctl(self) -> str:
        """The manager's command, as an administrator types it."""
        return "systemctl --user" if self.user else "systemctl"

    @property
    def runs(self) -> bool:
        return self.shown.get("ActiveState") in ("active", "reloading", "refreshing")


def state(shown: Properties) -> str:
    """The unit's state in a line."""
    if shown.get("LoadState") not in ("loaded", None):
        return shown["LoadState"]
    since = shown.get("StateChangeTimestamp", "")
    words_ = f"{shown.get('ActiveState', '')} ({shown.get('SubState', '')})"
    return f"{words_} since {since}" if since else words_


def findings(case: Case) -> Iterator[Finding]:
    """All causes, what lies deepest first."""
    drifts = _drifts(case)
    found = [
        *_files(case, drifts),
        *_generator(case),
        *_text(case),
        *_needs(case),
        *_said(case),
        *_ended(case, drifts),
    ]
    yield from found or _nobody(case)
    if case.shown.get("Job", "") not in ("", "0"):
        yield Finding("a job is waiting for it", f"{case.systemctl} list-jobs --after {case.name}")


def _drifts(case: Case) -> list[drift.Drift]:
    pod = case.unit.pod
    units = {case.name: case.unit} | {name: one for name, one in case.units.items() if name == pod}
    keys = ("LoadState", "ActiveState", "SubState")
    own = {case.name: State(*(case.shown.get(key, "") for key in keys))}
    seen = Seen(units, Systemctl(case.user).present() | own)
    found = drift.compare(case.scope, case.current, seen)
    return [one for one in found if one.unit in ("", case.name)]


def _files(case: Case, drifts: list[drift.Drift]) -> Iterator[Finding]:
    """What is not in place: units.json, the generator's output, the tree; masks and overrides."""
    later = (Kind.REFUSED, Kind.FAILED, Kind.STOPPED, Kind.ENDED, Kind.NOT_STARTED)
    for one in drifts:
        if one.kind in (Kind.UNITS_FILE, Kind.EMITTED) or (one.unit and one.kind not in later):
            yield Finding(one.message, one.mend)
    for one in drifts:
        if one.kind is Kind.TREE and {case.name, case.unit.name} & set(one.units):
            yield Finding(f"{one.message}: it is restarted when that is mended", one.mend)


def _generator(case: Case) -> Iterator[Finding]:
    note = emitted.Note.read(case.scope)
    told = [one for one in note.problems if case.name in one] if note else journal.generator()
    for text in told:
        yield Finding(f"the generator said: {text}", "leger apply")


def _text(case: Case) -> Iterator[Finding]:
    """What systemd does not like about the unit's text."""
    if case.shown.get("LoadState") in ("bad-setting", "error"):
        for text in journal.loading(case.name, user=case.user):
            yield Finding(text)
        mend = f"change {case.unit.source} in the repository, then leger apply"
        yield Finding("systemd refuses the unit", mend)
    if case.shown.get("NeedDaemonReload") == "yes":
        yield Finding("its file changed since it was loaded", f"{case.systemctl} daemon-reload")
    if case.shown.get("ConditionResult") == "no" and case.shown.get("ConditionTimestamp"):
        for key, value in _conditions(case):
            yield Finding(f"its {key}={value} was not met, so it was skipped")


def _conditions(case: Case) -> Iterator[tuple[str, str]]:
    parsed = UnitFile.parse(case.unit.text)
    found = [
        (item.key, item.value)
        for item in parsed.settings
        if item.section == "Unit" and item.key.startswith("Condition") and item.value
    ]
    yield from found or [("Condition", " of a drop-in")]


def _needs(case: Case) -> Iterator[Finding]:
    """What it requires and that is not up, with the reason for that."""
    if case.runs:
        return
    names = [name for key in _NEEDED for name in case.shown.get(key, "").split()]
    keys = ("LoadState", "ActiveState", "Result", "InvocationID")
    shown = properties.show(names, keys, user=case.user)
    for name, one in shown.items():
        load, active = one.get("LoadState", ""), one.get("ActiveState", "")
        if load in ("loaded", "") and active != "failed":
            continue
        word = load if load not in ("loaded", "") else active
        said = journal.reason(name, user=case.user, run=one.get("InvocationID", ""))
        text = f"it needs {name}, which is {word}{': ' if said else ''}{said}"
        yield Finding(text, _mend(said) or f"leger why {name}")


def _said(case: Case) -> Iterator[Finding]:
    """What podman or the hook wrote when the unit was last started."""
    if not case.user and (case.scope.runtime / "waiting" / case.name).exists():
        text = "it waits for legerd, and is started again when legerd answers"
        yield Finding(text, "systemctl status legerd.socket legerd.service")
    run = case.shown.get("InvocationID", "")
    said = "" if case.runs else journal.reason(case.name, user=case.user, run=run)
    if _lacks_image(case):
        yield Finding(f"podman has no image {case.unit.image}", f"podman pull {case.unit.image}")
    if said:
        yield Finding(said, _mend(said))


def _lacks_image(case: Case) -> bool:
    image = case.unit.image
    is_own = image and "%" not in image and not image.endswith((".image", ".build"))
    failed = case.shown.get("ExecMainStatus") == "125"
    return bool(failed and is_own) and not podman.has_image(image)


def _mend(said: str) -> str:
    """The command that the hook names at the end of its line."""
    found = _RUN.search(said)
    return found[1] if found else ""


def _ended(case: Case, drifts: list[drift.Drift]) -> Iterator[Finding]:
    for one in drifts:
        if one.kind is Kind.FAILED:
            meaning = _meaning(case)
            yield Finding(f"{one.message}{': ' if meaning else ''}{meaning}", _log(case))
        elif one.kind in (Kind.STOPPED, Kind.ENDED, Kind.NOT_STARTED):
            start = one.repair in (Repair.ASKED, Repair.START)
            yield Finding(one.message, f"{case.systemctl} start {case.name}" if start else one.mend)
    restarts = case.shown.get("NRestarts", "0")
    if restarts not in ("", "0"):
        gave_up = " and gave up (StartLimitBurst=)" if not case.runs else ""
        text = f"systemd restarted it {restarts} times{gave_up}, since it ended by itself each time"
        yield Finding(text, _log(case))


def _meaning(case: Case) -> str:
    """What lies behind the exit status or signal; "" if that is not known."""
    result, status = (case.shown.get(key, "") for key in ("Result", "ExecMainStatus"))
    if (result, status) in (("exit-code", "137"), ("signal", "9")):
        run = case.shown.get("InvocationID", "")
        if journal.out_of_memory(case.name, run, user=case.user):
            return properties.OUT_OF_MEMORY
    return _STATUS.get(status, "") if result == "exit-code" else ""


def _log(case: Case) -> str:
    return f"journalctl {'--user ' if case.user else ''}-b -u {case.name}"


def _nobody(case: Case) -> Iterator[Finding]:
    """Who is to start it, where it does not run."""
    if case.runs or case.shown.get("ActiveState") == "failed":
        return
    triggers = case.shown.get("TriggeredBy", "")
    known = [name for key in _PULLED for name in case.shown.get(key, "").split()]
    pulled = sorted({*known, *starters.of(case.current.compiled.links, case.name)})
    if triggers:
        yield Finding(f"{triggers} starts it")
    elif not pulled and not case.unit.wanted:
        mend = f"{case.systemctl} start {case.name}"
        yield Finding(f"nothing starts it: {case.unit.source} has no [Install] section", mend)
    elif pulled:
        shown = properties.show(pulled, ("ActiveState",), user=case.user)
        idle = [name for name, one in shown.items() if one.get("ActiveState") != "active"]
        if len(idle) == len(pulled):
            yield Finding(f"only {', '.join(words(' '.join(idle)))} starts it, which is not active")
