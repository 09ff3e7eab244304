"""Both peers of the gRPC benchmark: a bare grpcio server, and a stock client of the inference protocol.

    INTERPRETER work_grpc.py echo METHOD HEX
    INTERPRETER work_grpc.py client FOLDER

The bare server answers every call of one method with the same bytes and looks at nothing: what any service in
grpcio costs at least. The client is `tritonclient` as its examples use it.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import calls


def echo(method: str, answer: bytes) -> None:
    """Serve until standard input ends; `address` says where."""
    import grpc

    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    handler = grpc.unary_unary_rpc_method_handler(lambda _request, _context: answer)
    service, _, name = method.removeprefix("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    calls.serve({"address": lambda: f"127.0.0.1:{port}"})
    server.stop(None)


class Client:
    """A stock client that sends rows of features."""

    def __init__(self, folder: str) -> None:
        import numpy as np

        self.folder = Path(folder)
        self.rows = np.load(self.folder / "rows.npy")
        self.clients: dict[str, Any] = {}

    def infer(self, address: str, low: int, high: int) -> Any:  # noqa: ANN401 - types of a peer
        """Send rows and return what was answered."""
        from tritonclient import grpc as triton

        if address not in self.clients:
            self.clients[address] = triton.InferenceServerClient(address)
        rows = self.rows[low:high]
        sent = triton.InferInput("features", list(rows.shape), "FP32")
        sent.set_data_from_numpy(rows)
        return self.clients[address].infer("fraudengine", [sent])

    def results(self, address: str) -> str:
        """Score all rows, 256 a call, and write the scores; return the file."""
        import numpy as np

        pieces = [
            self.infer(address, low, low + 256).as_numpy("score").ravel()
            for low in range(0, len(self.rows), 256)
        ]
        file = self.folder / "scores.npy"
        np.save(file, np.concatenate(pieces))
        return str(file)

    def run(self, address: str, batch: int, count: int) -> float:
        """Send `count` calls one after the other; return the seconds."""
        begin = time.perf_counter()
        for number in range(count):
            low = number * batch % (len(self.rows) - batch + 1)
            self.infer(address, low, low + batch)
        return time.perf_counter() - begin


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2], bytes.fromhex(sys.argv[3]))
    else:
        client = Client(sys.argv[2])
        calls.serve({"results": client.results, "run": client.run})
