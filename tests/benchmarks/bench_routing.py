"""A routed decision, and what bandits learn: rewards against the best fixed choice, and River's."""

import random
import statistics
import time

from workbench.routing import ROUTING_POLICIES
from workbench.routing.bandits import ThompsonSampling
from workbench.routing.base import Place, PlaceAnswer, PlaceState, RoutedRequest
from workbench.routing.calls import RoutedCalls

CANDIDATES = 20
DECISIONS = 2000
LIMIT = 50e-6  # seconds a decision
ZOO = (0.41, 0.47, 0.69, 0.74, 0.77, 0.90)  # effective accuracies, as of the task of shifted digits
REQUESTS, REPEATS = 2000, 20
PEER_REPEATS = 400
CONTEXTS = ("clean", "shifted", "noisy")
NEEDED = {
    "canary": {"place": "model 1"},
    "shadow": {"place": "model 1"},
    "cascade": {"small": "model 1", "large": "model 2"},
    "scheduled": {"phases": [(0, ROUTING_POLICIES["random"]())]},
    "vote": {"names": ["model 0", "model 1", "model 2"]},
}


def policies():
    for kind, policy in ROUTING_POLICIES.items():
        yield kind, policy(**NEEDED.get(kind, {}))


def places(accuracies):
    return [
        Place(
            name=f"model {number}",
            accuracy=accuracy,
            accuracy_by_context=dict.fromkeys(CONTEXTS, accuracy),
            seconds=0.01 * (1 + number),
            cost=1e-6 * (1 + number),
        )
        for number, accuracy in enumerate(accuracies)
    ]


def decisions():
    print(f"a decision at {CANDIDATES} candidates, median of 7 (least, most) in us; limit 50")
    print(f"  {'':20} {'choose alone':>22}   choose, ask, answer and learn by RoutedCalls")
    known = places([0.5 + 0.02 * number for number in range(CANDIDATES)])
    for kind, policy in policies():
        alone = [choose_only(policy, known, seed) for seed in range(7)]
        routed = [through_calls(policy, known, seed) for seed in range(7)]
        late = "" if statistics.median(routed) < LIMIT else "  ABOVE THE LIMIT"
        print(f"  {kind:20} {shown(alone):>22} {shown(routed):>22}{late}")


def shown(seconds):
    low, middle, high = (1e6 * f(seconds) for f in (min, statistics.median, max))
    return f"{middle:.1f} ({low:.1f}, {high:.1f})"


def choose_only(policy, known, seed):
    router = policy.router(known, seed)
    states = [PlaceState(number, place) for number, place in enumerate(known)]
    requests = [RoutedRequest(n, context=CONTEXTS[n % 3]) for n in range(DECISIONS)]
    start = time.process_time()
    for request in requests:
        router.choose(request, states, 0.0)
    return (time.process_time() - start) / DECISIONS


def through_calls(policy, known, seed):
    """Seconds of a request with all that routing does for it, three being under way at a time."""
    calls = RoutedCalls(policy.router(known, seed), known)
    requests = [RoutedRequest(n, context=CONTEXTS[n % 3]) for n in range(DECISIONS)]
    waiting = []
    start = time.process_time()
    for now, request in enumerate(requests):
        waiting.extend(calls.arrive(request, float(now)).ask)
        while len(waiting) > 3:
            number, place = waiting.pop(0)
            answer = PlaceAnswer(place, 0.01, confidence=0.9, correct=1.0)
            waiting.extend(calls.answer(number, answer, float(now)).ask)
    return (time.process_time() - start) / DECISIONS


def play(choose, learn, chances, seed):
    """Chance of success of each choice; the n-th reward of a place is the same for all players."""
    drawn = [random.Random(f"{seed} {place}") for place in range(len(chances))]  # noqa: S311
    for number in range(REQUESTS):
        place = choose(number)
        learn(number, place, float(drawn[place].random() < chances[place]))
        yield chances[place]


def play_policy(policy, chances, seed):
    known = [Place(name=f"model {number}") for number in range(len(chances))]
    router = policy.router(known, seed)
    states = [PlaceState(number, place) for number, place in enumerate(known)]
    return list(
        play(
            lambda number: router.choose(RoutedRequest(number), states, 0.0)[0],
            lambda number, place, reward: router.observe(
                RoutedRequest(number), PlaceAnswer(place, 0.01, correct=reward), 0.0
            ),
            chances,
            seed,
        )
    )


def rewards():
    best = max(ZOO)
    print(
        f"bandits among {ZOO}: reward over the best fixed choice's, {REPEATS} repeats of "
        f"{REQUESTS:,} requests, mean and 95 % interval; 0.95 is wanted"
    )
    for kind in ("thompson", "exp3", "exp4", "linucb"):
        gained = [play_policy(ROUTING_POLICIES[kind](), ZOO, seed) for seed in range(REPEATS)]
        last = [statistics.fmean(each[-500:]) / best for each in gained]
        whole = [statistics.fmean(each) / best for each in gained]
        print(f"  {kind:10} last 500 {interval(last)}, all {interval(whole)}")


def interval(values):
    mean = statistics.fmean(values)
    half = 1.96 * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.3f} ({mean - half:.3f}, {mean + half:.3f})"


def river_peer():
    try:
        from river import bandit, proba
    except ImportError:
        print("  River is not installed: pip install river")
        return
    ours, theirs = [], []
    for seed in range(PEER_REPEATS):
        peer = bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=seed)
        arms = range(len(ZOO))
        ours.append(regret(play_policy(ThompsonSampling(), ZOO, seed)))
        theirs.append(
            regret(
                play(
                    lambda _, peer=peer, arms=arms: peer.pull(arms),
                    lambda _, arm, reward, peer=peer: peer.update(arm, reward),
                    ZOO,
                    seed,
                )
            )
        )
    ratio = statistics.fmean(ours) / statistics.fmean(theirs)
    low, high = ratio_interval(ours, theirs)
    print(
        f"Thompson sampling, regret after {REQUESTS:,} requests, {PEER_REPEATS} repeats: ours "
        f"{interval(ours)}, River's {interval(theirs)}, ratio {ratio:.2f} ({low:.2f}, {high:.2f}); "
        "at most 1.1 is wanted"
    )


def regret(chances):
    return sum(max(ZOO) - chance for chance in chances)


def ratio_interval(ours, theirs):
    """95 % interval of a ratio of means, by resampling."""
    generator = random.Random(1)  # noqa: S311
    ratios = sorted(
        statistics.fmean(generator.choices(ours, k=len(ours)))
        / statistics.fmean(generator.choices(theirs, k=len(theirs)))
        for _ in range(1000)
    )
    return ratios[25], ratios[975]


def main():
    decisions()
    rewards()
    river_peer()
