"""The story of Leger, told by a machine: `make demo`.

Boots a throw-away machine with systemd, podman and Leger, deploys a repository of quadlets,
reboots, changes something, commits a mistake, cuts the power. Everything shown is the real output
of real commands in that machine. Nothing of this host is changed; the machine stays, to go on by
hand.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from machine import Machine, MachineError, machines, why_not  # noqa: E402

NAME = os.environ.get("LEGER_DEMO", "leger-demo")  # a test tells it in a machine of its own
SECRETS = ("db-password", "api-token", "session-key", "report-keys/token")
GIT = "git -c user.name=Ada -c user.email=ada@example.org"
CONTAINERS = "podman ps --filter name=shop --format 'table {{.Names}} {{.Image}} {{.Status}}'"
HEADING, COMMAND, PLAIN = (
    ("\033[1m", "\033[36m", "\033[0m") if sys.stdout.isatty() else ("", "", "")
)


def main() -> int:
    """Tell the story; 0 when every step went as it should."""
    if reason := why_not():
        print(f"demo: error: {reason}", file=sys.stderr)
        return 1
    began = time.monotonic()
    machines().mkdir(exist_ok=True)
    try:
        with (machines().parent / f"{NAME}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tell()
    except BlockingIOError:
        print("demo: error: it is being told already, in another terminal", file=sys.stderr)
        return 1
    except MachineError as error:
        print(f"\ndemo: error: {error}", file=sys.stderr)
        print(f"demo: hint: look around with: {by_hand('shell')}", file=sys.stderr)
        return 1
    print(f"\nThat took {time.monotonic() - began:.0f} seconds.")
    return 0


def tell() -> None:
    """All chapters, one after the other."""
    machine = boot()
    for chapter in (deploy, look, reboot, change, mistake, power_cut, farewell):
        chapter(machine)


def boot() -> Machine:
    """A fresh machine of the demo's own name, in place of the one of an earlier run."""
    heading("A host")
    say(
        "This boots a small Debian in namespaces of its own: real systemd, real podman, and Leger, "
        "installed from its RPM. The first time the image has to be made, which takes a minute or "
        "two; then it is kept in the cache. The machine has no network at all."
    )
    if (machines() / NAME).exists():
        Machine(NAME).drop()
    machine = Machine.boot("forky", installed=True, name=NAME, hostname="demo")
    machine.keep()
    show(machine, "podman --version; systemctl --version | head -1; rpm -q leger")
    show(machine, "systemctl list-units --no-legend --plain 'legerd*'")
    say("legerd, which keeps the secrets, has not even been started: its sockets wait for a call.")
    return machine


def deploy(machine: Machine) -> None:
    """From Git to running containers."""
    heading("1. From Git to running containers, with their secrets")
    machine.push(ROOT / "docs/example", "/srv/shop")
    machine.sh(f"cd /srv/shop && git init -q -b main && git add . && {GIT} commit -q -m 'The shop'")
    say("Here is a Git repository with Podman Quadlets, written as podman's manual says:")
    show(machine, "cd /srv/shop && git ls-files | paste -sd' ' | fold -s -w 90")
    say("Its containers ask for secrets. They are given to legerd, each by standard input:")
    for name in SECRETS:
        show(machine, f"head -c 18 /dev/urandom | base64 -w0 | leger secrets set shop/{name} -")
    say("One key is for another place: with it another host can read these secrets, too.")
    show(machine, "legerd recovery-key --output /root/recovery-key")
    say("And now one command:")
    show(machine, "leger deploy install shop /srv/shop", seconds=120)
    machine.sync()


def look(machine: Machine) -> None:
    """What there is now is plain systemd and podman."""
    say("What runs now is plain systemd and plain podman:")
    show(
        machine,
        "systemctl list-units --no-legend --plain {web,back,worker,mail,report,shop}*.service",
    )
    show(machine, CONTAINERS)
    show(machine, "curl -s http://127.0.0.1:8080/")
    say("Leger's part of the unit is a drop-in with the names of the secrets, never their values:")
    show(machine, "systemctl cat web.service | grep -A 12 '^# .*/00-leger.conf'")
    say("The container has them, as a variable and as a file (here only counted):")
    show(
        machine,
        "podman exec shop-web sh -c"
        " 'echo ${#DB_PASSWORD} ${#SESSION_KEY} $(wc -c </run/secrets/payment)'",
    )


def reboot(machine: Machine) -> None:
    """The machine comes up alone."""
    heading("2. The host restarts")
    say("No network, no Git, no daemon of ours is needed for that: a generator reads one file.")
    state = machine.reboot()
    print(f"  (the machine is up again; systemd says: {state})\n")
    show(machine, CONTAINERS)
    show(machine, "podman exec shop-web sh -c 'echo ${#DB_PASSWORD} ${#SESSION_KEY}'")


