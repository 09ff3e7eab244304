"""What Kafka is given at its first start."""

from __future__ import annotations

from fraudengine.services.kafka import cluster_id


def test_an_id_of_a_cluster_is_never_taken_for_an_option() -> None:
    first = {cluster_id(bytes([byte]) + bytes(15))[0] for byte in range(256)}
    assert len(first) == 32
    assert not first & set("-_")
    assert len(cluster_id(bytes(16))) == 22
