"""Requests that schemathesis makes from a server's OpenAPI page: such as fit it, and such as do not. For the Python of its environment.

schemathesis_script.py URL REQUESTS SEED        statuses as a line of JSON; another exit status than 0 where one may not be
"""

import json
import sys
from collections import Counter
from contextlib import suppress
from itertools import product

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

MODEL = {"model": "tiny", "version": "1"}
REPOSITORY = "/v2/repository/"  # the models that there are stay loaded: only others are loaded and unloaded
PATIENCE_S = 20
AGAIN = {429, 503}


def main():
    """Ask, and count."""
    url, requests, first_seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    variants = list(product(GenerationMode, (False, True)))
    statuses, wrong = Counter(), []
    each = -(-requests // (len(operations) * len(variants)))
    while statuses.total() < requests:
        for operation, (mode, is_known) in product(operations, variants):
            ask(operation, mode, each, first_seed, statuses, wrong, is_known=is_known)
        first_seed += 1
    print(json.dumps({"operations": len(operations), "statuses": {str(status): count for status, count in sorted(statuses.items())}}))
    if wrong:
        sys.exit("\n".join(wrong[:20]))


def ask(operation, mode, count, seed_, statuses, wrong, *, is_known):
    """So many requests of one operation, as far as there are so many different ones."""
    given_path = MODEL if is_known and not operation.path.startswith(REPOSITORY) else {}
    path = {name: value for name, value in given_path.items() if f"{{{name}}}" in operation.path}
    strategy = operation.as_strategy(generation_mode=mode, path_parameters=path or None)

    # Nothing is shrunk: a wrong answer is told as it came.
    @seed(seed_)
    @settings(max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def one(case):
        answer = case.call(timeout=PATIENCE_S)
        status = answer.status_code
        statuses[status] += 1
        headers = {name.lower() for name in answer.headers}
        if status >= 500 and status not in AGAIN:
            wrong.append(f"{status} from {case.as_curl_command()[:1000]}")
        elif status in AGAIN and "retry-after" not in headers:
            wrong.append(f"{status} without Retry-After from {case.as_curl_command()[:1000]}")
        elif status >= 400 and is_said_in_json(case, operation) and set(json.loads(answer.content)) != {"error"}:
            wrong.append(f"{status} without a sentence from {case.as_curl_command()[:1000]}")

    with suppress(Unsatisfiable):  # nothing can be wrong with a request that has no parameters and no body
        one()


def is_said_in_json(case, operation):
    """A sentence for programs; /login has one for people."""
    return case.method != "HEAD" and "ready" not in operation.path and operation.path != "/login"


if __name__ == "__main__":
    main()
