"""Files between the host and a machine, as bytes and as tar streams."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

RECEIVE = """
mkdir -p "$(dirname "$1")"
cat >"$1.new"
chmod "$2" "$1.new"
mv "$1.new" "$1"
"""
BUSYBOX_IMAGE = """
folder=$(mktemp -d)
mkdir "$folder/bin" "$folder/etc" "$folder/tmp" "$folder/run"
cp /usr/bin/busybox "$folder/bin/busybox"
for applet in $(/usr/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "$folder/bin/$applet"
done
printf 'root:x:0:0:root:/:/bin/sh\\n' >"$folder/etc/passwd"
tar -C "$folder" -c . >"$folder.tar"
rm -r "$folder"
trap 'rm -f "$folder.tar"' EXIT
podman import --quiet --change 'CMD ["sleep", "infinity"]' "$folder.tar" """.strip()


def content_of(content: bytes | str | Path) -> bytes:
    """What is to be written: bytes, text in UTF-8, or a file of the host."""
    if isinstance(content, Path):
        return content.read_bytes()
    return content.encode() if isinstance(content, str) else content


def packed(folder: Path) -> bytes:
    """A folder's content as a tar stream; modes and links are kept, owners are root."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for entry in sorted(folder.iterdir()):
            archive.add(entry, entry.name, filter=_of_root)
    return stream.getvalue()


def _of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def unpack(stream: bytes, folder: Path) -> None:
    """Write out a tar stream, no further than `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(stream)) as archive:
        archive.extractall(folder, filter="data")
