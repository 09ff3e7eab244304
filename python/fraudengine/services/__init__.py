"""The services that the stream needs, run as child processes where nobody has set up real ones.

`up` starts Apache Kafka, PostgreSQL and Redis (the real programs, from Python wheels or from PATH) on
127.0.0.1 with all their data in one folder; `down` stops them; `running` tells what runs there. They
outlive the process that started them unless that process says otherwise, so a second `up` finds them
instead of starting them twice.

There are no passwords: whoever can log in to this machine can reach these services. They are for development,
tests and demonstrations; payments of real people belong on clusters that the settings point at.
"""

from __future__ import annotations

from fraudengine.services.stack import ALL, Service, Stack, down, running, up

__all__ = ["ALL", "Service", "Stack", "down", "running", "up"]
