"""Units get the values that their secrets have now: by a switch to the same units.

Like any other switch it may be killed at any moment, is in the history, and is judged. A unit whose
new value cannot be had is left as it runs; one that does not come up with its new value stays down:
there are no other units to go back to, and an earlier value is an administrator's to activate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from leger import comparing, generation, refresh, renewal, rotation
from leger.changes import Changes
from leger.errors import LegerError
from leger.generation import Generation
from leger.rotation import Rotated
from leger.switch import Host, NotHealthyError

_HINT = "leger secrets activate NAME VERSION brings an earlier value back"


@dataclass(frozen=True)
class Refreshed:
    """What was done: the units that were touched and why; what failed, by unit or "" for all."""

    changes: Changes = field(default_factory=Changes)
    failed: Mapping[str, LegerError] = field(default_factory=dict)


def due(host: Host, names: Collection[str] = ()) -> tuple[Rotated, ...]:
    """The units of the deployments `names` (or all) that rotated secrets concern."""
    found = rotation.due(host.scope, host.manager, host.report)
    return tuple(one for one in found if not names or one.deployment in names)


def foresee(host: Host, rotated: Sequence[Rotated]) -> Changes:
    """What `bring` would do."""
    current = generation.load_current(host.scope)
    return _planned(host, current, rotated) if current and rotated else Changes()


def bring(host: Host, rotated: Sequence[Rotated]) -> Refreshed:
    """Restart or reload the units of `rotated`, as each has it, in their order and watched.

    The caller holds the lock. As long as an earlier switch is not over, nothing is done. Raises
    InterruptedSwitchError when the host shuts down.
    """
    current = generation.load_current(host.scope)
    if current is None or not rotated or host.scope.switch.exists():
        return Refreshed()
    units = sorted({one.unit for one in rotated})
    reasons = refresh.secrets(host.scope, current.compiled, units, trying=True)
    failed = {
        unit: LegerError(f"{unit} {reason}; it runs on with the value of before")
        for unit, reason in reasons.items()
    }
    good = [one for one in rotated if one.unit not in failed]
    planned = _planned(host, current, good)
    if not planned.why:
        return Refreshed(failed=failed)
    why = "; ".join(sorted({one.why for one in good}))
    try:
        renewal.renew(host, current, planned, why)
    except NotHealthyError as error:
        return Refreshed(planned, failed | {"": LegerError(str(error), hint=_HINT)})
    return Refreshed(planned, failed)


def _planned(host: Host, current: Generation, rotated: Iterable[Rotated]) -> Changes:
    chosen = list(rotated)
    new = rotation.marked(current.compiled, chosen)
    planned = comparing.decide(host.manager, current.compiled, new)
    why = rotation.reasons(chosen)
    return replace(planned, why={unit: why.get(unit, text) for unit, text in planned.why.items()})
