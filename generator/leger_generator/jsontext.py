"""JSON by the interpreter's own scanner: the package json costs half of a start (re, enum).

What the scanner does not take at once goes to json, which also knows what to say about it.
"""

try:
    from _json import encode_basestring_ascii, make_encoder, make_scanner
except ImportError:  # an interpreter without them: json does it all
    make_scanner = None  # type: ignore[assignment,misc]


class _Rules:
    """What the scanner asks of its caller; json.JSONDecoder has the same."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012


def loads(text: str) -> object:
    """The value that `text` is; ValueError or RecursionError if it is none."""
    if make_scanner is not None:
        try:
            value, end = make_scanner(_Rules())(text, 0)  # type: ignore[arg-type]
        except (StopIteration, ValueError, TypeError, AttributeError):
            end = -1
        if end == len(text):
            return value
    import json

    return json.loads(text)


def dumps(value: object) -> str:
    """`value` as JSON, in ASCII."""
    if make_scanner is not None:
        try:
            return "".join(_encoder()(value, 0))
        except (TypeError, AttributeError):
            pass  # json says what is wrong, if anything is
    import json

    return json.dumps(value)


def _encoder() -> "make_encoder":
    return make_encoder(
        None, _refuse, encode_basestring_ascii, None, ": ", ", ", False, False, False
    )


def _refuse(value: object) -> object:
    raise TypeError(type(value).__name__)
