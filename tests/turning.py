"""A repository that is good, and every way in which it can turn bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

IMAGE = "localhost/hello:1"
Files = Mapping[str, str | bytes | None]


def container(
    *lines: str, image: str = IMAGE, run: str = "sleep infinity", version: int = 0
) -> str:
    """A quadlet of the good repository, or a spoilt one; `lines` come last in [Container]."""
    return "\n".join(
        [
            "[Container]",
            *([f"Image={image}"] if image else []),
            f"Exec={run}",
            "RunInit=true",
            "StopTimeout=1",
            f"Label=version={version}",
            *lines,
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def good(version: int) -> dict[str, str | bytes | None]:
    """The tree as it should be."""
    return {
        "web.container": container("EnvironmentFile=./web.env", "Volume=./page:/page:ro",
                                   "Network=inner.network", version=version),
        "web.env": f"VERSION={version}\n",
        "page/index": f"{version}\n",
        "inner.network": "[Network]\n",
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What a commit puts over the good tree (None removes a file), or a script that runs in it.

    `compiles` says that only starting it shows that it is bad; `script` is shell, with the
    repository as its folder, and commits by itself; `mend` undoes what a commit does not.
    """

    files: Files = field(default_factory=dict)
    compiles: bool = False
    script: str = ""
    mend: str = ""


def _web(*lines: str, **options: str) -> Files:
    return {"web.container": container(*lines, **options)}  # type: ignore[arg-type]


def _starts(*lines: str, **options: str) -> Case:
    return Case(_web(*lines, **options), compiles=True)


def _service(*lines: str) -> Files:
    text = "\n".join(["[Service]", *lines, "[Install]", "WantedBy=multi-user.target", ""])
    return {"extra.service": text}


_BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

REFUSED: dict[str, Case] = {
    "no section": Case({"web.container": "Image=localhost/hello:1\n"}),
    "an unknown key": Case(_web("NoSuchKey=1")),
    "no image": Case(_web(image="")),
    "an empty quadlet": Case({"web.container": ""}),
    "a torn line": Case({"web.container": "[Container\nImage=localhost/hello:1\n"}),
    "bytes that are no text": Case({"web.container": b"[Container]\nImage=\xff\xfe\n"}),
    "a zero byte": Case({"web.container": b"[Container]\nImage=a\0b\n"}),
    "a quadlet of 2 MiB": Case({"web.container": container() + "#" * (2 << 20)}),
    "a network that is not there": Case(_web("Network=nowhere.network")),
    "a volume that is not there": Case(_web("Volume=nowhere.volume:/data")),
    "a pod that is not there": Case(_web("Pod=nowhere.pod")),
    "an image that is not there": Case(_web(image="nowhere.image")),
    "the network gone": Case({"inner.network": None}),
    "one name twice": Case({"again/web.container": container()}),
    "one unit by two quadlets": Case({"web.kube": "[Kube]\nYaml=./pod.yaml\n",
                                      "pod.yaml": "a: 1\n"}),
    "a link that leaves the tree": Case({"page/away": "-> ../../../../etc/shadow"}),
    "a link to the host": Case({"page/away": "-> /etc/shadow"}),
    "a link to itself": Case({"web.container": "-> web.container"}),
    "a link to nothing": Case({"web.container": "-> nothing"}),
    "a name with a line break": Case({"page/a\nb": "x"}),
    "two names that differ by case only": Case({"page/INDEX": "x"}),
    "a template without its value": Case({"web.container": None,
                                          "web.container.j2": "{{ nothing }}"}),
    "a torn template": Case({"web.env": None, "web.env.j2": "{% if %}"}),
    "a template without end": Case({"web.env": None, "web.env.j2":
                                    "{% for a in range(9**9) %}{{ a }}{% endfor %}"}),
    "a template that reads the host": Case({"web.env": None, "web.env.j2":
                                            "{% include '/etc/shadow' %}"}),
    "a template that runs code": Case({"web.env": None, "web.env.j2":
                                       "{{ ''.__class__.__mro__[1].__subclasses__() }}"}),
    "a torn .leger.yaml": Case({".leger.yaml": "secrets: [\n"}),
    "a .leger.yaml that is the host's": Case({".leger.yaml": "source: /srv/other\n"}),
    "a .leger.yaml that wants a value": Case({".leger.yaml": "values: {port: {type: int}}\n"}),
    "a template that yields half a character": Case({"web.env": None,
                                                     "web.env.j2": '{{ "\\ud800" }}'}),
    "a value that is half a character": Case({".leger.yaml": 'values: {a: "\\uD800"}\n'}),
    "a character that no computer has": Case({".leger.yaml": 'description: "\\UFFFFFFFF"\n'}),
    "a character beyond the last": Case({".leger.yaml": 'description: "\\U00110000"\n'}),
    "a bomb of aliases": Case({".leger.yaml": _BOMB}),
    "a .leger.yaml of lists in lists": Case({".leger.yaml": "[" * 5000}),
    "a secret of others": Case(_web("Secret=token", "[X-Leger]", "Secret=token=prod/other")),
    "a misspelt option of a secret": Case(_web("Secret=token,taget=/x")),
    "a port twice": Case({"other.container": container("PublishPort=8080:80"),
                          **_web("PublishPort=8080:80")}),
    "a port that is none": Case(_web("PublishPort=99999:80")),
    "a million million ports": Case(_web("PublishPort=1-999999999999:80")),
    "an environment file that nobody has": Case({"web.env": None}),
    "a kube without its file": Case({"pod.kube": "[Kube]\nYaml=./nothing.yaml\n"}),
    "a kube that is no YAML": Case({"pod.kube": "[Kube]\nYaml=./pod.yaml\n", "pod.yaml": "a: [\n"}),
    "a kube with a character beyond the last": Case({"pod.kube": "[Kube]\nYaml=./pod.yaml\n",
                                                     "pod.yaml": 'a: "\\UFFFFFFFF"\n'}),
    "an environment file called half a character": Case(_web("EnvironmentFile=./\\ud800.env")),
    "content that changes its owner": Case(_web("Volume=./page:/page:U")),
    "nothing left": Case({"web.container": None, "inner.network": None}),
}  # fmt: skip

