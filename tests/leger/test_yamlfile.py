"""YAML is read with lines, once-only keys and plain data."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import yamlfile
from leger.errors import ConfigError


def fails(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        yamlfile.parse(text.encode(), "f.yaml").plain()
    return str(caught.value)


def test_duplicate_key_is_named_with_its_line():
    assert fails("a: 1\nb: 2\na: 3\n") == "f.yaml:3: duplicate key 'a'"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1\n", 2), ("\ta: 1\n", 1), ("a: b: c\n", 1), ("a:\n  - x\n - y\n", 3), ("a: \x00\n", 1)],
)
def test_broken_text_names_its_line(text, line):
    assert fails(text).startswith(f"f.yaml:{line}: not valid YAML")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a: 1\nb: "\\UFFFFFFFF"\n', "f.yaml:2: not valid YAML: an escape or number is too large"),
        ('a: 1\nb: "\\U00110000"\n', "f.yaml:2: not valid YAML: an escape or number is too large"),
        (f"%YAML 1.{'1' * 5000}\n---\na", "f.yaml:1: not valid YAML: an escape or number is too"),
        ('a: 1\nb: "\\uD800"\n', r"f.yaml:2: half of a surrogate pair (\uD800 to \uDFFF) is no ch"),
        ('a: 1\n"\\uDC00": 1\n', r"f.yaml:2: half of a surrogate pair (\uD800 to \uDFFF) is no ch"),
        (f"a: !!int '{'9' * 5000}'", f"f.yaml:1: '{'9' * 60}' is not a number"),
    ],
)
def test_what_is_no_character_or_number_names_its_line(text, message):
    assert fails(text).startswith(message)


def test_what_is_not_utf8_names_its_line():
    with pytest.raises(ConfigError, match=r"f.yaml:2: not UTF-8 text"):
        yamlfile.parse(b"a: 1\nb: \xff\n", "f.yaml")


def test_aliases_cannot_blow_up():
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "too large" in fails("\n".join(lines))


def test_a_value_cannot_contain_itself():
    assert "cannot contain itself" in fails("a: &a [*a]\n")


def test_deep_nesting_is_an_error():
    assert "nested too deeply" in fails("[" * 100_000)


@pytest.mark.parametrize("text", ["!!python/object:os.system x", "a: !!python/name:os.system x"])
def test_tags_make_nothing(text):
    assert "os" not in repr(type(yamlfile.parse(text.encode(), "f").plain()))


@pytest.mark.parametrize(
    ("text", "value"),
    [("yes", "yes"), ("8080:80", "8080:80"), ("0644", "0644"), ("~", None), ("1", 1),
     ("1.5", 1.5), ("true", True), ("2024-01-01", "2024-01-01"), ("", None)],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text, value):
    assert yamlfile.parse(text.encode(), "f").plain() == value


def test_a_number_read_as_text_stays_as_written():
    assert yamlfile.parse(b"ref: 1.10", "f").mapping()["ref"].text() == "1.10"


def test_unknown_key_names_line_and_the_near_one():
    with pytest.raises(ConfigError) as caught:
        yamlfile.parse(b"a: 1\nsorce: x\n", "f").mapping(["a", "source"])
    assert (str(caught.value), caught.value.hint) == (
        "f:2: unknown key 'sorce'",
        "did you mean 'source'?",
    )


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(plain)
def test_what_is_dumped_is_read_back(value):
    assert yamlfile.parse(yamlfile.dump(value), "f").plain() == value


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_config_error(data):
    with contextlib.suppress(ConfigError):
        yamlfile.parse(data, "f").plain()


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,18})?", fullmatch=True)
plain = st.recursive(
    st.none() | st.booleans() | st.text() | numbers | numbers.map(lambda text: read(text)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def read(text):
    return yamlfile.parse(text.encode(), "f").plain()


@given(st.dictionaries(st.text(min_size=1), plain, max_size=4))
def test_what_is_written_is_read_as_it_was(value):
    assert read(yamlfile.dump(value).decode()) == value
