"""Where the generator of a scope reads and writes; `root` is another folder in tests only."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self


class Paths:
    """The files of one scope: units.json, its predecessor, /run/leger, and what current says."""

    __slots__ = ("current", "previous", "runtime", "scope", "units")

    def __init__(self, scope: str, config: str, state: str, runtime: str) -> None:
        self.scope = scope
        self.units = f"{config}/units.json"
        self.previous = f"{config}/units.json.prev"
        self.current = f"{state}/current"
        self.runtime = runtime

    @classmethod
    def system(cls, root: str = "") -> "Self":
        """The system manager's."""
        return cls("system", f"{root}/etc/leger", f"{root}/var/lib/leger", f"{root}/run/leger")

    @classmethod
    def user(cls, environ: "Mapping[str, str]") -> "Self | None":
        """A user manager's by its environment; None without a home.

        XDG_CONFIG_HOME and XDG_STATE_HOME do not count: a user's shell may have other ones.
        """
        home = environ.get("HOME", "")
        if not home.startswith("/"):
            return None
        runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{posix.getuid()}"
        config, state = f"{home}/.config/leger", f"{home}/.local/state/leger"
        return cls("user", config, state, f"{runtime}/leger")

    @property
    def last_good(self) -> str:
        """The copy of the last units.json that was whole."""
        return f"{self.runtime}/units.json"

    @property
    def note(self) -> str:
        """What the generator emitted last, for leger-settle and `leger status`."""
        return f"{self.runtime}/emitted.json"
