"""Everything that was compiled together, as the checks look at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from leger.hostview import HostView
from leger.model import Binding, Fault, Unit
from leger.prepare import Prepared
from leger.sources import Source


@dataclass(frozen=True)
class World:
    """Everything that was compiled together.

    `units` lists every unit (two may have one name), `links` what [Install] and aliases become;
    `dropins` the plain drop-ins of each deployment (path below the generator's folder -> file in
    its tree); `host_files` the host's quadlets by name and `host_units` their units;
    `view` answers what is asked of the host; `adopted` are the names that a deployment takes
    over; `own_units` what runs of ours already; `host_dropins` the host's drop-ins by the quadlet
    that they are for. Without a host (`on_host`) there are no sockets.
    """

    prepared: Mapping[str, Prepared]
    sources: Sequence[Source]
    units: Sequence[Unit]
    links: Mapping[str, str]
    dropins: Mapping[str, Mapping[str, str]]
    bindings: Mapping[str, Sequence[Binding]]
    host_files: Mapping[str, str]
    host_units: Mapping[str, str]
    view: HostView
    adopted: frozenset[str] = frozenset()
    user: bool = False
    quadlet_ran: bool = True
    on_host: bool = False
    own_units: frozenset[str] = frozenset()
    host_dropins: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def replaces(self, deployment: str, name: str) -> bool:
        """Whether the host's file lets `deployment` take over the unit `name`."""
        return name in self.prepared[deployment].deployment.replaces

    def claims(self) -> list[tuple[str, str, str]]:
        """Every unit's name with its deployment and file, those too that quadlet did not make."""
        made = {(unit.deployment, unit.source) for unit in self.units}
        return [(unit.name, unit.deployment, unit.source) for unit in self.units] + [
            (source.unit, source.deployment, source.path)
            for source in self.sources
            if (source.deployment, source.path) not in made
        ]

    def outside(self, name: str) -> str:
        """The folder in which the host has the unit `name`, or its template; "" without one."""
        return self.view.outside(name)


Check = Callable[[World], Iterator[Fault]]
