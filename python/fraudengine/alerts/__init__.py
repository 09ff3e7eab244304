"""The alert service: from the topic `alerts` to people, in few messages, none of them lost.

    topic -> records -> routing -> grouping -> outbox -> sending -> targets
             (pure)     (pure)     (pure)      (SQLite)  (threads)  (network)

`docs/alerts.md` is its manual.
"""
