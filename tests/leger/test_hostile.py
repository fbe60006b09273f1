"""Whatever a repository holds: faults that name it, or units that units.json takes."""

import shutil

import pytest
from leger import checkout, prepare
from leger import compile as compiling
from leger.config import Config
from leger.deployment import Deployment
from leger.faults import FaultsError
from leger_generator import plan
from repositories import FIXTURES, content, place

PIECES = (
    b"\n", b"\\\n", b"[", b"]", b"=", b"\0", b"\xff", b"%i", b"%", b"{{", b"{%", b"}}", b"---\n",
    b"../", b"./", b":", b"Secret=", b"Volume=./", b'"', b"'", b"*", b"&a ", b"[Container]\n",
    b"[X-Leger]\n", b"[Install]\n", b"# FileName=z\n", b"\r", b"\xef\xbb\xbf", b"ServiceName=x\n",
    b"Alias=y.service\n", b"WantedBy=a/b\n", b"DefaultInstance=x y\n", b"PublishPort=1-99999:1\n",
)  # fmt: skip
NAMES = ("u", "é", "web", "x", "a b", "-", "t@", "t@\\x2d")
ENDS = (
    ".container", ".pod", ".volume", ".kube", ".service", ".quadlets", ".j2", ".container.j2",
    ".conf", ".timer", ".container.d/x.conf", ".service.d/x.conf", ".service.wants/web.service",
)  # fmt: skip
TARGETS = ("..", "/etc", "web", "app.yaml", "x", ".", "worker@.container")


def spoilt(rng, data):
    spoilt = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        place = rng.randint(0, len(spoilt))
        if rng.random() < 0.7:
            spoilt[place:place] = rng.choice(PIECES)
        elif rng.random() < 0.6:
            del spoilt[place : place + rng.randint(1, 30)]
        else:
            spoilt[place:place] = spoilt[: rng.randint(0, 60)]
    return bytes(spoilt)


def hostile(rng, good):
    files = dict(good)
    for _ in range(rng.randint(1, 4)):
        path = rng.choice(sorted(files))
        data = files[path]
        action = rng.random()
        if action < 0.1:
            del files[path]
        elif action < 0.25:
            files[rng.choice(["", "web/", "new/"]) + rng.choice(NAMES) + rng.choice(ENDS)] = data
        elif action < 0.3:
            files[path] = f"-> {rng.choice(TARGETS)}"
        else:
            files[path] = spoilt(rng, data.encode() if isinstance(data, str) else data)
    return files


def units(scope, folder, quadlet):
    """What units.json would be, or the faults."""
    item = Deployment("everything", str(folder), values={"title": "x"})
    try:
        files = checkout.from_folder(folder, item.name)
        author = prepare.read_author(item, files)
        files = checkout.from_folder(folder, item.name, author.exclude)
        config = Config("host")
        prepared = prepare.finish(scope, config, item, "0" * 40, files, author=author)
    except FaultsError as error:
        return error.faults
    compiled = compiling.compile_scope(scope, {item.name: prepared}, quadlet=quadlet)
    if compiled.faults:
        return compiled.faults
    entries = {
        path: plan.File(entry["text"], entry["deployment"], entry.get("hook"))
        for path, entry in compiled.files.items()
    }
    whole = plan.Plan(1, "system", quadlet={}, deployments={}, files=entries, links=compiled.links)
    plan.encode(whole)
    return ()


def test_no_repository_makes_it_fail(scope, quadlet, rng, soak, tmp_path):
    good = content(FIXTURES / "everything")
    folder = tmp_path / "repository"
    faulty = 0
    for _ in range(2000 if soak else 25):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for path, data in hostile(rng, good).items():
                place(folder / path, data)
        except OSError:
            continue
        faults = units(scope, folder, quadlet)
        faulty += bool(faults)
        assert all(fault.deployment == "everything" and fault.message for fault in faults)
    assert faulty > 0


@pytest.mark.parametrize("count", [300])
def test_hundreds_of_quadlets_are_one_run(scope, quadlet, tmp_path, count):
    folder = tmp_path / "repository"
    for number in range(count):
        text = f"[Container]\nImage=localhost/x:1\nVolume=d{number}.volume:/d\nSecret=s{number}\n"
        place(folder / f"app{number}.container", text)
        place(folder / f"d{number}.volume", "[Volume]\n")
    assert units(scope, folder, quadlet) == ()
