"""A folder of boards in the layout that Ultralytics reads: images/, labels/ and a data.yaml."""

from pathlib import Path
from typing import Final, Literal

from edgewright.data.circuit_boards.defects import CLASS_NAMES
from edgewright.data.circuit_boards.parameters import Look, Split
from edgewright.data.circuit_boards.picture import BoardPicture, draw_board
from edgewright.data.images import encode_jpeg
from edgewright.progress import Progress, unseen
from edgewright.whole_file import make_folder, write_whole

_SEEDS_PER_SET: Final = 1_000_000


def write_dataset(
    folder: Path,
    *,
    train: int,
    val: int,
    seed: int = 0,
    look: Literal["camera", "binary", "mixed"] = "camera",
    size_px: int = 640,
    progress: Progress = unseen,
) -> Path:
    """Write `train` boards and `val` held-out boards; the same arguments write the same bytes.

    Returns:
        The path of data.yaml.
    """
    total, done = train + val, 0
    parts: tuple[tuple[Literal["train", "val"], Split, int], ...] = (("train", "train", train), ("val", "held_out", val))
    for name, split, count in parts:
        for kind in ("images", "labels"):
            make_folder(folder / kind / name)
        for index in range(count):
            picture = draw_board(seed * _SEEDS_PER_SET + index, split=split, look=_look_of(index, look), size_px=size_px)
            _write_one(folder, name, f"board_{index:06d}", picture)
            done += 1
            progress(done, total)
    return _write_yaml(folder)


def _look_of(index: int, look: Literal["camera", "binary", "mixed"]) -> Look:
    if look == "mixed":
        return "camera" if index % 2 == 0 else "binary"
    return look


def _write_one(folder: Path, name: str, stem: str, picture: BoardPicture) -> None:
    # Not cv2.imwrite: on a full disk that says nothing.
    write_whole(folder / "images" / name / f"{stem}.jpg", encode_jpeg(picture.image_rgb, quality=95), sync=False)
    write_whole(folder / "labels" / name / f"{stem}.txt", label_text(picture).encode(), sync=False)


def label_text(picture: BoardPicture) -> str:
    """One line a defect: class, centre and size as shares of the picture."""
    height, width = picture.image_rgb.shape[:2]
    lines = []
    for class_id, (x0, y0, x1, y1) in zip(picture.class_ids, picture.boxes_xyxy, strict=True):
        centre_and_size = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height)
        lines.append(f"{class_id} {' '.join(f'{value:.6f}' for value in centre_and_size)}\n")
    return "".join(lines)


def _write_yaml(folder: Path) -> Path:
    path = folder / "data.yaml"
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASS_NAMES))
    text = f"path: .\ntrain: images/train\nval: images/val\nnc: {len(CLASS_NAMES)}\nnames:\n{names}"
    write_whole(path, text.encode(), sync=False)
    return path
