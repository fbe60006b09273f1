"""The values of Kubernetes Secrets in a YAML file are not shown to anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SECRET = re.compile(r"kind[\"']?\s*:\s*[\"']?Secret\b")
_KEY = r"[\"']?(?:data|stringData|annotations)[\"']?\s*:"
_FIELD = re.compile(rf"(\s*(?:- )?){_KEY}")
_FLOW = re.compile(rf"[{{,]\s*{_KEY}")
_ENTRY = re.compile(r"(\s*[^\s:#][^:]*:)(?:\s|$)")
_MARK = "(hidden)"


def hidden(text: str) -> str:
    """`text` without the values below data:, stringData: and annotations: of its Secrets.

    `kubectl apply` keeps a copy of all of it in an annotation. A document that is not written
    line by line is hidden as a whole.
    """
    if _SECRET.search(text) is None:
        return text
    parts = re.split(r"(?m)^(---.*\n?)", text)
    return "".join(part if part.startswith("---") else _document(part) for part in parts)


def _document(text: str) -> str:
    if _SECRET.search(text) is None:
        return text
    if re.search(r"^\s*[{\[]", text) or re.search(r"[&*]\w", text) or _FLOW.search(text):
        return f"{_MARK}\n"
    return "\n".join(_lines(text.split("\n")))


def _lines(lines: list[str]) -> Iterator[str]:
    inside: int | None = None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and _ends(line, indent, inside):
            inside = None
        if inside is None:
            found = _FIELD.match(line)
            if found:
                inside = len(found[1])
            rest = line[found.end() :].strip() if found else ""
            yield f"{found[0]} {_MARK}" if found and rest else line
        else:
            entry = _ENTRY.match(line)
            yield f"{entry[1]} {_MARK}" if entry else _MARK if line.strip() else line


def _ends(line: str, indent: int, inside: int) -> bool:
    """Whether a line is no longer below a field at `inside`; a list may stand just as far left."""
    return indent < inside or (indent == inside and not line.lstrip().startswith("-"))
