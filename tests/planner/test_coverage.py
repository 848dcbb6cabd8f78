"""What a plan says that it did not try."""

from datetime import date

from workbench.planner.coverage import NOT_COVERED, describe_untried


def test_what_is_not_tried_is_named_with_its_source_and_date():
    said = describe_untried()

    assert "inference components" in said
    assert "instance pools" in said
    for offer in NOT_COVERED:
        assert f"({offer.source}, read {offer.date})" in said
        assert date.fromisoformat(offer.date)
