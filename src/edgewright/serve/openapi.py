"""What is here, told to tools (OpenAPI 3.1) and, in a few lines of HTML, to people."""

import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from edgewright.serve.datatypes import DATATYPES
from edgewright.version import __version__

if TYPE_CHECKING:
    from edgewright.serve.page import Page

HTML_HEADERS: Final = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
)
STATUSES: Final = {
    "200": "Done",
    "400": "The request is wrong",
    "401": "The token is missing or wrong",
    "404": "No such model or page",
    "413": "The request is too large",
    "429": "Too often, or too many at once; see Retry-After",
    "503": "Not now; see Retry-After",
}
_ERROR: Final = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}


def document(pages: Sequence["Page"]) -> dict[str, Any]:
    """The OpenAPI document."""
    paths: dict[str, Any] = {}
    for page in pages:
        paths.setdefault(page.path, {})[page.method.lower()] = _operation(page)
    return {
        "openapi": "3.1.0",
        "info": {"title": "edgewright", "version": __version__, "description": "The Open Inference Protocol, and pictures in, boxes out."},
        "paths": paths,
        "components": {"schemas": SCHEMAS, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def home_page(pages: Sequence["Page"], models: Sequence[dict[str, str]], *, ready: bool) -> str:
    """A page that says what is loaded and where to ask."""
    rows = "".join(
        f"<tr><td>{escape(model['name'])}</td><td>{escape(model['state'].lower())}</td><td>{escape(model['reason'])}</td></tr>"
        for model in models
    )
    links = "".join(f"<li><code>{page.method} {escape(page.path)}</code> {escape(page.summary)}</li>" for page in pages)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>edgewright</title><style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;"
        "margin:2rem auto;padding:0 1rem}td{padding:.1rem 1rem .1rem 0}code{font-size:.9em}</style>"
        f"<h1>edgewright {escape(__version__)}</h1><p>{'Ready.' if ready else 'Not ready yet.'}</p>"
        f"<h2>Models</h2><table>{rows or '<tr><td>none</td></tr>'}</table><h2>Pages</h2><ul>{links}</ul></html>"
    )


def _operation(page: "Page") -> dict[str, Any]:
    codes = [code for code in STATUSES if code != "401" or not page.is_open]
    found: dict[str, Any] = {
        "summary": page.summary,
        "responses": {code: {"description": STATUSES[code], **({} if code == "200" else {"content": _ERROR})} for code in codes},
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"\{(\w+)\}", page.path)
    ]
    if page.path == "/detect":
        picture = {"schema": {"type": "string", "format": "binary"}}
        found["requestBody"] = {"required": True, "content": {"image/jpeg": picture, "image/png": picture}}
        parameters += [
            {"name": "model", "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "score", "in": "query", "required": False, "schema": {"type": "number", "minimum": 0, "maximum": 1}},
        ]
    elif page.path.endswith("/infer"):
        parameters.append({"name": "Inference-Header-Content-Length", "in": "header", "required": False, "schema": {"type": "integer"}})
        found["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    elif page.method == "POST":
        found["requestBody"] = {"required": False, "content": {"application/json": {"schema": {"type": "object"}}}}
    return found | ({"parameters": parameters} if parameters else {})


_PARAMETERS: Final = {"type": "object"}
_SHAPE: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 16}
SCHEMAS: Final[dict[str, Any]] = {
    "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": _PARAMETERS,
            "inputs": {"type": "array", "minItems": 1, "maxItems": 64, "items": {"$ref": "#/components/schemas/Input"}},
            "outputs": {"type": "array", "maxItems": 64, "items": {"$ref": "#/components/schemas/Output"}},
        },
    },
    "Input": {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "shape": _SHAPE,
            "datatype": {"enum": list(DATATYPES)},
            "parameters": _PARAMETERS,
            "data": {"type": "array"},
        },
    },
    "Output": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "minLength": 1}, "parameters": _PARAMETERS},
    },
}
