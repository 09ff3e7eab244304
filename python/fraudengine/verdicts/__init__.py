"""What people find out about transactions, on its way: into the topic of labels, the alert, the audit.

`Verdicts` is asynchronous, for services; `BlockingVerdicts` is the same for a dashboard. The engine is not
touched: it reads the topic.
"""

from __future__ import annotations

from fraudengine.verdicts.blocking import BlockingVerdicts
from fraudengine.verdicts.deciding import Outcome, Verdicts
from fraudengine.verdicts.topic import LabelTopic

__all__ = ["BlockingVerdicts", "LabelTopic", "Outcome", "Verdicts"]
