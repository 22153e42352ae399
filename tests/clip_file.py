"""A clip ready to be sent: encoded pictures in one file, each after four bytes that say its length. Standard library only."""

from pathlib import Path


def key_every(fps: int) -> int:
    """After how many pictures there is one that needs no other: half a second, so that who comes late need not wait for long."""
    return fps // 2


def read_clip(path: Path) -> list[bytes]:
    whole, pictures, at = path.read_bytes(), [], 0
    while at < len(whole):
        size = int.from_bytes(whole[at : at + 4], "big")
        pictures.append(whole[at + 4 : at + 4 + size])
        at += 4 + size
    return pictures


def as_entry(picture: bytes) -> bytes:
    return len(picture).to_bytes(4, "big") + picture
