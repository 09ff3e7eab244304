"""A checkout that asks the scoring service before it takes a payment.

    fraudengine serve model
    python examples/checkout.py --scoring 127.0.0.1:50051 --port 8080
    curl -d '{"order": "1001", "customer": "c1", "card": "tok_1", "amount": "19.99", "currency": "EUR"}' \
        http://127.0.0.1:8080/pay

What it shows: the order's id is the transaction's id, so that a customer who presses the button twice, or a
retry, is counted once; the answer comes within 100 ms or the checkout decides by amount, and says so; a wrong
field is the caller's error and never an approval.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from fraudengine import Action, Client
from fraudengine.client import Decision, Transaction, by_amount
from fraudengine.errors import RefusedError

# Without an answer: small payments pass, the others wait for a person.
NO_ANSWER = by_amount(50_00, below=Action.APPROVE, above=Action.REVIEW, currency="EUR")
STATUS = {
    Action.APPROVE: (200, "paid"),
    Action.REVIEW: (202, "held for review"),
    Action.BLOCK: (402, "declined"),
}


def transaction_of(order: dict[str, str]) -> Transaction:
    """Return the transaction of an order as the shop knows it."""
    return Transaction(
        transaction_id=f"order-{order['order']}",
        event_time=datetime.now(UTC),
        customer_id=order["customer"],
        card_id=order.get("card"),
        amount=order["amount"],
        currency=order["currency"],
        channel="ecommerce",
    )


class Checkout(BaseHTTPRequestHandler):
    """`POST /pay` with an order."""

    scoring: Client

    def do_POST(self) -> None:
        """Decide an order."""
        try:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            decision = self.scoring.score(transaction_of(order))
        except RefusedError as error:
            self._answer(400, {"error": str(error), "field": error.field})
        except (KeyError, TypeError, ValueError) as error:
            self._answer(400, {"error": f"not an order: {error}"})
        else:
            self._tell(decision)

    def _tell(self, decision: Decision) -> None:
        code, status = STATUS[decision.action]
        if decision.no_answer is not None:
            self.log_message("%s without an answer: %s", status, decision.no_answer)
        # Score and reasons are for analysts: a fraudster learns from them.
        self._answer(code, {"id": decision.transaction_id, "status": status, "scored": decision.answered})

    def _answer(self, code: int, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scoring", default="127.0.0.1:50051", help="address of `fraudengine serve`")
    parser.add_argument("--port", type=int, default=8080, help="port on 127.0.0.1; 0 picks a free one")
    parser.add_argument("--deadline", type=float, default=0.1, help="seconds a payment waits for an answer")
    options = parser.parse_args()
    with Client(options.scoring, timeout_seconds=options.deadline, on_no_answer=NO_ANSWER) as client:
        Checkout.scoring = client
        server = ThreadingHTTPServer(("127.0.0.1", options.port), Checkout)
        # `shutdown` waits for the loop that the signal interrupts, so it runs beside it.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"http://127.0.0.1:{server.server_port}/pay", flush=True)
        server.serve_forever()
        server.server_close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
