"""Every error edgewright raises on purpose, split by whose move is next.

    EdgewrightError
    ├── InputError            the input is wrong: the user changes it               exit 2, HTTP 400
    │   ├── ModelError        the model file
    │   ├── DataError         the images, labels or data set
    │   └── ArtifactError     an artifact folder
    ├── HostError             this machine cannot: install, free or permit something exit 3, HTTP 503
    │   ├── EngineError       an engine is missing, or failed on a sound model
    │   └── DiskError         a file cannot be written: the disk is full, read-only, closed to us
    └── Interrupted           the user stopped the work; what is done is kept       exit 130, HTTP 499

Each carries what was got, what was expected and the way out, so that a message can be acted on without reading the source.
"""


class EdgewrightError(Exception):
    """The root: one sentence, then got / expected / fix where they are known."""

    exit_code: int = 3
    http_status: int = 500

    def __init__(self, what: str, *, got: str | None = None, expected: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.got = got
        self.expected = expected
        self.fix = fix

    def __str__(self) -> str:
        parts = [self.what]
        if self.got is not None:
            parts.append(f"got {self.got}")
        if self.expected is not None:
            parts.append(f"expected {self.expected}")
        if self.fix is not None:
            parts.append(self.fix)
        return "; ".join(parts)


class InputError(EdgewrightError):
    """The input is wrong; the user's move."""

    exit_code = 2
    http_status = 400


class ModelError(InputError):
    """The model file is not one we can or should run."""


class DataError(InputError):
    """The images, labels or data set cannot be used."""


class ArtifactError(InputError):
    """The artifact folder is incomplete, changed or of another schema."""


class HostError(EdgewrightError):
    """This machine cannot: an engine, a permission, a sensor or disk space is missing."""

    exit_code = 3
    http_status = 503


class EngineError(HostError):
    """An engine is not installed, or failed on a model that is sound."""


class DiskError(HostError):
    """A file or folder cannot be written: the disk is full, read-only, broken, or closed to us."""


class Interrupted(EdgewrightError):  # noqa: N818 - the user's wish is not an error of ours
    """The user stopped the work."""

    exit_code = 130
    http_status = 499
