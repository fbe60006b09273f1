"""What we take for a secret is what quadlet gives to podman, however it is spelt."""

from leger import quadlet as quadlets
from leger import secretrefs, sources
from leger.unitfile import UnitFile, words
from repositories import place

COUNT = 200
BREAKS = (" ", "  ", " \\\n", " \\\n  ", " \\\n# c\n", " \\\n  # c\n ", "\t")
KEYS = ("Secret=", "Secret = ", "  Secret=", "Secret= ", "Secret=\\\n", "Secret\t=")
OTHERS = (
    "Secret=",
    "# Secret=no",
    ";Secret=no",
    "[Service]\nSecret=no\n[Container]",
    "",
    "  ",
    'Environment="Secret=x"',
    "Exec=--secret q",
    "Label=a=b \\\n Secret=no",
    " # Secret=x",
    "Secret=a;b",
)


def specification(rng):
    name = rng.choice(["a", "b", "c-d", "x.y", "db-%i"])
    text = f"source={name}" if rng.random() < 0.3 else name
    options = ["type=env", "type=mount", "target=X", "uid=1", "mode=0400"]
    text = ",".join([text, *rng.sample(options, rng.randint(0, 2))])
    return rng.choice([text, text, text, f'"{text}"', f"'{text}'", text.replace("a", "\\x61")])


def line(rng):
    if rng.random() < 0.5:
        found = [specification(rng) for _ in range(rng.randint(1, 3))]
        return rng.choice(KEYS) + rng.choice(BREAKS).join(found)
    if rng.random() < 0.3:
        prefix = rng.choice(["--secret ", "--secret=", "--pull never --secret "])
        return f"PodmanArgs={prefix}{specification(rng)}"
    return rng.choice(OTHERS)


def lines(rng, count):
    return "".join(f"{line(rng)}\n" for _ in range(count))


def given_to_podman(text):
    arguments = words(UnitFile.parse(text).last("Service", "ExecStart"))
    arguments = iter(arguments[: arguments.index("localhost/x:1")])
    for argument in arguments:
        if argument == "--secret":
            yield next(arguments).partition(",")[0].removeprefix("source=")
        elif argument.startswith("--secret="):
            yield argument.removeprefix("--secret=").partition(",")[0].removeprefix("source=")


def test_every_spelling_means_what_quadlet_makes_of_it(rng, tmp_path, quadlet):
    texts = {}
    for number in range(COUNT):
        name = f"u{number}.container"
        texts[name] = {name: f"[Container]\nImage=localhost/x:1\n{lines(rng, 5)}"}
        if rng.random() < 0.3:
            texts[name][f"{name}.d/1.conf"] = f"[Container]\n{lines(rng, 2)}"
        for path, text in texts[name].items():
            place(tmp_path / str(number) / path, text)
    output = quadlets.run(quadlet, [tmp_path])
    assert len(output.units) > COUNT * 0.9
    for name, text in texts.items():
        unit = f"{name.removesuffix('.container')}.service"
        (source,) = sources.read("web", text)
        found = secretrefs.of_container(source)
        if unit in output.units and not found.faults:
            names = [reference.name for reference in found.references]
            assert names == list(given_to_podman(output.units[unit])), text
