"""Bundles and shared drop-ins become single files; secrets are found in every spelling."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import bundle, dropins, messages, secretrefs, sources
from leger.faults import FaultsError
from leger.tree import File
from repositories import shown


def files(**texts):
    return {path: File.of(text.encode()) for path, text in texts.items()}


def texts(made):
    return {path: file.read().decode() for path, file in made.items()}


def test_a_bundle_becomes_its_quadlets():
    text = "# FileName=a\n[Volume]\n\n---\n\n# FileName = b.container\n[Container]\nImage=x\n---\n"
    made, origins = bundle.expand("web", {"d/all.quadlets": File.of(text.encode())})
    assert texts(made) == {
        "d/a.volume": "# FileName=a\n[Volume]\n",
        "d/b.container": "\n# FileName = b.container\n[Container]\nImage=x\n",
    }
    assert origins["d/b.container"].line == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[Volume]\n", "all.quadlets:1: each part needs one line # FileName=NAME"),
        ("# FileName=a\n[Volume]\n[Container]\n", "all.quadlets:1: each part needs one quadlet"),
        ("# FileName=a\n[Service]\n", "all.quadlets:1: each part needs one quadlet section"),
        ("# FileName=../a\n[Volume]\n", "all.quadlets:1: '../a' is not the name of a quadlet"),
        ("# FileName=a\n[Volume]\n---\n# FileName=a\n[Volume]\n",
         "all.quadlets:4: a.volume is there already"),
    ],
)  # fmt: skip
def test_a_bundle_that_is_wrong_is_named(text, message):
    with pytest.raises(FaultsError, match=message.replace("[", r"\[").replace(".", r"\.")):
        bundle.expand("web", {"all.quadlets": File.of(text.encode())})


def test_the_most_specific_drop_in_of_a_name_counts():
    made, origins = dropins.expand(
        files(
            **{
                "web-a.container": "",
                "b.container": "",
                "container.d/1.conf": "type",
                "container.d/2.conf": "type",
                "web-.container.d/1.conf": "prefix",
                "x/web-a.container.d/2.conf": "own",
            }
        )
    )
    assert texts(made) == {
        "web-a.container": "",
        "b.container": "",
        "web-a.container.d/1.conf": "prefix",
        "x/web-a.container.d/2.conf": "own",
        "b.container.d/1.conf": "type",
        "b.container.d/2.conf": "type",
    }
    assert origins["b.container.d/1.conf"] == "container.d/1.conf"


def references(text, **dropin):
    more = {f"a.container.d/{name}.conf": body for name, body in dropin.items()}
    (source,) = sources.read("web", {"a.container": text, **more})
    found = secretrefs.of_container(source)
    assert shown(found.faults) == []
    return [reference.name for reference in found.references]


@pytest.mark.parametrize(
    ("setting", "names"),
    [
        ("Secret=a", ["a"]),
        ("Secret=a,type=env,target=X", ["a"]),
        ("Secret=source=a,type=mount,uid=1,gid=2,mode=0400", ["a"]),
        ("Secret=type=env,source=a", ["a"]),
        ("Secret=a b,type=env", ["a", "b"]),
        ('Secret="a,target=/x y"', ["a"]),
        ("Secret=a,\\\n  type=env", ["a"]),
        ("Secret=a \\\n# comment\n  b", ["a", "b"]),
        ("Secret=a\nSecret=b", ["a", "b"]),
        ("Secret=a\nSecret=\nSecret=b", ["b"]),
        ("Secret=db-%i", ["db-%i"]),
        ("PodmanArgs=--secret a,type=env --pull never", ["a"]),
        ("PodmanArgs=--secret=a --secret b", ["a", "b"]),
        ("Environment=Secret=a", []),
    ],
)
def test_a_secret_is_found_in_every_spelling(setting, names):
    assert references(f"[Container]\nImage=x\n{setting}\n") == names


def test_a_drop_in_adds_secrets_or_takes_them_away():
    text = "[Container]\nSecret=a\n"
    assert references(text, more="[Container]\nSecret=b\n") == ["a", "b"]
    assert references(text, less="[Container]\nSecret=\n") == []
    assert references(text, other="[Service]\nSecret=b\n") == ["a"]


def kube(text, **keys):
    (source,) = sources.read("web", {"k.kube": "[Kube]\nYaml=k.yaml\n"})
    return secretrefs.of_kube(source, {"k.yaml": text.encode()}, keys)


def test_secrets_of_a_kube_are_found_key_by_key():
    found = kube(
        """
