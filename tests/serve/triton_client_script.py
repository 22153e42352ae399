"""What an ordinary user of `tritonclient[http]` does, in that package's own environment.

    python triton_client_script.py HOST:PORT MODEL OTHER

Every line it writes is the name of a call that went as it should; it ends with the first that does not.
"""

import sys
from collections.abc import Callable

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

SHAPE = [1, 3, 64, 64]


def main() -> None:  # noqa: PLR0915 - one call after the other
    address, model, other = sys.argv[1:]
    client = triton.InferenceServerClient(url=address)
    picture = np.random.default_rng(0).random(SHAPE, np.float32)

    def check(name: str, truth: object) -> None:
        if not truth:
            sys.exit(f"{name} went wrong: {truth!r}")
        print(name, flush=True)

    def refused(name: str, call: Callable[[], object], *words: str) -> None:
        try:
            call()
        except InferenceServerException as error:
            check(name, all(word in str(error) for word in words) or sys.exit(f"{name}: {error}"))
        else:
            sys.exit(f"{name} was not refused")

    def given(array: np.ndarray, *, binary: bool = True, name: str = "images", datatype: str = "FP32") -> triton.InferInput:
        tensor = triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        return tensor

    def wanted(*, binary: bool = True, name: str = "output0") -> triton.InferRequestedOutput:
        return triton.InferRequestedOutput(name, binary_data=binary)

    check("live", client.is_server_live())
    check("ready", client.is_server_ready())
    check("model ready", client.is_model_ready(model))
    check("model ready, by version", client.is_model_ready(model, "1"))
    check("another model is not ready", not client.is_model_ready("nobody"))
    check("server metadata", "binary_tensor_data" in client.get_server_metadata()["extensions"])
    metadata = client.get_model_metadata(model)
    check("model metadata", metadata["inputs"] == [{"name": "images", "datatype": "FP32", "shape": SHAPE}])
    config = client.get_model_config(model, "1")
    check("config", config["max_batch_size"] == 0 and config["input"][0]["data_type"] == "TYPE_FP32")

    first = client.infer(model, [given(picture)])
    found = first.as_numpy("output0")
    check("infer, as it is by default", found.shape == (1, 7, 84) and found.dtype == np.float32)
    check("the answer's own words", first.get_response()["model_name"] == model and first.get_output("output0")["datatype"] == "FP32")
    same = client.infer(model, [given(picture)], outputs=[wanted()]).as_numpy("output0")
    check("infer, bytes asked for", np.array_equal(same, found))
    same = client.infer(model, [given(picture, binary=False)], outputs=[wanted(binary=False)]).as_numpy("output0")
    check("infer, JSON both ways", np.array_equal(same, found))
    same = client.infer(model, [given(picture, binary=False)], outputs=[wanted()]).as_numpy("output0")
    check("infer, JSON in and bytes out", np.array_equal(same, found))
    same = client.infer(model, [given(picture)], outputs=[wanted(binary=False)]).as_numpy("output0")
    check("infer, bytes in and JSON out", np.array_equal(same, found))
    answer = client.infer(model, [given(picture)], model_version="1", request_id="mine", timeout=10_000_000, priority=1)
    check("infer, with id, version and timeout", answer.get_response()["id"] == "mine")
    for coding in ("gzip", "deflate"):
        answer = client.infer(model, [given(picture)], request_compression_algorithm=coding, response_compression_algorithm=coding)
        check(f"infer, {coding} both ways", np.array_equal(answer.as_numpy("output0"), found))
    answer = client.infer(model, [given(picture)], headers={"X-Mine": "1"}, query_params={"a": 1})
    check("infer, with headers and a query", np.array_equal(answer.as_numpy("output0"), found))

    many = triton.InferenceServerClient(url=address, concurrency=4)
    asked = [many.async_infer(model, [given(picture)]) for _ in range(16)]
    check("async infer", all(np.array_equal(each.get_result().as_numpy("output0"), found) for each in asked))
    many.close()
    body, header_bytes = triton.InferenceServerClient.generate_request_body([given(picture)])
    check("a request made by hand", len(body) > header_bytes > 0)

    statistics = client.get_inference_statistics(model)["model_stats"][0]
    check("statistics", statistics["inference_count"] >= 20 and statistics["inference_stats"]["queue"]["count"] >= 20)
    check("statistics of all", {each["name"] for each in client.get_inference_statistics()["model_stats"]} >= {model})
    check("repository index", {each["name"]: each["state"] for each in client.get_model_repository_index()}[model] == "READY")

    check("load", client.load_model(other) is None and client.is_model_ready(other))
    check("infer on what was loaded", client.infer(other, [given(picture)]).as_numpy("output0").shape == (1, 7, 84))
    check("unload", client.unload_model(other) is None and not client.is_model_ready(other))
    check("index after it", {each["name"]: each["state"] for each in client.get_model_repository_index()}[other] == "UNAVAILABLE")

    refused("no such model", lambda: client.infer("nobody", [given(picture)]), "nobody")
    refused("no such version", lambda: client.infer(model, [given(picture)], model_version="7"), "version 7")
    refused("another input", lambda: client.infer(model, [given(picture, name="pictures")]), "images")
    refused("another shape", lambda: client.infer(model, [given(picture[:, :, :32])]), "shape", "[1, 3, 64, 64]")
    refused("another datatype", lambda: client.infer(model, [given(picture.astype(np.float64), datatype="FP64")]), "FP32")
    refused("no such output", lambda: client.infer(model, [given(picture)], outputs=[wanted(name="boxes")]), "output0")
    refused("a sequence", lambda: client.infer(model, [given(picture)], sequence_id=5, sequence_start=True), "sequences")
    best_three = triton.InferRequestedOutput("output0", class_count=3)
    refused("classification", lambda: client.infer(model, [given(picture)], outputs=[best_three]), "classification")
    refused("load of nothing", lambda: client.load_model("nobody"), "nobody")
    refused("load with a config", lambda: client.load_model(other, config="{}"), "config")
    refused("unload of what is not loaded", lambda: client.unload_model(other), other)
    check("as well as before", np.array_equal(client.infer(model, [given(picture)]).as_numpy("output0"), found))
    client.close()


if __name__ == "__main__":
    main()
