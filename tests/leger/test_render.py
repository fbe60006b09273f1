"""Templates see values and nothing else, and say where they fail."""

import mmap

import pytest
from leger import render
from leger.faults import FaultsError
from leger.tree import File


def rendered(files, **values):
    made = render.render(
        "web", {path: File.of(text.encode()) for path, text in files.items()}, values
    )
    return {path: file.read().decode() for path, file in made.items()}


def fault(files, **values):
    with pytest.raises(FaultsError) as caught:
        rendered(files, **values)
    return [str(item) for item in caught.value.faults]


def test_only_templates_are_rendered_and_keep_their_last_newline():
    found = rendered({"a.j2": "x={{ port }}\n", "b": "{{ port }}\n"}, port=1)
    assert found == {"a": "x=1\n", "b": "{{ port }}\n"}


def test_a_mappings_member_comes_before_its_method():
    assert rendered({"a.j2": "{{ values.items }}"}, values={"items": 3}) == {"a": "3"}


def test_other_files_of_the_tree_can_be_included():
    files = {"a.j2": "{% include 'parts/b.j2' %}", "parts/b.j2": "{{ x }}"}
    assert rendered(files, x=1)["a"] == "1"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.j2": "1\n{{ x.y }}\n"}, "web: a.j2:2: cannot be rendered: 'x' is undefined"),
        ({"a.j2": "\n{% for %}"}, "web: a.j2:2: not a valid template: "),
        ({"a.j2": "{% include '/etc/passwd' %}"}, "web: a.j2:1: cannot be rendered: "),
        ({"a.j2": "{% include '../a' %}"}, "web: a.j2:1: cannot be rendered: "),
        (
            {"a.j2": "{% include 'b.j2' %}", "b.j2": "\n\n{{ y }}"},
            "web: b.j2:3: cannot be rendered: 'y' is undefined",
        ),
        ({"a.j2": "{{ ''.__class__.__mro__ }}"}, "web: a.j2:1: cannot be rendered: access to"),
        ({"a.j2": "{{ 1 / 0 }}"}, "web: a.j2:1: cannot be rendered: ZeroDivisionError"),
        ({"a.j2": "x", "a": "y"}, "web: a.j2: both a.j2 and a are there"),
        ({"a.j2": "{{ [].append(1) }}"}, "web: a.j2:1: cannot be rendered: "),
        ({"a.j2": r"{{ '\ud800' }}"}, "web: a.j2: cannot be rendered: UnicodeEncodeError"),
        ({"a.j2": r"{% include '\ud800' %}"}, r"web: a.j2:1: cannot be rendered: TemplateNotF"),
        ({"a.j2": "{{ 'x' * 10**10 }}"}, "web: a.j2:1: cannot be rendered: MemoryError"),
    ],
)
def test_what_fails_is_named(files, expected):
    found = fault(files)[0]
    assert found.startswith(expected)
    assert found.encode()


def test_what_is_no_text_is_named():
    with pytest.raises(FaultsError, match=r"a.j2:2: a template must be UTF-8 text"):
        render.render("web", {"a.j2": File.of(b"x\n\xff")}, {})


def test_a_template_without_an_end_is_left(monkeypatch):
    monkeypatch.setattr(render, "_SECONDS", 1)
    loops = "".join(f"{{% for a{n} in range(99999) %}}" for n in range(3))
    endless = loops + "{% endfor %}" * 3
    assert fault({"a.j2": endless}) == ["web: the templates take too long or too much memory"]


def test_what_the_process_has_reserved_does_not_count():
    with mmap.mmap(-1, 2 * render._MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS):
        assert rendered({"a.j2": "{{ 'x' * 20000000 }}"}) == {"a": "x" * 20000000}


def test_a_template_that_eats_memory_is_stopped():
    files = {"a.j2": "{{ 'x' * 100000000000 }}"}
    assert "MemoryError" in fault(files)[0] or "too much memory" in fault(files)[0]


def test_the_mode_stays():
    made = render.render("web", {"run.j2": File.of(b"#!", 0o755)}, {})
    assert made["run"].mode == 0o755
