"""Unit files are read with lines, and written back byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger.unitfile import UnitFile, words

TEXT = """# comment
[Container]
Image=a
Exec=one \\
# inside
  two \\
  three

; other
Secret = b
Secret=
Secret=c
[Service]
odd line
"""


def test_settings_have_section_value_and_lines():
    found = [
        (item.section, item.key, item.value, item.line, item.end)
        for item in UnitFile.parse(TEXT).settings
    ]
    assert found == [
        ("Container", "Image", "a", 3, 3),
        ("Container", "Exec", "one two three", 4, 7),
        ("Container", "Secret", "b", 10, 10),
        ("Container", "Secret", "", 11, 11),
        ("Container", "Secret", "c", 12, 12),
    ]


def test_an_empty_value_drops_those_before():
    assert UnitFile.parse(TEXT).values("Container", "Secret") == ["c"]


def test_what_is_no_setting_is_named():
    assert UnitFile.parse(TEXT).odd == (14,)


@pytest.mark.parametrize("end", ["\n\nB=1\n", "", "\n   \n", "\n# only a comment"])
def test_a_continuation_that_leads_nowhere_is_named(end):
    assert UnitFile.parse(f"[S]\nA=x \\{end}").dangling == (2,)


def test_a_changed_setting_leaves_the_other_lines_where_they_are():
    file = UnitFile.parse(TEXT)
    setting = file.settings[1]
    changed = UnitFile.parse(file.replaced({setting: "four"}))
    assert changed.settings[1].value == "four"
    assert [item.line for item in changed.settings] == [item.line for item in file.settings]
    assert "# inside" in changed.lines


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a b", ["a", "b"]),
        ('"a b" c', ["a b", "c"]),
        ("a'b c'd", ["ab cd"]),
        (r"a\x20b", ["a b"]),
        (r"a\sb \"c", ["a b", '"c']),
        ('"open', ["open"]),
        ('""', [""]),
        ("", []),
        (r"\101 \u00e9", ["A", "é"]),
        (r"\ud800 \udfff \U00110000", ["\ufffd", "\ufffd", "\ufffd"]),
    ],
)
def test_values_are_split_as_systemd_does(value, expected):
    assert words(value) == expected


lines = st.lists(
    st.sampled_from(
        ["[Container]", "A=1", "A=\\", "b \\", "", "# c", ";", "  x=2  ", "=3", "\\", "[", "Ä=ö\r"]
    ),
    max_size=12,
)


@given(lines.map("\n".join) | st.text(max_size=60))
def test_any_text_is_read_and_written_back(text):
    file = UnitFile.parse(text)
    assert file.replaced({}) == text
    for item in file.settings:
        assert 1 <= item.line <= item.end <= len(file.lines)


@given(lines.map("\n".join))
def test_every_setting_can_be_replaced_alone(text):
    file = UnitFile.parse(text)
    for number, item in enumerate(file.settings):
        again = UnitFile.parse(file.replaced({item: "new"})).settings
        assert again[number].value == "new"
        assert [x.value for x in again[:number]] == [x.value for x in file.settings[:number]]


@given(st.text(max_size=40))
def test_any_value_can_be_split(text):
    assert all(isinstance(word, str) for word in words(text))
