"""A real server with real models, for tests: `served(models)` gives it once it is ready, and ends it."""

import json
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import numpy as np

from edgewright.clock import SystemClock
from edgewright.serve.binary import to_bytes
from edgewright.serve.dataplane import DataPlane
from edgewright.serve.datatypes import datatype_of
from edgewright.serve.http import serve_http
from edgewright.serve.http_settings import HttpSettings
from edgewright.serve.model_host import ModelHost
from edgewright.serve.model_settings import HostSettings

READY_S = 200  # on a machine with nothing to spare


@contextmanager
def served(models=None, *, folder=None, at_start=None, host=None, wait=True, said=None, plane=None, **http):
    """`host`: more of `HostSettings`; `http`: of `HttpSettings`; `said`: a list that takes what the server says."""
    clock = SystemClock()
    settings = HostSettings(models=models or {}, folder=folder, at_start=at_start, threads=1, **(host or {}))
    dataplane = DataPlane(ModelHost(settings, clock=clock), clock=clock, **(plane or {}))
    # The port is chosen by the system; no file, no name, nothing that another test could meet.
    with serve_http(dataplane, HttpSettings(**{"port": 0, **http}), say=(said if said is not None else []).append) as server:
        if wait:
            wait_until(dataplane.is_ready)
        yield server


def wait_until(is_so, seconds=READY_S):
    ends = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends, "it never came to be"
        time.sleep(0.05)


def ask(server, path, body=None, headers=None, *, method=None, context=None):
    """Status, headers, body."""
    request = urllib.request.Request(server.url + path, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def asked(server, path, body=None, headers=None, **more):
    """Status, and the JSON of the body."""
    status, _, content = ask(server, path, body, headers, **more)
    return status, json.loads(content)


def request(outputs=None, parameters=None, **tensors):
    """A body with bytes, and its headers."""
    blocks = {name: bytes(to_bytes(array)) for name, array in tensors.items()}
    inputs = [
        {"name": name, "shape": array.shape, "datatype": datatype_of(array).name, "parameters": {"binary_data_size": len(blocks[name])}}
        for name, array in tensors.items()
    ]
    words = {"inputs": inputs, "parameters": {"binary_data_output": True, **(parameters or {})}}
    header = json.dumps(words | ({} if outputs is None else {"outputs": outputs})).encode()
    return header + b"".join(blocks.values()), {"Inference-Header-Content-Length": str(len(header))}


def infer(server, model, *, parameters=None, **tensors):
    body, headers = request(parameters=parameters, **tensors)
    status, headers, content = ask(server, f"/v2/models/{model}/infer", body, headers)
    return status, headers, content


def floats(*values):
    return np.array(values, np.float32)


def worker_of(server, name):
    return server._server.dataplane.host.workers[name]
