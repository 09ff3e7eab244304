"""Three times what the service can do: the rest is turned away at once, and afterwards all is as before.

`benchmarks/overload.py` does it for longer and measures; here the bounds are those that a busy machine keeps
and a service without admission breaks.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import grpc
from open_loop import Sender, percentile
from scoring_process import scoring_process
from small_bundle import scoring_bundle

SECONDS = 4.0
# Without a bound the last calls would wait for twice the time of the overload.
ACCEPTED_MS_MAX = 4_000
REJECTED_MS_MAX = 500


def test_overload_is_turned_away_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with (
        scoring_process(scoring_bundle(tmp_path), "serve.rows_max=2048") as process,
        grpc.insecure_channel(process.address) as channel,
    ):
        sender = Sender(channel, 256)
        usual = sender.closed(4, 3.0)
        assert {call.code for call in usual} == {"OK"}
        before = process.resident_bytes()
        calls = sender.open(3 * len(usual) / 3.0, SECONDS)
        codes = Counter(call.code for call in calls)
        # CANCELLED: what came while the loop had no time for it, beyond `serve.backlog_max`.
        assert {"OK", "RESOURCE_EXHAUSTED"} <= set(codes) <= {"OK", "RESOURCE_EXHAUSTED", "CANCELLED"}
        # It goes on with what it can do.
        assert codes["OK"] > len(usual) / 3.0 * SECONDS / 4
        accepted = [call for call in calls if call.code == "OK"]
        rejected = [call for call in calls if call.code != "OK"]
        assert percentile(accepted, 0.99) < ACCEPTED_MS_MAX
        assert percentile(rejected, 0.5) < REJECTED_MS_MAX
        after = sender.closed(4, 2.0)
        assert {call.code for call in after} == {"OK"}
        assert percentile(after, 0.9) < 4 * percentile(usual, 0.9) + 100
        assert process.resident_bytes() - before < 64 << 20
