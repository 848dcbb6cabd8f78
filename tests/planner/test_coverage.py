"""What a plan says that it did not try."""

from datetime import date

from workbench.deployment import KINDS
from workbench.planner.coverage import UNTRIED_OFFERS, describe_untried


def test_what_is_not_tried_is_named_beside_the_types_that_it_belongs_to():
    assert "inference components" in describe_untried(["real-time", "lambda"])
    assert "instance pools" in describe_untried(["real-time"])
    assert "inference components" not in describe_untried(["async"])
    assert describe_untried(["lambda", "serverless"]) == ""


def test_each_has_a_source_with_its_date_and_known_types():
    for offer in UNTRIED_OFFERS:
        assert offer.source.startswith("SageMaker developer guide")
        assert date.fromisoformat(offer.date)
        assert offer.beside <= set(KINDS)