spec:
  volumes:
    - name: v
      secret: {secretName: files, items: [{key: cert, path: c}]}
    - name: w
      projected: {sources: [{secret: {name: more, optional: true}}]}
  initContainers:
    - env: [{name: A, valueFrom: {secretKeyRef: {name: db, key: password, optional: true}}}]
""",
        **{"more/one": True, "more/two": False},
    )
    assert [(item.name, item.required) for item in found.references] == [
        ("files/cert", True),
        ("more/one", False),
        ("more/two", False),
        ("db/password", False),
    ]


def test_a_secret_that_the_yaml_brings_is_not_asked_for():
    text = "kind: Secret\nmetadata: {name: own}\n---\nenvFrom: [{secretRef: {name: own}}]\n"
    assert kube(text) == secretrefs.Found(())


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("db-%i", "web@1.service", "db-1"),
        ("db-%i", "web@.service", "db-%i"),
        ("db-%i", "web.service", "db-%i"),
        ("%p-%I-%j", r"a-web@x\x2dy.service", "a-web-x-y-web"),
        ("%n", "web@1.service", "web@1.service"),
        ("100%%", "web@1.service", "100%"),
    ],
)
def test_an_instances_specifiers_are_written_out(text, unit, expected):
    assert secretrefs.expand(text, unit) == expected


names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_.-]{0,10}", fullmatch=True)
options = st.lists(
    st.sampled_from(["type=env", "type=mount", "target=/x", "uid=1", "mode=0444"]), max_size=3
)


@given(st.lists(st.tuples(names, options, st.booleans()), min_size=1, max_size=4), st.booleans())
def test_every_reference_that_is_written_is_found(wanted, one_line):
    words = []
    for name, extra, by_key in wanted:
        word = ",".join([f"source={name}" if by_key else name, *extra])
        words.append(f'"{word}"' if by_key else word)
    setting = "Secret=" + " ".join(words) if one_line else "\n".join(f"Secret={w}" for w in words)
    assert references(f"[Container]\nImage=x\n{setting}\n") == [name for name, _, _ in wanted]


@given(st.text(max_size=60))
def test_any_text_of_a_secret_gives_names_or_faults(text):
    for source in sources.read("web", {"a.container": f"[Container]\nSecret={text}\n"}):
        secretrefs.of_container(source)


def told(message, text="[Container]\nImage=x\nVolume=a.volume:/a\n"):
    read = sources.read("web", {"d/a.container": text})
    found = messages.understand([message], read, {"web": Path("/store/web-1")})
    return [str(fault) for fault in (*found.faults, *found.warnings)]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('error loading "/store/web-1/d/a.container", file contains line 2: “x” which is',
         "web: d/a.container:2: file contains line 2: “x” which is"),
        ("Error loading '/store/web-1/d/a.container', ignoring: whatever",
         "web: d/a.container: whatever"),
        ("Error converting 'a.container', ignoring: Unsupported key 'Image' in group 'Container'",
         "web: d/a.container:2: unsupported key 'Image' in [Container]"),
        ('converting "a.container": requested Quadlet source a.volume was not found',
         "web: d/a.container:3: requested Quadlet source a.volume was not found"),
        ('converting "a.container": something else', "web: d/a.container:1: something else"),
        ("Warning: a.container specifies the image \"x\"",
         'web: d/a.container:1: specifies the image "x"'),
    ],
)  # fmt: skip
def test_what_any_version_of_quadlet_says_is_mapped_to_its_place(message, expected):
    assert told(message) == [expected]


@pytest.mark.parametrize(
    "message",
    ['error loading "/etc/x.container", what', 'converting "x.container": y', "anything else"],
)
def test_what_is_about_other_files_is_left_out(message):
    assert told(message) == []
