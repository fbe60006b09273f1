"""A commit that cannot be deployed is refused with deployment, file and line."""

from pathlib import Path

import pytest
from leger.faults import FaultsError

IMAGE = "[Container]\nImage=localhost/hello:1\n"

CASES = {
    "unknown key": (
        {"web.container": f"{IMAGE}Colour=red\n"},
        "web: web.container:3: unsupported key 'Colour' in [Container]",
    ),
    "unknown key in a drop-in": (
        {"web.container": IMAGE, "web.container.d/x.conf": "[Container]\n\nColour=red\n"},
        "web: web.container.d/x.conf:3: unsupported key 'Colour' in [Container]",
    ),
    "unknown key in a shared drop-in": (
        {"web.container": IMAGE, "container.d/x.conf": "[Container]\n\nColour=red\n"},
        "web: container.d/x.conf:3: unsupported key 'Colour' in [Container]",
    ),
    "binary file": (
        {"web.container": b"[Container]\n\xff\xfe\x00\n"},
        "web: web.container:2: not UTF-8 text",
    ),
    "zero bytes": (
        {"web.container": b"[Container]\nImage=\x00\n"},
        "web: web.container:2: a binary file",
    ),
    "huge file": (
        {"web.container": b"#" * (2 << 20)},
        "web: web.container: larger than 1 MiB",
    ),
    "missing network": (
        {"web.container": f"{IMAGE}\nNetwork=front.network\n"},
        "web: web.container:4: requested Quadlet unit front.network was not found",
    ),
    "missing volume": (
        {"web.container": f"{IMAGE}Volume=a.volume:/a\n"},
        "web: web.container:3: requested Quadlet source a.volume was not found",
    ),
    "missing pod": (
        {"web.container": f"{IMAGE}Pod=p.pod\n"},
        "web: web.container:3: quadlet pod unit p.pod does not exist",
    ),
    "hidden file": (
        {"web.container": IMAGE, ".x.container": IMAGE},
        "web: .x.container: a hidden file with a quadlet's name: quadlet cannot load its folder",
    ),
    "folder with a quadlet's name": (
        {"web.container": IMAGE, "x.container/readme": "x"},
        "web: x.container: a folder with a quadlet's name: quadlet cannot load what is beside it",
    ),
    "link that leads nowhere": (
        {"web.container": "-> gone"},
        "web: web.container: a link that leads nowhere with a quadlet's name",
    ),
    "no section": (
        {"web.container": "# nothing\n"},
        "web: web.container:1: has no [Container] section",
    ),
    "open section": (
        {"web.container": "[Container\nImage=x\n"},
        "web: web.container:1: neither KEY=VALUE nor [SECTION] nor a comment",
    ),
    "words": (
        {"web.container": f"{IMAGE}\nhello\n"},
        "web: web.container:4: neither KEY=VALUE nor [SECTION] nor a comment",
    ),
    "old generators loop": (
        {"web.container": f"{IMAGE}Exec=true \\\n\n[Install]\n"},
        "web: web.container:3: ends in \\ with nothing on the next line",
    ),
    "quadratic generators": (
        {"web.container": IMAGE + "Environment=\\\n" + "a\\\n" * 10_000 + "b\n"},
        "web: web.container: more than 10,000 lines that end in \\: quadlet takes for ever",
    ),
    "continuation at the end": (
        {"web.container": f"{IMAGE}Exec=true \\"},
        "web: web.container:3: ends in \\ with nothing on the next line",
    ),
    "no image": (
        {"web.container": "[Container]\nExec=true\n"},
        "web: web.container:1: no Image or Rootfs key specified",
    ),
    "image and rootfs": (
        {"web.container": f"{IMAGE}Rootfs=/x\n"},
        "web: web.container:3: the Image And Rootfs keys conflict can not be specified together",
    ),
    "one name twice": (
        {"a/web.container": IMAGE, "b/web.container": IMAGE},
        "web: b/web.container: a/web.container has the same name: quadlet takes one of them",
    ),
    "one service twice": (
        {"a.container": IMAGE, "b.container": f"{IMAGE}ServiceName=a\n"},
        "web: b.container: makes a.service, and so does a.container",
    ),
    "a plain unit of a quadlet's name": (
        {"a.container": IMAGE, "a.service": "[Service]\nExecStart=/bin/true\n"},
        "web: a.service: makes a.service, and so does a.container",
    ),
    "a drop-in for another's unit": (
        {"a.container": IMAGE, "sshd.service.d/x.conf": "[Service]\nExecStartPre=/x\n"},
        "web: sshd.service.d/x.conf: changes sshd.service, which is not a unit of this deployment",
    ),
    "a drop-in for another's quadlet": (
        {"a.container": IMAGE, "b.container.d/x.conf": "[Service]\nExecStartPre=/x\n"},
        "web: b.container.d/x.conf: a drop-in for b.container, which is not in this deployment",
    ),
    "misspelt option of a secret": (
        {"web.container": f"{IMAGE}Secret=db,taget=/x\n"},
        "web: web.container:3: Secret= has no option 'taget'",
    ),
    "misspelt type of a secret": (
        {"web.container": f"{IMAGE}Secret=db,type=evn\n"},
        "web: web.container:3: type=evn of a secret is neither mount nor env",
    ),
    "blank instead of comma": (
        {"web.container": f"{IMAGE}Secret=db type=env\n"},
        "web: web.container:3: 'type=env' names no secret",
    ),
    "a slash in a secret's name": (
        {"web.container": f"{IMAGE}PodmanArgs=--secret prod/db\n"},
        "web: web.container:3: 'prod/db' is not the name of a Podman secret",
    ),
    "a foreign specifier in a secret's name": (
        {"web.container": f"{IMAGE}Secret=db-%H\n"},
        "web: web.container:3: 'db-%H': only %i, %I, %j, %J, %p, %P, %n, %N can be in",
    ),
    "a secret outside the prefix": (
        {"web.container": f"{IMAGE}[X-Leger]\nSecret=db=prod/db\n"},
        "web: web.container:4: secret 'prod/db' is not below 'web/'",
    ),
    "a secret without a cgroup": (
        {"web.container": f"{IMAGE}Secret=db\nPodmanArgs=--cgroups disabled\n"},
        "web: web.container:4: a container with secrets needs its cgroup",
    ),
    "a whole Kubernetes Secret of unknown keys": (
        {
            "k.kube": "[Kube]\nYaml=k.yaml\n",
            "k.yaml": "kind: Pod\nspec:\n  containers:\n  - envFrom:\n    - secretRef:\n"
            "        name: s\n",
        },
        "web: k.yaml:5: the keys of Kubernetes Secret 's' are not known",
    ),
    "a broken YAML": (
        {"k.kube": "[Kube]\nYaml=k.yaml\n", "k.yaml": "a: [\n"},
        "web: k.yaml:2: not valid YAML",
    ),
    "a missing YAML": (
        {"k.kube": "[Kube]\nYaml=k.yaml\n"},
        "web: k.kube:2: k.yaml is not in the repository",
    ),
    "a YAML that is a link to a folder": (
        {"k.kube": "[Kube]\nYaml=k.yaml\n", "k.yaml": "-> d", "d/x": "1"},
        "web: k.kube:2: k.yaml is not a file of at most 1 MiB",
    ),
    "a huge YAML": (
        {"k.kube": "[Kube]\nYaml=k.yaml\n", "k.yaml": "#" * (2 << 20)},
        "web: k.kube:2: k.yaml is not a file of at most 1 MiB",
    ),
    "an author's file that is a link": (
        {"a.container": IMAGE, ".leger.yaml": "-> a.container"},
        "web: .leger.yaml: must be a file, not a link",
    ),
    "a huge author's file": (
        {"a.container": IMAGE, ".leger.yaml": "#" * (2 << 20)},
        "web: .leger.yaml: larger than 1 MiB",
    ),
    "a template that becomes a folder's name": (
        {"a.container": IMAGE, "conf.j2": "x", "conf/x": "1"},
        "web: conf: conf is a file, and conf/x needs it as a folder",
    ),
    "a binary plain unit": (
        {"a.container": IMAGE, "b.service": "[Service]\n\0\n"},
        "web: b.service: a binary file",
    ),
    "a missing file": (
        {"web.container": f"{IMAGE}EnvironmentFile=./web.env\n"},
        "web: web.container:3: web.env is not in the repository, and not on this host",
    ),
    "a path that leaves": (
        {"web.container": f"{IMAGE}Volume=../../etc:/etc\n"},
        "web: web.container:3: ../../etc leaves the repository's folder",
    ),
    "an undefined value": (
        {"web.container.j2": f"{IMAGE}PublishPort={{{{ port }}}}\n"},
        "web: web.container.j2:3: cannot be rendered: 'port' is undefined",
    ),
    "a bundle without a name": (
        {"all.quadlets": f"# FileName=a\n{IMAGE}---\n{IMAGE}"},
        "web: all.quadlets:5: each part needs one line # FileName=NAME",
    ),
    "a fault in a bundle": (
        {"all.quadlets": f"# FileName=a\n{IMAGE}---\n# FileName=b\n{IMAGE}Colour=red\n"},
        "web: all.quadlets:8: unsupported key 'Colour' in [Container]",
    ),
    "an author who says too much": (
        {"web.container": IMAGE, ".leger.yaml": "description: x\nverify: {}\n"},
        "web: .leger.yaml:2: verify is the host's to say",
    ),
    "an author's value that is not given": (
        {"web.container": IMAGE, ".leger.yaml": "values:\n  port: {type: number}\n"},
        "web: value 'port' is needed: number",
    ),
    "a link that leaves": (
        {"web.container": IMAGE, "conf": "-> ../../etc"},
        "web: conf: this link leaves the tree or never ends",
    ),
    "an absolute link": (
        {"web.container": IMAGE, "conf": "-> /etc"},
        "web: conf: this link leaves the tree or never ends",
    ),
    "a control character": (
        {"web.container": IMAGE, "a\nb": "x"},
        "web: a\nb: its name has control characters or is not UTF-8",
    ),
    "a twin": (
        {"web.container": IMAGE, "Conf": "x", "conf": "y"},
        "web: conf: differs from Conf only by case or by how a letter is coded",
    ),
    "Git LFS": (
        {
            "web.container": IMAGE,
            "big": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        },
        "web: big: is kept by Git LFS, which is not supported",
    ),
    "a service's name that leads elsewhere": (
        {"web.container": f"{IMAGE}ServiceName=../../../../../../tmp/leger-canary\n"},
        "web: web.container:3: systemd takes no unit called '../",
    ),
    "an alias that leads elsewhere": (
        {"web.container": f"{IMAGE}[Install]\nAlias=../../../../../../tmp/leger-canary.service\n"},
        "web: web.container:4: '../",
    ),
    "a name that systemd does not take": (
        {"a b.container": IMAGE},
        "web: a b.container: systemd takes no unit called 'a b.service'",
    ),
    "an alias that is another's name": (
        {"a.container": f"{IMAGE}[Install]\nAlias=b.service\n", "b.container": IMAGE},
        "web: a.container:4: the alias b.service is what b.container makes",
    ),
    "one container's name twice": (
        {"a.container": f"{IMAGE}ContainerName=x\n", "b.container": f"{IMAGE}ContainerName=x\n"},
        "web: b.container: Podman would call it x, as it calls a.container",
    ),
    "a drop-in for all services": (
        {"a.container": IMAGE, "service.d/x.conf": "[Service]\nExecStartPre=/x\n"},
        "web: service.d/x.conf: changes every unit of the host",
    ),
    "a drop-in for a prefix of services": (
        {"a.container": IMAGE, "ssh-.service.d/x.conf": "[Service]\nExecStartPre=/x\n"},
        "web: ssh-.service.d/x.conf: changes ssh-.service, which is not a unit of this",
    ),
    "a drop-in by Leger's name": (
        {"a.container": IMAGE, "a.service.d/00-leger.conf": "[Service]\n"},
        "web: a.service.d/00-leger.conf: the name 00-leger.conf is Leger's own",
    ),
    "a port twice": (
        {"a.container": f"{IMAGE}PublishPort=1:1\n", "b.container": f"{IMAGE}PublishPort=1:2\n"},
        "web: b.container:3: port 1/tcp is published by a.container:3 too",
    ),
    "a ring": (
        {
            "a.container": f"{IMAGE}Network=b.container\n",
            "b.container": f"{IMAGE}Network=a.container\n",
        },
        "web: a.container: needs itself: a.service -> b.service -> a.service",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fault_is_named(case, prepared, compiled):
    files, expected = CASES[case]
    try:
        faults = compiled(prepared("web", files)).faults
    except FaultsError as error:
        faults = error.faults
    found = [str(fault) for fault in faults]
    assert not list(Path("/tmp").glob("leger-canary*"))
    assert any(text.startswith(expected) for text in found), found