def change(machine: Machine) -> None:
    """One change restarts what it concerns."""
    heading("3. One change")
    say("Ada changes the front page.")
    machine.sh("cd /srv/shop && sed -i 's|</h1>|, and welcome</h1>|' site/index.html.j2")
    commit(machine, "Welcome the visitors")
    show(machine, "leger deploy update shop", seconds=120)
    say("The page has changed. Only the container that mounts it was restarted:")
    show(machine, "curl -s http://127.0.0.1:8080/ | grep h1")
    show(machine, CONTAINERS)


def mistake(machine: Machine) -> None:
    """A bad commit changes nothing."""
    heading("4. One bad commit")
    say(
        "Ada is in a hurry and misspells a key. Plain quadlet would drop that unit at the next "
        "reload."
    )
    machine.sh("cd /srv/shop && sed -i 's/^Image=/Imgae=/' worker.container")
    commit(machine, "Tidy up")
    show(machine, "leger deploy update shop", expect=4)
    say("Refused, with file and line. Nothing was changed, and what ran runs on:")
    show(machine, "podman ps --format '{{.Names}}' --filter name=shop-worker; leger status")
    machine.sh("cd /srv/shop && sed -i 's/^Imgae=/Image=/' worker.container")
    commit(machine, "Spell it right")


def power_cut(machine: Machine) -> None:
    """The power goes in the middle of a switch."""
    heading("5. The power goes")
    say(
        "A change that concerns every container is under way. When the first of them has been "
        "stopped, the power is cut: what was not written to the disk by then is lost."
    )
    machine.sh(
        "cd /srv/shop && sed -i 's|, and welcome|, autumn sale|' site/index.html.j2 &&"
        " find . -name '*.container' -type f -exec"
        " sed -i 's/^RunInit=true/&\\nLabel=season=autumn/' {} +"
    )
    commit(machine, "The autumn")
    machine.sync()
    print(f"  {COMMAND}demo# leger deploy update shop{PLAIN}", flush=True)
    with machine.spawn("bash", "-c", "leger deploy update shop 2>&1") as command:
        assert command.stdout is not None
        for line in iter(command.stdout.readline, b""):
            print(f"    {line.decode().rstrip()}", flush=True)
            if line.startswith(b"stop "):
                break
        machine.cut()
    print(f"    {HEADING}-- no power --{PLAIN}\n")
    state = machine.start()
    print(f"  (the machine is up again; systemd says: {state})\n")
    say("After any cut the host has the old set of units or the new one, never a mixture:")
    show(machine, "leger status")
    show(machine, "curl -s --retry 5 --retry-connrefused http://127.0.0.1:8080/ | grep h1")
    say("The next command works without any help:")
    show(machine, "leger deploy update shop", seconds=120)
    show(machine, "curl -s --retry 5 --retry-connrefused http://127.0.0.1:8080/ | grep h1")


def farewell(machine: Machine) -> None:
    """How to go on by hand."""
    machine.sync()
    heading("Go on by hand")
    say(f"The machine {NAME} is left running. What you can do with it:")
    for command, meaning in (
        ("shell", "a root shell: leger status, leger deploy remove shop, ..."),
        ("cut", "cut its power"),
        ("start", "boot it again"),
        ("drop", "remove it, and all that it holds"),
    ):
        print(f"  {by_hand(command)}    # {meaning}")


def commit(machine: Machine, message: str) -> None:
    """Commit all changes in the shop's repository, and show the command."""
    show(machine, f"cd /srv/shop && {GIT} commit -q -a -m '{message}' && git show --format= --stat")


def heading(text: str) -> None:
    """A chapter's title."""
    print(f"\n{HEADING}== {text} =={PLAIN}\n")


def say(text: str) -> None:
    """A paragraph of the story."""
    print(textwrap.fill(text, 96), end="\n\n", flush=True)


def show(machine: Machine, command: str, *, expect: int = 0, seconds: float = 60) -> None:
    """Run a command in the machine and print both, as a terminal would.

    Raises MachineError unless it ends with the exit code `expect`.
    """
    shown = command.replace(f"{GIT} ", "git ")
    print(f"  {COMMAND}demo# {shown}{PLAIN}", flush=True)
    done = machine.run("bash", "-c", f"{{ {command}\n}} 2>&1", check=False, timeout=seconds)
    print(textwrap.indent(done.stdout.rstrip("\n"), "    "), end="\n\n", flush=True)
    if done.code != expect:
        raise MachineError(f"{shown}: exit {done.code}, not {expect}")


def by_hand(command: str) -> str:
    """The command line that does `command` with the demo's machine."""
    python = Path(sys.executable)
    name = python.name if shutil.which(python.name) == str(python) else os.path.relpath(python)
    tests = os.path.relpath(ROOT / "tests")
    return f"PYTHONPATH={tests} {name} -m machine {command} {NAME}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        sys.exit(130)
