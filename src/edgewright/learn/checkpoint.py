"""Where a training stands, in one file that is replaced in one step: tensors as safetensors, and a few numbers beside them.

No pickle is written or read: a checkpoint may come from anywhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.regular_file import read_regular
from edgewright.whole_file import write_whole

MOST_BYTES = 2 << 30
FACTS = "facts"
AGAIN = "start again without --resume"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and facts that JSON can hold."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Whole or not at all.

        Raises:
            DiskError: it cannot be written; what was there before still is.
        """
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        write_whole(path, save(held, {FACTS: json.dumps(dict(self.facts))}))

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """What `write` left.

        Raises:
            InputError: it is no checkpoint of ours.
        """
        try:
            data = read_regular(path, MOST_BYTES)
            tensors = load(data)  # looks at the header before we do, and says in a few words what is wrong with it
            size = int.from_bytes(data[:8], "little")
            header = json.loads(data[8 : 8 + size])
            return cls(tensors, dict(json.loads(header["__metadata__"][FACTS])))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, RecursionError) as error:
            raise InputError(f"{printable(str(path), 300)} is no checkpoint", got=printable(str(error), 160), fix=AGAIN) from error

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin so, without that."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}
