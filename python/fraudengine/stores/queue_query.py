"""The SQL of the analysts' queue: text made of constants, values by name. See `AlertQueue` for the why."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from fraudengine.stores.records import ACTIONS
from fraudengine.stores.rows import ALERT_COLUMNS, STATE_COLUMNS, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fraudengine.stores.queue_records import GroupBy, Place, QueueFilter

__all__ = [
    "AUDIT",
    "AUDIT_OF",
    "BY_ID",
    "COLUMN",
    "CURRENCIES",
    "QUEUED",
    "TOTALS",
    "closed",
    "conditions",
    "grouping",
    "listing",
    "values",
]


def values(wanted: QueueFilter) -> dict[str, object]:
    """Return the values that the conditions name."""
    return {
        "customer": wanted.customer_id,
        "device": wanted.device_id,
        "merchant": wanted.merchant_id,
        "actions": [ACTIONS.index(action) + 1 for action in wanted.actions],
        "score_min": wanted.score_min,
        "since": None if wanted.since_micros is None else moment(wanted.since_micros),
    }


def conditions(wanted: QueueFilter) -> Iterator[LiteralString]:
    """Yield what must hold of an alert."""
    if wanted.state == "closed":
        yield "status = 'closed'"
    else:
        yield "status <> 'closed'"
        yield "snoozed_until > now()" if wanted.state == "snoozed" else _AWAKE
    if wanted.customer_id is not None:
        yield "customer_id = %(customer)s"
    if wanted.device_id is not None:
        yield "device_id = %(device)s"
    if wanted.merchant_id is not None:
        yield "merchant_id = %(merchant)s"
    if wanted.actions:
        yield "action = ANY(%(actions)s::smallint[])"
    if wanted.score_min is not None:
        yield "score >= %(score_min)s::real"
    if wanted.since_micros is not None:
        yield "decided_time >= %(since)s"


def listing(wanted: QueueFilter, after: Place | None) -> LiteralString:
    """Return the query of a page of open or snoozed alerts."""
    held = [*conditions(wanted), "coalesce(currency, '') = code"]
    if after is not None:
        # The first bound is for the index: it is a hair too wide, and the second one exact.
        held.append(
            "at_risk_minor(amount_minor, score) <= %(worth)s / factor * (1 + 1e-12) AND "
            "(at_risk_minor(amount_minor, score) * factor < %(worth)s OR "
            "(at_risk_minor(amount_minor, score) * factor = %(worth)s AND transaction_id > %(id)s))"
        )
    return (
        f"SELECT {QUEUED}, at_risk_minor(amount_minor, score) * factor AS worth "
        "FROM unnest(%(codes)s::text[], %(factors)s::float8[]) AS each(code, factor) CROSS JOIN LATERAL ("
        f"SELECT * FROM alerts WHERE {' AND '.join(held)} "
        "ORDER BY at_risk_minor(amount_minor, score) DESC, transaction_id LIMIT %(size)s) AS most "
        "ORDER BY worth DESC, transaction_id LIMIT %(size)s"
    )


def closed(wanted: QueueFilter, after: Place | None) -> LiteralString:
    """Return the query of a page of closed alerts."""
    held = [*conditions(wanted)]
    if after is not None:
        held.append("(status_time, transaction_id) < (%(at)s, %(id)s)")
    return (
        f"SELECT {QUEUED}, 0 FROM alerts WHERE {' AND '.join(held)} "
        "ORDER BY status_time DESC, transaction_id DESC LIMIT %(size)s"
    )


def grouping(by: GroupBy, wanted: QueueFilter) -> LiteralString:
    """Return the query of the groups."""
    column = COLUMN[by]
    held = " AND ".join([*conditions(wanted), f"{column} IS NOT NULL"])
    # By currency first: then a row is looked at once, and only sums are converted.
    return (
        f"WITH each AS (SELECT {column} AS key, currency, count(*) AS alerts, "
        "count(*) FILTER (WHERE action = 3) AS blocked, sum(at_risk_minor(amount_minor, score)) AS at_risk, "
        "max(score) AS score, max(decided_time) AS newest "
        f"FROM alerts WHERE {held} GROUP BY 1, 2) "
        "SELECT key, sum(alerts)::bigint, sum(blocked)::bigint, sum(at_risk * factor) AS worth, max(score), "
        "max(newest), array_agg(code ORDER BY code) FROM each "
        "JOIN unnest(%(codes)s::text[], %(factors)s::float8[]) AS given(code, factor) "
        "ON code = coalesce(each.currency, '') "
        "GROUP BY key ORDER BY worth DESC, key LIMIT %(most)s"
    )


COLUMN: dict[GroupBy, LiteralString] = {
    "customer_id": "customer_id",
    "device_id": "device_id",
    "merchant_id": "merchant_id",
}
_AWAKE: LiteralString = "(snoozed_until IS NULL OR snoozed_until <= now())"
QUEUED: LiteralString = f"{ALERT_COLUMNS}, {STATE_COLUMNS}"
BY_ID: LiteralString = f"SELECT {QUEUED}, 0 FROM alerts WHERE transaction_id = ANY(%(ids)s)"
# A jump in the index from one currency to the next: as many steps as there are currencies.
CURRENCIES: LiteralString = (
    "WITH RECURSIVE found(code) AS ("
    "(SELECT coalesce(currency, '') FROM alerts WHERE status <> 'closed' "
    "ORDER BY coalesce(currency, '') LIMIT 1) UNION ALL SELECT (SELECT "
    "coalesce(currency, '') FROM alerts WHERE status <> 'closed' "
    "AND coalesce(currency, '') > found.code ORDER BY coalesce(currency, '') LIMIT 1) "
    "FROM found WHERE found.code IS NOT NULL) SELECT code FROM found WHERE code IS NOT NULL"
)
TOTALS: LiteralString = (
    "SELECT coalesce(currency, ''), snoozed_until IS NOT NULL AND snoozed_until > now(), count(*), "
    "sum(at_risk_minor(amount_minor, score)) FROM alerts WHERE status <> 'closed' GROUP BY 1, 2"
)
_AUDIT_COLUMNS: LiteralString = (
    "SELECT audit_id, done_time, actor, transaction_id, what, from_state, to_state, note, label_offset "
    "FROM audit "
)
AUDIT: LiteralString = _AUDIT_COLUMNS + "ORDER BY audit_id DESC LIMIT %(most)s"
AUDIT_OF: LiteralString = (
    _AUDIT_COLUMNS + "WHERE transaction_id = %(id)s ORDER BY audit_id DESC LIMIT %(most)s"
)