ON_A_HOST: dict[str, Case] = {
    "a unit of the system": Case({"systemd-journald.container": container()}),
    "an alias of the system": Case(_web("[Install]", "Alias=systemd-journald.service")),
    "a secret that legerd does not have": Case(_web("Secret=token")),
    "a secret called half a character": Case(_web("Secret=\\ud800")),
    "a secret of half a character": Case(_web("Secret=s", "[X-Leger]", "Secret=s=web/\\ud800")),
}  # fmt: skip

GIVEN_UP: dict[str, Case] = {
    "an image that cannot be pulled": _starts(image="localhost/nothing:1"),
    "a registry that is not there": _starts(image="127.0.0.1:9/nothing:1"),
    "it ends with an error": _starts(run="false"),
    "it ends soon": _starts(run="sh -c 'sleep 0.5; exit 3'"),
    "it falls over again and again": Case({"web.container": container(
        run="sh -c 'sleep 0.2; exit 1'") + "[Service]\nRestart=always\nRestartSec=100ms\n"},
        compiles=True),
    "it never gets ready": Case({"web.container": container("Notify=true")
                                 + "[Service]\nTimeoutStartSec=2\n"}, compiles=True),
    "it never gets healthy": Case({"web.container": container(
        "Notify=healthy", "HealthCmd=false", "HealthInterval=500ms", "HealthRetries=1")
        + "[Service]\nTimeoutStartSec=3\n"}, compiles=True),
    "a step before it fails": Case({"web.container": container()
                                    + "[Service]\nExecStartPre=/bin/false\n"}, compiles=True),
    "a program that is not there": _starts(run="/no/such/program"),
    "a folder of the host that is not there": _starts("Volume=/no/such/folder:/data"),
    "a user that is not there": _starts("User=nobody-at-all"),
    "an option that podman does not know": _starts("PodmanArgs=--no-such-option"),
    "a capability that is none": _starts("AddCapability=CAP_NONSENSE"),
    "a network that cannot be": Case(
        {"inner.network": "[Network]\nSubnet=10.0.0.0/8\nGateway=1.1.1.1\n"}, compiles=True),
    "an image that cannot be built": Case({"own.build": "[Build]\nImageTag=localhost/own:1\n"
                                           "SetWorkingDirectory=unit\nFile=./Containerfile\n",
                                           "Containerfile": f"FROM {IMAGE}\nRUN false\n",
                                           **_web(image="own.build")}, compiles=True),
    "a plain unit that fails": Case(
        _service("Type=oneshot", "ExecStart=/bin/false"), compiles=True),
    "a plain unit that ends": Case(
        _service("ExecStart=/bin/sh -c 'sleep 0.3; exit 1'"), compiles=True),
    "a second container that fails": Case(
        {"worse.container": container(run="false")}, compiles=True),
}  # fmt: skip

_AWAY = "mv {repository} {repository}.away"
_BACK = "mv {repository}.away {repository}"
SOURCES: dict[str, Case] = {
    "the repository is gone": Case(script=_AWAY, mend=_BACK),
    "the branch is gone": Case(script="git checkout -q -b other; git branch -q -D main",
                               mend="git checkout -q -b main; git branch -q -D other"),
    "no repository any more": Case(script="mv .git away", mend="mv away .git"),
    "the newest commit is damaged": Case(
        script="git commit -q --allow-empty -m lost; id=$(git rev-parse HEAD);"
        " f=.git/objects/$(echo $id | cut -c1-2)/$(echo $id | cut -c3-); chmod u+w $f; echo >$f",
        mend="cat .git/good >.git/refs/heads/main; git reset -q --hard"),
    "the branch is rewritten": Case(
        script="git checkout -q --orphan new; git commit -q -m new; git branch -q -M new main",
        mend="git reset -q --hard $(cat .git/good)"),
    "the branch is rewound": Case(
        script="git reset -q --hard HEAD~1", mend="git reset -q --hard $(cat .git/good)"),
    "a submodule": Case(
        script="git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),page/sub;"
        " git commit -q -m sub", mend="git reset -q --hard; git rm -q --cached page/sub"),
    "a link with a zero byte": Case(
        script="id=$(printf 'a\\0b' | git hash-object -w --stdin);"
        " git update-index --add --cacheinfo 120000,$id,page/link; git commit -q -m link",
        mend="git reset -q --hard; git rm -q --cached page/link; rm -f page/link"),
    "a large file in LFS": Case({"page/large":
        "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9\n"}),
}  # fmt: skip
CASES = {**REFUSED, **ON_A_HOST, **GIVEN_UP, **SOURCES}
