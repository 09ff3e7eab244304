"""The windows of one customer in plain Python: what a user writes as the state of a Python streaming library.

Sums are of whole minor units, so that taking an amount away again leaves nothing behind.
"""

from __future__ import annotations

from collections import Counter, deque

HOUR, DAY, WEEK = 3_600_000_000, 86_400_000_000, 604_800_000_000
COLUMNS = (
    *("customer_count_1h", "customer_count_24h", "customer_count_7d"),
    *("customer_sum_1h", "customer_sum_24h", "customer_sum_7d"),
    *("customer_ratio_mean_7d", "customer_merchants_24h", "customer_merchants_7d"),
)


class Window:
    """Amounts (and merchants, where asked for) of the last `span` microseconds: `(t - span, t]`."""

    __slots__ = ("events", "merchants", "span", "total")

    def __init__(self, span: int, *, distinct: bool) -> None:
        self.span, self.total = span, 0
        self.events: deque[tuple[int, int, str]] = deque()
        self.merchants: Counter[str] | None = Counter() if distinct else None

    def expire(self, now: int) -> None:
        """Drop what is older than the window."""
        events, merchants, oldest = self.events, self.merchants, now - self.span
        while events and events[0][0] <= oldest:
            _, amount, merchant = events.popleft()
            self.total -= amount
            if merchants is not None:
                merchants[merchant] -= 1
                if not merchants[merchant]:
                    del merchants[merchant]

    def add(self, now: int, amount: int, merchant: str) -> None:
        """Take a transaction in."""
        self.events.append((now, amount, merchant))
        self.total += amount
        if self.merchants is not None:
            self.merchants[merchant] += 1


class CustomerWindows:
    """The three windows of a customer."""

    __slots__ = ("day", "hour", "week")

    def __init__(self) -> None:
        self.hour = Window(HOUR, distinct=False)
        self.day, self.week = Window(DAY, distinct=True), Window(WEEK, distinct=True)

    def update(self, now: int, amount: int, merchant: str) -> tuple[float, ...]:
        """Take a transaction in; return its features in the order of `COLUMNS`."""
        hour, day, week = self.hour, self.day, self.week
        for window in (hour, day, week):
            window.expire(now)
        earlier = len(week.events)
        # The amount to the mean of the earlier ones; undefined without any.
        ratio = amount * earlier / week.total if earlier else float("nan")
        for window in (hour, day, week):
            window.add(now, amount, merchant)
        return (
            *(len(hour.events), len(day.events), len(week.events)),
            *(hour.total / 100, day.total / 100, week.total / 100),
            *(ratio, len(day.merchants or ()), len(week.merchants or ())),
        )
