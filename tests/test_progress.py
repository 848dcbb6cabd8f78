"""How far work is: one output of a cell that is redrawn, or lines on stderr."""

from jupyter_client.manager import start_new_kernel

from workbench.progress import show_progress

IN_A_CELL = """
from workbench.progress import show_progress
with show_progress("Training <all>, once") as report:
    report(1, 12)
    report(12, 12)
"""


def test_a_file_gets_a_line_at_the_start_and_at_the_end(capsys):
    with show_progress("Counting") as report:
        for done in range(3):
            report(done, 2)

    assert capsys.readouterr().err == "Counting ...\nCounting: 2 of 2\n"


def test_a_terminal_gets_a_bar_that_is_drawn_over(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with show_progress("Counting") as report:
        report(1, 2)

    first, second = capsys.readouterr().err.split("\r")[1:]
    assert first == "Counting  [############............] 1 of 2 "
    assert second == f"{first}\n"


def test_a_shorter_part_of_the_work_covers_the_line_of_a_longer_one(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with show_progress("Counting") as report:
        report.begin("Measuring the first of them")
        report(0, 2)
        report.begin("Searching")
        report(1, 2)

    measured, searched, whole = capsys.readouterr().err.split("\r")[1:]
    assert measured.startswith("Measuring the first of them  [....")
    assert searched.startswith("Searching  [#")
    assert len(measured) == len(searched)
    assert whole.startswith("Counting  [#")


def test_a_cell_gets_one_output_with_a_bar_and_nothing_on_stderr():
    manager, client = start_new_kernel(startup_timeout=300)
    told = []
    try:
        client.execute_interactive(IN_A_CELL, timeout=300, output_hook=told.append)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

    shown = [each for each in told if "display_data" in each["msg_type"]]
    pages = [each["content"]["data"]["text/html"] for each in shown]
    assert [each["msg_type"] for each in shown] == ["display_data", *["update_display_data"] * 3]
    assert len({each["content"]["transient"]["display_id"] for each in shown}) == 1
    assert '<progress value="1" max="12" aria-label="Training &lt;all&gt;, once">' in pages[1]
    assert pages[-1] == '<div class="progress">Training &lt;all&gt;, once: 12 of 12 </div>'
    assert not [each for each in told if each["msg_type"] in ("stream", "error")]
