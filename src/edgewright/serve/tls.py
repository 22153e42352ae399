"""TLS for the server: the certificate and its key, in one context."""

import ssl

from edgewright.errors import InputError
from edgewright.printable import printable
from edgewright.serve.http_settings import Tls


def tls_context(tls: Tls) -> ssl.SSLContext:
    """TLS 1.2 or newer.

    Raises:
        InputError: the certificate or its key cannot be read.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        got = (getattr(error, "strerror", None) or str(error)).lower()
        fix = "give a PEM file with the certificate chain, and one with its key, which no password protects"
        raise InputError("the certificate of the server cannot be used", got=printable(got, 200), fix=fix) from error
    return context


def _no_password() -> str:
    """OpenSSL would ask for one at the terminal, and wait."""
    return ""
