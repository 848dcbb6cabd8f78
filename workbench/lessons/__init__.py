"""Lessons for a class: each student predicts, then sees what comes out of traffic of their own.

`student` makes traffic of a name, `exercise` is what a lesson has; `cold_starts`, `batching` and
`spike` are the lessons. `classroom` is how a student takes one, `answers` how a
class is looked at together. `slides` and `nbgrader` write a lesson's notebook in other forms.
"""

from workbench.contents import resolve_late

__getattr__, __dir__, __all__ = resolve_late(
    __name__,
    {
        "answers": ["ClassAnswers", "collect_answers"],
        "classroom": ["TOPICS", "Lesson", "Reveal", "lesson"],
        "exercise": ["Exercise"],
    },
)
