"""The drop-in that Leger adds to a unit with secrets: the hook first, then the unit's own lines."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOOK = "/usr/libexec/leger/secrets-hook"
NAME = "00-leger.conf"
_UNIT_SPECIFIERS = "iIjJpPnN%"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:@%+,~")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def path_of(unit: str) -> str:
    """Where the drop-in of `unit` lies below the generator's folder."""
    return f"{unit}.d/{NAME}"


def unit_of(path: str) -> str:
    """The unit whose drop-in lies at `path`; "" if `path` is not one that `path_of` yields."""
    return path.removesuffix(f".d/{NAME}") if path.endswith(f".d/{NAME}") else ""


def hook_dropin(unit_text: str, hook: "Sequence[str]", scope: str) -> str:
    """Compose the text of UNIT.service.d/00-leger.conf for the rendered `unit_text`.

    `hook` holds the arguments of secrets-hook without the program (in the scope "user" --user is
    put before them). ExecStartPre= is reset, because a drop-in's lines come after the unit's
    own and the hook must run first; then the unit's own lines follow as they were. Where User=
    makes the hook another user's, it is root ("+") that notes before it what there is to get.
    """
    sockets = "podman.socket" if scope == "user" else "legerd.socket podman.socket"
    arguments = ["--user"] if scope == "user" and "--user" not in hook else []
    command = " ".join([HOOK, *map(quote, [*arguments, *hook])])
    noting = " ".join([HOOK, "--note", *map(quote, hook)])
    is_anothers = scope == "system" and user_of(unit_text)
    lines = [
        "# Added by Leger: the secrets of this unit, before anything else of it runs.",
        "[Unit]",
        f"Wants={sockets}",
        f"After={sockets}",
        "",
        "[Service]",
        "ExecStartPre=",
        *([f"ExecStartPre=-:+{noting}"] if is_anothers else []),
        f"ExecStartPre=:{command}",
        *(f"ExecStartPre={value}" for value in own_lines(unit_text)),
    ]
    return "\n".join(lines) + "\n"


def user_of(unit_text: str) -> str:
    """Whom User= in [Service] names, specifiers as they stand; "" if that is root."""
    user = ""
    for key, value in _service_settings(unit_text):
        if key == "User":
            user = value
    return "" if user in ("root", "0") else user


def quote(argument: str) -> str:
    """Quote `argument` for an Exec line that begins with ":" (no variables, but specifiers).

    The specifiers that name the unit (%i and the like) stay, so that Secret=db-%i means the same
    here as in the unit; every other % is doubled.
    """
    text = _specifiers(argument)
    if text and _PLAIN.issuperset(text):
        return text
    return '"' + "".join(_ESCAPES.get(letter, letter) for letter in text) + '"'


def own_lines(unit_text: str) -> list[str]:
    """The values of the ExecStartPre= lines of [Service] that count, continuations included."""
    values: list[str] = []
    for key, value in _service_settings(unit_text):
        if key != "ExecStartPre":
            continue
        if value:
            values.append(value)
        else:
            values.clear()
    return values


def _specifiers(argument: str) -> str:
    parts = []
    position = 0
    while position < len(argument):
        letter, following = argument[position], argument[position + 1 : position + 2]
        if letter != "%":
            parts.append(letter)
        elif following and following in _UNIT_SPECIFIERS:
            parts.append(letter + following)
            position += 1
        else:
            parts.append("%%")
        position += 1
    return "".join(parts)


def _service_settings(unit_text: str) -> "Iterator[tuple[str, str]]":
    section = ""
    for line in _logical_lines(unit_text):
        if line.startswith("["):
            section = line.strip()
        elif section == "[Service]" and "=" in line:
            key, _, value = line.partition("=")
            yield key.strip(), value.strip()


def _logical_lines(text: str) -> "Iterator[str]":
    """The lines of a unit, each with its continuations as they stand; comments are dropped."""
    pending = ""
    for line in text.split("\n"):
        if line.lstrip().startswith(("#", ";")):
            continue
        pending = f"{pending}\n{line}" if pending else line.lstrip()
        if not line.endswith("\\"):
            yield pending
            pending = ""
    if pending:
        yield pending.rstrip("\\")
