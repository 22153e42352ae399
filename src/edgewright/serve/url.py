"""Where a server listens, as people write it."""

from edgewright.run.front_settings import FrontSettings


def url_of(settings: FrontSettings, port: int | None) -> str:
    """`http://127.0.0.1:8000`; `port` is the one that was taken."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'http' if settings.certificate is None else 'https'}://{host}:{port}"
