"""EventBridge on a local cloud: what SageMaker and CloudWatch publish when something changes.

Events go through moto's Events to the targets of rules, such as queues and topics, in the thread
beside the loop and in order. They are shaped as EventBridge's reference shapes them (SageMaker
developer guide, "Automating Amazon SageMaker with Amazon EventBridge"): statuses there are in upper
case with underscores, unlike the API's.
"""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from workbench.localcloud.core.protocol import ACCOUNT, REGION, format_time
from workbench.localcloud.core.store import Store

_WORD_BOUNDARY = re.compile("(?<=[a-z])(?=[A-Z])")
_log = logging.getLogger("workbench.localcloud")


def format_status(status: str) -> str:
    """Return a status of the API's as events have it.

    >>> format_status("InService"), format_status("PendingManualApproval")
    ('IN_SERVICE', 'PENDING_MANUAL_APPROVAL')
    """
    return _WORD_BOUNDARY.sub("_", status).upper()


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """Something that has changed; `detail` is JSON, `resources` are ARNs."""

    kind: str
    detail: Mapping[str, Any]
    resources: tuple[str, ...] = ()
    source: str = "aws.sagemaker"


class EventPublisher:
    """Puts events on the default event bus, and messages to topics, in order."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, event: ServiceEvent) -> None:
        """Send an event soon."""
        self._store.run_later(_put_event, event)

    def notify(self, topic: str, subject: str, message: str) -> None:
        """Send a message to a topic of SNS soon; a failure is logged, as no client waits for it."""
        self._store.run_later(_notify, topic, subject, message)

    async def publish(self, topic: str, message: str) -> None:
        """Send a message to a topic of SNS; what moto raises most of all is that it is gone."""
        await self._store.run_in_thread(publish, topic, message)

    async def close(self) -> None:
        """Send what is due."""
        await self._store.run_in_thread(lambda: None)  # behind all of it


def _put_event(event: ServiceEvent) -> None:
    if "moto.events.models" not in sys.modules:  # nobody has asked for a rule yet
        return
    from moto.events.models import events_backends

    patch_moto_targets()
    entry = {
        "Source": event.source,
        "DetailType": event.kind,
        "Detail": json.dumps(event.detail),
        "Resources": list(event.resources),
    }
    try:
        events_backends[ACCOUNT][REGION].put_events([entry])
    except Exception:  # noqa: BLE001 - nobody waits for it, whatever it was
        _log.exception("The event %s could not be sent.", event.kind)


def _notify(topic: str, subject: str, message: str) -> None:
    try:
        # SNS takes no longer subject (API reference, Publish)
        publish(topic, message, subject[:100])
    except Exception as error:  # noqa: BLE001 - moto raises what its clients are answered
        _log.warning("The topic %s took no message: %s", topic, error)


def publish(topic: str, message: str, subject: str | None = None) -> None:
    """Send a message to a topic, in the thread beside the loop, as all that moto does."""
    from moto.sns.models import sns_backends

    region = topic.split(":")[3] if topic.count(":") > 4 else REGION
    sns_backends[ACCOUNT][region].publish(message, arn=topic, subject=subject)


TARGETS: dict[str, Callable[[str, str], None]] = {"sns": publish}
"""What brings an event to targets that moto does not know, by their service: ARN and JSON in.

Called in the thread beside the loop.
"""

_MOTO_TARGETS = ("events", "logs", "sqs")


def patch_moto_targets() -> None:
    """Let moto's rules have the targets in `TARGETS` too; one that none knows is passed over.

    moto itself fails at such a target, and with it at all that come after.
    """
    from moto.events.models import Rule

    if getattr(Rule.send_to_targets, "widened", False):
        return
    known = Rule.send_to_targets

    def send(rule: Rule, event: Any, transform_input: bool = True) -> None:  # noqa: ANN401, FBT001, FBT002 - moto's
        targets = rule.targets
        rule.targets = [each for each in targets if _service(each) in _MOTO_TARGETS]
        try:
            known(rule, event, transform_input)
        finally:
            rule.targets = targets
        if rule.event_pattern.matches_event(event):
            for each in targets:
                if _service(each) not in _MOTO_TARGETS:
                    _deliver(each, event)

    send.widened = True  # type: ignore[attr-defined]
    Rule.send_to_targets = send  # type: ignore[assignment, method-assign]


def _service(target: Mapping[str, Any]) -> str:
    return str(target["Arn"]).split(":")[2]


def _deliver(target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
    bring = TARGETS.get(_service(target))
    if bring is None:
        _log.warning("No event reaches the target %s on a local cloud.", target["Arn"])
        return
    try:
        bring(target["Arn"], target.get("Input") or json.dumps(_format_event(target, event)))
    except Exception:  # noqa: BLE001 - the other targets are due, whatever it was
        _log.exception("An event did not reach the target %s.", target["Arn"])


def _format_event(target: Mapping[str, Any], event: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return an event in the form that a target receives."""
    from moto.events.utils import EventTemplateParser

    if shaped := target.get("InputTransformer"):
        paths: dict[str, str] = shaped.get("InputPathsMap", {})
        return EventTemplateParser.parse(shaped["InputTemplate"], paths, cast("Any", event))
    given = {name: value for name, value in event.items() if name != "ingestion-time"}
    return given | {"time": format_time(event["time"])}
