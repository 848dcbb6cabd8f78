"""A cascade small enough to read, for tests; at the top of a module, so that it can be sent."""

import dataclasses

from workbench.routing.base import Settlement, SingleAnswerRouter


@dataclasses.dataclass(frozen=True)
class Escalate:
    """Asks the first place, and the second where the first is not as sure as this."""

    threshold: float
    again: bool = False  # asks the first place once more, which no router may do
    label: str = "escalate"

    def router(self, places, seed=0):  # noqa: ARG002 - as routers
        return Escalation(self)

    def to_dict(self):
        return {"kind": "escalate", "threshold": self.threshold}


class Escalation(SingleAnswerRouter):
    def __init__(self, policy):
        self.policy = policy

    def choose(self, request, states, now):  # noqa: ARG002 - as routers
        return (states[0].index,)

    def settle(self, request, answers, pending, states, now):  # noqa: ARG002 - likewise
        if self.policy.again:
            return Settlement(ask=(0,))
        if len(answers) == 1 and answers[0].confidence < self.policy.threshold and states:
            return Settlement(ask=(states[0].index,))
        return Settlement(given=len(answers) - 1)
