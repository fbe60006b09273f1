"""Which units.json counts: the one in /etc, else its last good copy, else its predecessor."""

from leger_generator import files
from leger_generator.plan import MAX_BYTES, Plan, PlanError, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from leger_generator.journal import Journal
    from leger_generator.paths import Paths

UNITS, LAST_GOOD, PREVIOUS = "units.json", "last-good", "prev"


class Choice:
    """The plan to emit, where it came from, and its bytes as they were read."""

    __slots__ = ("data", "plan", "source")

    def __init__(self, plan: Plan, source: str, data: bytes) -> None:
        self.plan = plan
        self.source = source
        self.data = data


def choose(paths: "Paths", journal: "Journal") -> Choice | None:
    """Read the best plan there is and mend its bad entries from the others; None if there is none.

    Silent where nothing was ever deployed: no units.json, no copy, no predecessor.
    """
    faults: list[str] = []
    candidates = _candidates(paths, faults)
    best = next(candidates, None)
    if best is None or best.source != UNITS:
        for fault in faults or ([f"{paths.units}: not there"] if best else []):
            journal.say(fault)
    if best is None:
        return None
    if best.source != UNITS:
        journal.say(f"emitting generation {best.plan.generation} from {best.source} instead")
    for problem in best.plan.problems:
        journal.say(f"{paths.units}: {problem}")
    if best.plan.bad:
        _mend(best.plan, candidates, journal)
    return best


def _candidates(paths: "Paths", faults: list[str]) -> "Iterator[Choice]":
    for source, path in (
        (UNITS, paths.units),
        (LAST_GOOD, paths.last_good),
        (PREVIOUS, paths.previous),
    ):
        try:
            data = files.read(path, MAX_BYTES)
            plan = decode(data)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, PlanError) as error:
            faults.append(f"{path}: not used: {_reason(error)}")
            continue
        if plan.scope == paths.scope:
            yield Choice(plan, source, data)
        else:
            faults.append(f"{path}: not used: it is for the {plan.scope} scope")


def _reason(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)


def _mend(plan: Plan, others: "Iterator[Choice]", journal: "Journal") -> None:
    for other in others:
        for path in sorted(plan.bad):
            if path in other.plan.files:
                plan.files[path] = other.plan.files[path]
            elif path in other.plan.links:
                plan.links[path] = other.plan.links[path]
            else:
                continue
            plan.bad.discard(path)
            journal.say(f"{path}: taken from {other.source}")
