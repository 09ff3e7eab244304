"""Asks a server of the Open Inference Protocol with NVIDIA's client; its environment has nothing of ours.

Arguments: address, a file of feature vectors (.npy), a file for the outputs (.npz). What else the server says
is printed as JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tritonclient.grpc as triton


def main(address: str, rows_file: str, outputs_file: str) -> None:
    """Ask for health, metadata and inference."""
    client = triton.InferenceServerClient(address)
    metadata = client.get_model_metadata("fraudengine", as_json=True)
    rows = np.load(rows_file)
    features = triton.InferInput("features", list(rows.shape), "FP32")
    features.set_data_from_numpy(rows)
    result = client.infer("fraudengine", [features], request_id="from triton")
    names = [each["name"] for each in metadata["outputs"]]
    np.savez(outputs_file, **{name: result.as_numpy(name) for name in names})
    wanted = client.infer("fraudengine", [features], outputs=[triton.InferRequestedOutput("score")])
    said = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("fraudengine"),
        "other_ready": client.is_model_ready("other"),
        "server": client.get_server_metadata(as_json=True),
        "model": metadata,
        "id": result.get_response(as_json=True)["id"],
        "wanted": [each["name"] for each in wanted.get_response(as_json=True)["outputs"]],
    }
    features = triton.InferInput("features", [1, 3], "FP32")
    features.set_data_from_numpy(np.zeros((1, 3), np.float32))
    try:
        client.infer("fraudengine", [features])
    except triton.InferenceServerException as error:
        said["refused"] = [error.status(), error.message()]
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
