"""Which values a unit got when it started: noted, so that a rotation finds out who has to restart.

By the tags of the values, which legerd alone can read. A label of the Podman secret cannot say it:
another unit that has the same secret may have brought that up to date meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal

from leger_hook.outcomes import Failure, Unreachable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from leger_hook.options import Options, Part

FOLDER = "leger/started"
SECONDS = 6


def note(options: Options, tags: Mapping[Part, str]) -> None:
    """Note `tags` for the unit that this is for; without a place for it the unit starts too.

    A system unit with User= has none, since its hook is that user's: `foresee` is root's for it.
    """
    unit, is_users = (options.unit, options.user) if options.unit is not None else own_unit()
    if not unit or is_users != options.user:
        return
    folder = f"{options.runtime}/{FOLDER}"
    named = {_name(part): tag for part, tag in tags.items()}
    with contextlib.suppress(OSError):
        os.makedirs(folder, mode=0o755, exist_ok=True)
        with open(f"{folder}/.{unit}", "w") as file:
            json.dump(named, file)
        os.rename(f"{folder}/.{unit}", f"{folder}/{unit}")


def foresee(options: Options) -> None:
    """Note what legerd would hand out now, which the hook that follows as another user gets.

    Should it change in between, the unit counts as one that has the value of before, and restarts
    once too often. Without legerd what was noted before stays: the hook keeps the values, too.
    """
    from leger_hook.legerd import fetch

    signal.alarm(SECONDS)
    try:
        answers = fetch(options, {})
    except (Failure, Unreachable):
        return  # the hook that follows says it
    note(options, {part: answer.tag for part, answer in answers.items() if answer.status == 200})


def own_unit() -> tuple[str, bool]:
    """The service whose control group this process is in, and whether a user's manager runs it."""
    with open("/proc/self/cgroup") as file:
        return unit_of(file.read())


def unit_of(text: str) -> tuple[str, bool]:
    """The innermost service that /proc/PID/cgroup names ("": none), and whether it is a user's."""
    path = next((line[3:] for line in text.splitlines() if line.startswith("0::")), "")
    services = [part for part in path.split("/") if part.endswith(".service")]
    is_users = any(part.startswith("user@") for part in services[:-1])
    return (services[-1] if services else ""), is_users


def _name(part: Part) -> str:
    return f"{part.secret}/{part.key}" if part.key else part.secret
