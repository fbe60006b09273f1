"""`podman secret inspect` at work: one call for all secrets, started before all else."""

from __future__ import annotations

import os

from leger_hook.outcomes import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT = "{{json .Spec.Name}} {{json .Spec.Labels}} {{json .Spec.Driver}}"
FORMAT += ' {{printf "%x" .SecretData}}'


class Inspection:
    """`podman secret inspect` at work; its output goes to memory that no path leads to."""

    def __init__(self, names: Iterable[str]) -> None:
        self._output = os.memfd_create("inspection")
        environment = {key: text for key, text in os.environ.items() if key != "NOTIFY_SOCKET"}
        command = ["podman", "secret", "inspect", "--showsecret", "--format", FORMAT, "--"]
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, self._output, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        try:
            self._child = os.posix_spawnp(
                "podman", [*command, *names], environment, file_actions=actions
            )
        except OSError as error:
            raise Failure(f"podman cannot be run: {error.strerror}; install podman") from error

    def output(self) -> str:
        """All that it printed, at its end; its exit status says little."""
        try:
            os.waitpid(self._child, 0)
        except BaseException:
            os.kill(self._child, 9)
            raise
        with open(self._output, "rb") as file:
            file.seek(0)
            return file.read().decode()
