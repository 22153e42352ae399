"""Why a request is not answered, each with the HTTP status that says whose move is next.

    InputError                400
    ├── UnauthorizedError     401   no token, or another one
    ├── ForbiddenError        403   a page of another site asks, or what was asked for is switched off
    ├── NotFoundError         404   no such model, version or page
    ├── NotAllowedError       405   the page is there, and knows another verb
    ├── TooSlowError          408   its bytes did not come in time
    └── TooLargeError         413   more bytes than are taken
    HostError                 503
    ├── TooManyError          429   it asks too often, or too many wait already: again in a moment
    └── NotNowError           503   loading, draining, replaced, out of time: again in a moment

Each of these two says after how many seconds.
"""

from edgewright.errors import HostError, InputError


class UnauthorizedError(InputError):
    """The token is missing or wrong."""

    http_status = 401


class ForbiddenError(InputError):
    """This caller may not have that."""

    http_status = 403


class NotFoundError(InputError):
    """There is no such thing here."""

    http_status = 404


class NotAllowedError(InputError):
    """There is such a page, but not for this verb."""

    http_status = 405

    def __init__(self, what: str, allowed: str) -> None:
        super().__init__(what, expected=allowed)
        self.allowed = allowed


class TooSlowError(InputError):
    """It did not come in time."""

    http_status = 408


class TooLargeError(InputError):
    """It is larger than anything that is taken."""

    http_status = 413


class TooManyError(HostError):
    """Too often, or too many at once."""

    http_status = 429

    def __init__(self, what: str, *, retry_after_s: float = 1.0, got: str | None = None, expected: str | None = None) -> None:
        super().__init__(what, got=got, expected=expected)
        self.retry_after_s = retry_after_s


class NotNowError(HostError):
    """It could be had another time."""

    http_status = 503

    def __init__(self, what: str, *, retry_after_s: float = 1.0, got: str | None = None, expected: str | None = None) -> None:
        super().__init__(what, got=got, expected=expected)
        self.retry_after_s = retry_after_s
