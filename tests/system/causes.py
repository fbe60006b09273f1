"""Units that do not run, each for a reason of its own: what `leger why` is asked about."""

from __future__ import annotations

from system.application import IMAGE

RUNNING = "Exec=sleep infinity\nRunInit=true\nStopTimeout=1\n"
GREEDY = (
    "StopTimeout=1\nExec=sh -c 'until test -e /dev/shm/go; do sleep 0.1; done; "
    "exec dd if=/dev/zero of=/dev/null bs=300M'\n"
)
LIMIT = "MemoryMax=100M\nMemorySwapMax=0"
WANTED = "[Install]\nWantedBy=multi-user.target\n"


def quadlet(body: str = RUNNING, *, unit: str = "", service: str = "", wanted: bool = False) -> str:
    """A container; `unit` and `service` are lines of these sections."""
    return (
        (f"[Unit]\n{unit}\n" if unit else "")
        + f"[Container]\nImage={IMAGE}\n{body}"
        + (f"[Service]\n{service}\n" if service else "")
        + (WANTED if wanted else "")
    )


TREE = {
    ".leger.yaml": "health: {quiet: 200ms}\n",
    "good.container": quadlet(f"{RUNNING}EnvironmentFile=./good.env\n", wanted=True),
    "good.env": "A=1\n",
    "held.container": quadlet(f"{RUNNING}Secret=held\n", wanted=True),
    "idle.container": quadlet(),
    "secret.container": quadlet(f"{RUNNING}Secret=token\n"),
    "skipped.container": quadlet(unit="ConditionPathExists=/no/such/path", wanted=True),
    "needing.container": quadlet(unit="Requires=broken.service\nAfter=broken.service"),
    "broken.service": "[Service]\nType=oneshot\nExecStart=/bin/false\n",
    "limited.container": quadlet(
        "Exec=false\n",
        unit="StartLimitIntervalSec=600\nStartLimitBurst=2",
        service="Restart=always\nRestartSec=10ms",
    ),
    "slow.container": quadlet(service="TimeoutStartSec=1\nExecStartPre=/bin/sleep 60"),
    "nocommand.container": quadlet("Exec=/no/such/command\n"),
    "noimage.container": quadlet().replace(IMAGE, "localhost/no-such-image:1"),
    "refused.service": "[Service]\nType=simple\n",
    "greedy.container": quadlet(GREEDY, service=LIMIT),
    "strict.container": quadlet(GREEDY, service=f"{LIMIT}\nOOMPolicy=kill"),
    "tick.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    "tick.timer": "[Timer]\nOnCalendar=*-01-01\n[Install]\nWantedBy=timers.target\n",
    "mail@.container": quadlet(),
    "off.container.disabled": quadlet(),
}
