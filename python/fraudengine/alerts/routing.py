"""Which alerts go where, and what makes them one group. Pure: an alert and settings in, a decision out."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fraudengine.alerts.records import ENTITIES, Alert
from fraudengine.settings_alerts import AlertRoute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fraudengine.settings_alerts import AlertsSettings

__all__ = ["OTHERS", "Router", "matches", "subject_of"]

OTHERS = "others"
"""Subject of the alerts that found no room for a group of their own."""
_ALL = "all"


def matches(route: AlertRoute, alert: Alert) -> bool:
    """Tell whether an alert meets every condition of a route.

    An alert without a score meets every bound on the score: nobody knows better. A bound on amounts is met in
    the currencies that it names and in no other.
    """
    if alert.score is not None and alert.score < route.score_min:
        return False
    if route.amount_min and alert.amount_minor < route.amount_min.get(alert.currency, alert.amount_minor + 1):
        return False
    if route.actions and alert.action not in route.actions:
        return False
    if route.reasons and not any(fnmatchcase(name, each) for name in alert.reasons for each in route.reasons):
        return False
    listed = (
        (route.merchants, alert.merchant),
        (route.merchant_categories, alert.merchant_category),
        (route.channels, alert.channel),
        (route.countries, alert.country),
    )
    return all(not wanted or found in wanted for wanted, found in listed)


def subject_of(alert: Alert, group_by: str, snoozed: Mapping[str, int]) -> str:
    """Return what an alert is grouped under: `ENTITY:ID`.

    Parameters
    ----------
    alert
        The alert.
    group_by
        One of `ENTITIES`; the customer stands in where the alert lacks it.
    snoozed
        Subjects that are snoozed, and until when: what belongs to one of them is grouped under it.

    """
    if snoozed:
        for entity in ENTITIES:
            subject = f"{entity}:{alert.entity(entity)}"
            if subject in snoozed:
                return subject
    value = alert.entity(group_by)
    return f"customer:{alert.customer}" if value is None else f"{group_by}:{value}"


class Router:
    """The routes of the settings; without any, one named `all` that leads everything everywhere.

    Parameters
    ----------
    settings
        The section `[alerts]`.

    """

    def __init__(self, settings: AlertsSettings) -> None:
        everywhere = {_ALL: AlertRoute(targets=tuple(settings.targets))} if settings.targets else {}
        self.routes: Mapping[str, AlertRoute] = settings.routes or everywhere
        self._group_by = settings.group_by

    def of(self, alert: Alert, snoozed: Mapping[str, int]) -> list[tuple[str, str]]:
        """Return route and subject for each route that an alert takes."""
        return [
            (name, subject_of(alert, route.group_by or self._group_by, snoozed))
            for name, route in self.routes.items()
            if matches(route, alert)
        ]
