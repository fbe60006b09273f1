"""Keeps this process's memory off the disk: no swap, no core dump, no ptrace by its own user.

Python cannot wipe a value once it has been read; what can be had is that it stays in memory.
"""

from __future__ import annotations

import ctypes
import os
import resource

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_PR_SET_DUMPABLE = 4
_M_ARENA_MAX, _ARENAS = -8, 2  # not one for each of many workers: half the resident memory


def protect() -> tuple[str, ...]:
    """Lock memory and forbid dumps; what could not be done, as one warning each.

    MCL_ONFAULT: without it every thread's whole stack would be resident.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    warnings = []
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT):
        reason = os.strerror(ctypes.get_errno())
        warnings.append(f"memory cannot be locked and may be swapped out: {reason}")
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        warnings.append(f"core dumps cannot be refused: {os.strerror(ctypes.get_errno())}")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc.mallopt(_M_ARENA_MAX, _ARENAS)
    return tuple(warnings)
