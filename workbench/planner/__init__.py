"""Where to run and how to batch: the cheapest that meets a target, or the fastest for a budget.

`plan` searches inference types, their sizes and the buffer's (max_size, max_wait)::

    plan = wb.plan(profile, trace, SLO(latency=0.1), options=Options(cold_start=0.4))
    plan.best.deployment, plan.best.policy, plan.best.reason
    plan.frame          # every candidate, what it comes to, which engine says so, why it lost
    plan.front          # none is both faster and cheaper
    plan.break_even()   # the least cost of each inference type as traffic grows

Serverless and Lambda are screened by the exact model of the buffer under the process that fits the
trace, which knows neither cold starts nor limits; what looks best is simulated with the trace
itself. The number of instances of a fleet is found by simulation between two bounds. Service times
elsewhere than where they were measured follow the rule of `workbench.deployment.vcpu_rule`.
`find_capacity` says what one instance can do, `capacities` for each type.
`replan` decides again for each window of a trace, `rebatch` size and wait alone.
"""

from workbench.contents import resolve_late

__getattr__, __dir__, __all__ = resolve_late(
    __name__,
    {
        "break_even": ["crossings"],
        "buffer_search": ["rebatch"],
        "candidates": ["CandidateMetrics", "CandidateTable", "Configuration", "SimulatedCandidate"],
        "decisions": ["Decision", "DecisionRow", "decide"],
        "instance_capacity": ["CapacityTable", "capacities", "find_capacity"],
        "options": ["Options"],
        "plans": ["Candidate", "Plan"],
        "problem": ["PlanningProblem"],
        "revision": ["Replan", "replan"],
        "search": ["plan"],
    },
)
