"""The feature catalogue again, written slowly and obviously, from its meanings alone.

Every feature of one transaction is computed by scanning all earlier transactions. Nothing here is shared
with the native code; where both agree, the meaning printed by `fraudengine features` is what is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import mean, stdev

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WINDOWS = {"10m": 10 * MINUTE, "1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
CHANNELS = ["card_present", "contactless", "ecommerce", "moto", "atm", "transfer", "wallet"]
NAN = math.nan


@dataclass
class Transaction:
    """One row; times in microseconds, amounts in cents, `None` is absent."""

    id: str
    time: int
    customer: str
    amount: int
    card: str | None = None
    device: str | None = None
    merchant: str | None = None
    ip: str | None = None
    channel: str | None = None
    category: int | None = None
    country: str | None = None
    place: tuple[float, float] | None = None


@dataclass
class Label:
    """A verdict and when it became known."""

    transaction: Transaction
    known: int
    fraud: bool = True


@dataclass
class Oracle:
    """Everything that happened so far, in order of arrival."""

    past: list[Transaction] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)

    def decide(self, t: Transaction) -> dict[str, float]:
        """Return the features of a new transaction, then remember it."""
        values = self._transaction(t) | self._customer(t) | self._card(t) | self._device(t)
        values |= self._merchant(t) | self._ip(t)
        self.past.append(t)
        return values

    def _of(self, t: Transaction, entity: str) -> list[Transaction]:
        return [p for p in self.past if getattr(p, entity) == getattr(t, entity)]

    def _inside(self, t: Transaction, entity: str, window: str) -> list[Transaction]:
        start = t.time - WINDOWS[window]
        return [p for p in self._of(t, entity) if start < p.time <= t.time]

    def _distinct(self, t: Transaction, entity: str, window: str, what: str) -> float:
        every = [getattr(p, what) for p in [*self._inside(t, entity, window), t]]
        return len({value for value in every if value is not None}) or NAN

    def _seen(self, t: Transaction, entity: str, what: str) -> float:
        value = getattr(t, what)
        if value is None:
            return NAN
        return sum(1 for p in self._inside(t, entity, "30d") if getattr(p, what) == value)

    def _count(self, t: Transaction, entity: str, window: str) -> float:
        return len(self._inside(t, entity, window)) + 1

    def _sum(self, t: Transaction, entity: str, window: str) -> float:
        return sum(p.amount for p in [*self._inside(t, entity, window), t]) / 100

    def _ratio(self, t: Transaction, other: float) -> float:
        return t.amount / 100 / other if other > 0 else NAN

    def _amounts(self, t: Transaction, entity: str, window: str) -> list[float]:
        return [p.amount / 100 for p in self._inside(t, entity, window)]

    def _zscore(self, t: Transaction, entity: str) -> float:
        amounts = self._amounts(t, entity, "30d")
        if len(amounts) < 2:
            return NAN
        return (t.amount / 100 - mean(amounts)) / max(stdev(amounts), 0.01)

    def _frauds(self, t: Transaction, entity: str) -> list[Label]:
        """Known frauds of the entity: the first verdict of each id counts, a genuine one takes it back."""
        known: dict[str, Label] = {}
        value = getattr(t, entity)
        for label in self.labels:
            if label.known > t.time or getattr(label.transaction, entity) != value:
                continue
            if not label.fraud:
                known.pop(label.transaction.id, None)
            else:
                known.setdefault(label.transaction.id, label)
        return list(known.values())

    def _reported(self, t: Transaction, entity: str, window: str) -> float:
        return sum(label.known > t.time - WINDOWS[window] for label in self._frauds(t, entity))

    def _since_fraud(self, t: Transaction, entity: str) -> float:
        times = [label.transaction.time for label in self._frauds(t, entity)]
        return (t.time - max(times)) / DAY if times else NAN

    def _transaction(self, t: Transaction) -> dict[str, float]:
        moment = datetime.fromtimestamp(t.time // 1_000_000, UTC)
        hour = t.time % DAY / HOUR
        return {
            "amount": t.amount / 100,
            "hour_of_day": hour,
            "day_of_week": moment.weekday(),
            "is_weekend": moment.weekday() in (5, 6),
            "is_night": moment.hour < 6,
            "channel": NAN if t.channel is None else CHANNELS.index(t.channel),
            "merchant_category": NAN if t.category is None else t.category,
        }

    def _customer(self, t: Transaction) -> dict[str, float]:
        every = self._of(t, "customer")
        month = self._amounts(t, "customer", "30d")
        week = self._amounts(t, "customer", "7d")
        day = self._amounts(t, "customer", "24h")
        values = {f"customer_count_{w}": self._count(t, "customer", w) for w in WINDOWS}
        values |= {f"customer_sum_{w}": self._sum(t, "customer", w) for w in ("1h", "24h", "7d", "30d")}
        hours = [p.time % DAY // HOUR for p in every]
        hour = t.time % DAY // HOUR
        near = sum((h - hour) % 24 in (23, 0, 1) for h in hours)
        return (
            values
            | {
                "customer_hours_since_last": (t.time - every[-1].time) / HOUR if every else NAN,
                "customer_mean_30d": mean(month) if month else NAN,
                "customer_deviation_30d": stdev(month) if len(month) > 1 else NAN,
                "customer_zscore_30d": self._zscore(t, "customer"),
                "customer_ratio_mean_7d": self._ratio(t, mean(week)) if week else NAN,
                "customer_ratio_mean_30d": self._ratio(t, mean(month)) if month else NAN,
                "customer_ratio_max_24h": self._ratio(t, max(day)) if day else NAN,
                "customer_ratio_max_30d": self._ratio(t, max(month)) if month else NAN,
                "customer_ratio_min_30d": self._ratio(t, min(month)) if month else NAN,
                "customer_merchant_seen_30d": self._seen(t, "customer", "merchant"),
                "customer_device_seen_30d": self._seen(t, "customer", "device"),
                "customer_merchants_24h": self._distinct(t, "customer", "24h", "merchant"),
                "customer_merchants_7d": self._distinct(t, "customer", "7d", "merchant"),
                "customer_devices_7d": self._distinct(t, "customer", "7d", "device"),
                "customer_category_new": self._category_new(t, every),
                "customer_age_days": (t.time - every[0].time) / DAY if every else 0.0,
                "customer_hour_share": near / len(hours) if hours else NAN,
                "customer_frauds_30d": self._reported(t, "customer", "30d"),
                "customer_days_since_fraud": self._since_fraud(t, "customer"),
            }
            | self._places(t, every)
        )

    def _category_new(self, t: Transaction, every: list[Transaction]) -> float:
        if t.category is None:
            return NAN
        latest: list[int] = []
        for p in reversed(every):
            if p.category is not None and p.category not in latest:
                latest.append(p.category)
        return t.category not in latest[:8]

    def _places(self, t: Transaction, every: list[Transaction]) -> dict[str, float]:
        located = [(p.time, p.place) for p in every if p.place is not None]
        names = ("customer_distance_last_km", "customer_speed_kmh", "customer_distance_home_km")
        if t.place is None or not located:
            return dict.fromkeys(names, NAN)
        last_time, last_place = located[-1]
        distance = haversine(last_place, t.place)
        latitude = longitude = 0.0
        for n, (_, place) in enumerate(located, start=1):
            latitude += (place[0] - latitude) / min(n, 30)
            longitude += (place[1] - longitude) / min(n, 30)
        hours = max(t.time - last_time, MINUTE) / HOUR
        home = haversine((latitude, longitude), t.place)
        return dict(zip(names, (distance, distance / hours, home), strict=True))

    def _card(self, t: Transaction) -> dict[str, float]:
        if t.card is None:
            return {}
        return {
            "card_count_1h": self._count(t, "card", "1h"),
            "card_count_24h": self._count(t, "card", "24h"),
            "card_sum_24h": self._sum(t, "card", "24h"),
            "card_merchants_24h": self._distinct(t, "card", "24h", "merchant"),
            "card_country_seen_30d": self._seen(t, "card", "country"),
            "card_countries_7d": self._distinct(t, "card", "7d", "country"),
            "card_frauds_30d": self._reported(t, "card", "30d"),
        }

    def _device(self, t: Transaction) -> dict[str, float]:
        if t.device is None:
            return {}
        every = self._of(t, "device")
        return {
            "device_count_1h": self._count(t, "device", "1h"),
            "device_count_24h": self._count(t, "device", "24h"),
            "device_customers_24h": self._distinct(t, "device", "24h", "customer"),
            "device_customers_7d": self._distinct(t, "device", "7d", "customer"),
            "device_cards_24h": self._distinct(t, "device", "24h", "card"),
            "device_age_days": (t.time - every[0].time) / DAY if every else 0.0,
            "device_frauds_30d": self._reported(t, "device", "30d"),
        }

    def _merchant(self, t: Transaction) -> dict[str, float]:
        if t.merchant is None:
            return {}
        month = self._amounts(t, "merchant", "30d")
        frauds = self._frauds(t, "merchant")
        recent = [f.transaction for f in frauds if f.transaction.time > t.time - WINDOWS["30d"]]
        times = [f.time for f in recent]
        fraud_mean = mean(f.amount / 100 for f in recent) if recent else NAN
        inside = [*self._inside(t, "merchant", "30d"), t]
        latest = max((f.transaction.time for f in frauds), default=None)
        span = [p for p in inside if times and min(times) <= p.time <= max(times)]
        values = {f"merchant_count_{w}": self._count(t, "merchant", w) for w in ("1h", "24h", "7d", "30d")}
        values |= {f"merchant_frauds_{w}": self._reported(t, "merchant", w) for w in ("24h", "7d", "30d")}
        return values | {
            "merchant_mean_30d": mean(month) if month else NAN,
            "merchant_ratio_mean_30d": self._ratio(t, mean(month)) if month else NAN,
            "merchant_zscore_30d": self._zscore(t, "merchant"),
            "merchant_customers_24h": self._distinct(t, "merchant", "24h", "customer"),
            "merchant_frauds_happened_30d": len(recent),
            "merchant_fraud_rate_30d": len(recent) / self._count(t, "merchant", "30d"),
            "merchant_fraud_span_share": len(recent) / len(span) if span else NAN,
            "merchant_count_since_fraud": NAN if latest is None else sum(p.time > latest for p in inside),
            "merchant_days_since_first_fraud_30d": (t.time - min(times)) / DAY if times else NAN,
            "merchant_fraud_mean_30d": fraud_mean,
            "merchant_ratio_fraud_mean_30d": self._ratio(t, fraud_mean) if recent else NAN,
            "merchant_days_since_fraud": self._since_fraud(t, "merchant"),
        }

    def _ip(self, t: Transaction) -> dict[str, float]:
        if t.ip is None:
            return {}
        return {
            "ip_count_1h": self._count(t, "ip", "1h"),
            "ip_count_24h": self._count(t, "ip", "24h"),
            "ip_customers_24h": self._distinct(t, "ip", "24h", "customer"),
            "ip_devices_24h": self._distinct(t, "ip", "24h", "device"),
            "ip_frauds_30d": self._reported(t, "ip", "30d"),
        }


def haversine(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle distance in kilometres on a sphere of radius 6371 km."""
    (lat1, lon1), (lat2, lon2) = [(math.radians(p[0]), math.radians(p[1])) for p in (a, b)]
    h = math.sin((lat2 - lat1) / 2) ** 2
    h += math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6371 * math.asin(math.sqrt(min(h, 1.0)))
