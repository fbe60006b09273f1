"""From what is wanted, held and answered to what is to be written; touches nothing."""

from __future__ import annotations

import json
import os

from leger_hook.outcomes import Failure
from leger_hook.secrets import LABELS, SOURCE, TAG, VERSION, Answer, Change, Stored, base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from leger_hook.options import Options, Part

MAX_VALUE = 511_999


def refuse_foreign(labels: Mapping[str, Mapping[str, str]]) -> None:
    """Failure if a Podman secret of a wanted name is not one that Leger made."""
    foreign = [name for name, given in labels.items() if SOURCE not in given]
    if foreign:
        raise Failure(
            *(
                f"secret {name}: Podman has one of this name that Leger did not make;"
                f" run: podman secret rm {name}"
                for name in foreign
            )
        )


def decide(
    options: Options, stored: Mapping[str, Stored], answers: Mapping[Part, Answer]
) -> list[Change]:
    """What is to be written; Failure with a line for each part that cannot be had."""
    faults = [line for part in options.parts if (line := fault(part, answers[part]))]
    if faults:
        raise Failure(*faults)
    changes = []
    for secret, parts in options.secrets.items():
        keys = set(stored[secret].values) if secret in stored else set()
        if keys != {part.key for part in parts} or not all(answers[part].kept for part in parts):
            changes.append(_change(secret, {part.key: answers[part] for part in parts}))
    return changes


def fault(part: Part, answer: Answer) -> str:
    """The line that says why legerd's answer is of no use; "" if it is."""
    if answer.kept:
        size = 1
    elif answer.status == 200:
        size = len(answer.value)
    elif answer.status == 403:
        return (
            f"secret {part.secret}: legerd does not let uid {os.getuid()} get {part.name};"
            " allow it in /etc/leger/policy.yaml, then run: systemctl reload legerd"
        )
    elif answer.status == 404 and part.version:
        return (
            f"secret {part.secret}: legerd has no version {part.version} of {part.name};"
            f" run: leger secrets info {part.name}"
        )
    else:
        return (
            f"secret {part.secret}: legerd has no {part.name}; run: leger secrets set {part.name} -"
        )
    if 1 <= size <= MAX_VALUE:
        return ""
    what = f"has {size} bytes, Podman takes at most {MAX_VALUE}" if size else "is empty"
    return (
        f"secret {part.secret}: the value of {part.name} {what};"
        f" run: leger secrets set {part.name} @FILE"
    )


def _change(secret: str, answers: Mapping[str, Answer]) -> Change:
    """What Podman is to hold: the value, or for a .kube a whole Kubernetes Secret (in JSON)."""
    if "" in answers:
        answer = answers[""]
        texts = (answer.name, str(answer.version), answer.tag)
        return Change(secret, answer.value, dict(zip(LABELS, texts, strict=True)))
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret},
        "data": {key: base64(answer.value) for key, answer in answers.items()},
    }
    labels = {
        SOURCE: json.dumps({key: answer.name for key, answer in answers.items()}),
        VERSION: json.dumps({key: str(answer.version) for key, answer in answers.items()}),
        TAG: json.dumps({key: answer.tag for key, answer in answers.items()}),
    }
    data = json.dumps(document).encode()
    if len(data) > MAX_VALUE:
        raise Failure(
            f"secret {secret}: its keys make {len(data)} bytes together, Podman takes at most"
            f" {MAX_VALUE}; split it"
        )
    return Change(secret, data, labels)
