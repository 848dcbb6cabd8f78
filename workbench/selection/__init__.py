"""Which model to run, and why: by what it must be, and by accuracy, latency and cost.

::

    found = wb.select(registry, trace=trace, slo=slo, needs={"task": "digits",
                      "accuracy": at_least(0.9)}, weights={"accuracy": 0.7, "cost": 0.3})
    print(found)                    # who is first, the table, and what would change it
    found.table, found.front        # each model on each inference type; what none beats
    found.flips                     # at which weight, price or accuracy another is first
    found.regions_chart()           # the same for all weights
    found.experiment.run()          # whether it is so
    registry.approve("digits-mlp-small", 1, why=found.sentence)

`needs` are limits of traits and figures, `weights` says what weights mean, `floors` what is ruled
out without a search, `evidence` how accuracies are known and compared.
"""

from workbench.selection.needs import Bounds, at_least, at_most
from workbench.selection.search import select
from workbench.selection.selections import Selection
from workbench.selection.sensitivity import Flip
from workbench.selection.standings import RatedCandidate

__all__ = ["Bounds", "Flip", "RatedCandidate", "Selection", "at_least", "at_most", "select"]
