"""What a camera's source may look like, and which kind of thing it then is. Nothing is opened here."""

import re
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from edgewright.regular_file import is_folder, is_regular

SourceKind: TypeAlias = Literal["usb", "csi", "rtsp", "http", "file", "folder"]

FORMS = "a camera's number, /dev/video0, csi:0, rtsp://, rtsps://, http:// or https:// with a host, or a file or folder that is there"
LONGEST_SOURCE = 4096  # characters, as PATH_MAX
_SCHEMES: dict[str, SourceKind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "http", "https": "http"}
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})|[0-9A-Fa-f:.]{2,45}(%[A-Za-z0-9._-]{1,15})?")


def source_kind(source: str) -> SourceKind | None:
    """What kind of source this is; nothing where it is none. A device may be plugged in later; a file or folder has to be there."""
    if not source or len(source) > LONGEST_SOURCE or not source.isprintable():
        return None
    if re.fullmatch(r"[0-9]{1,3}|/dev/[A-Za-z0-9._:/-]{1,200}", source, re.ASCII) and "/.." not in source:
        return "usb"
    if re.fullmatch(r"csi:[0-9]{1,2}", source, re.ASCII):
        return "csi"
    if "://" in source:
        return _SCHEMES.get(urlsplit(source).scheme.lower()) if is_url(source, *_SCHEMES) else None
    if is_folder(Path(source)):
        return "folder"
    return "file" if is_regular(Path(source)) else None


def is_url(text: str, *schemes: str) -> bool:
    """Whether it is an absolute URL of one of these schemes, with a host, a port that can be, and no blanks."""
    if len(text) > LONGEST_SOURCE or not text.isprintable() or any(character.isspace() for character in text):
        return False
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError:
        return False
    return parts.scheme.lower() in schemes and host is not None and _HOST.fullmatch(host) is not None and port != 0


def is_host(text: str) -> bool:
    """Whether it is the name or address of a machine."""
    return _HOST.fullmatch(text) is not None
