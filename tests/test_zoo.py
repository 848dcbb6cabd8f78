"""The ready-made models: what they are and how they come into a registry."""

from workbench import zoo
from workbench.registry import Model, Registry


def test_every_ready_made_model_is_approved(registry: Registry):
    assert registry.groups() == sorted(zoo.NAMES)
    assert {registry[name].approval for name in registry} == {"Approved"}


def test_the_small_model_reads_digits(model: Model):
    samples = model.samples()
    right = model.correct(model.session().run(samples.inputs), samples.targets)

    assert right.mean() == model.traits.accuracy > 0.9
