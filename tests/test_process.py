import os
import signal
import subprocess
import sys
import threading
import weakref
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests import tasks
from tests.refused import refused
from workbench.errors import InvalidInput, WorkbenchError
from workbench.process import release_memory, run_in_process


def test_messages_arrive_in_order_and_the_result_last():
    heard = []

    result = run_in_process(tasks.count_to, 5, on_message=heard.append)

    assert heard == [1, 2, 3, 4, 5]
    assert result == "counted to 5"


def test_the_task_runs_in_another_process():
    assert run_in_process(tasks.process_id, None, on_message=print) != os.getpid()


def test_stopping_reaches_the_task():
    stopped = threading.Event()

    result = run_in_process(
        tasks.wait_for_stop, None, on_message=lambda _: stopped.set(), stopped=stopped
    )

    assert result == "stopped"


def test_an_error_of_the_tree_comes_back_as_itself():
    with refused(InvalidInput, "not today"):
        run_in_process(tasks.refuse, "not today", on_message=print)


def test_a_foreign_error_comes_back_by_name():
    with refused(WorkbenchError, "ZeroDivisionError", "division by zero"):
        run_in_process(tasks.divide, 0, on_message=print)


def test_a_process_that_dies_says_how():
    with refused(WorkbenchError, "exit status 3", "so long"):
        run_in_process(tasks.die, "so long", on_message=print)


def test_a_process_that_is_stopped_is_not_waited_for():
    with refused(WorkbenchError, "SIGSTOP"):
        run_in_process(
            tasks.tell_id_and_wait,
            None,
            on_message=lambda child: os.kill(child, signal.SIGSTOP),
            max_silence=0.5,
        )


def test_a_process_that_is_stopped_before_it_has_read_its_work_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("workbench.process._PROGRAM", "import os; os.kill(os.getpid(), 19)")

    with refused(WorkbenchError, "SIGSTOP"):
        run_in_process(tasks.count_to, bytes(10_000_000), on_message=print, max_silence=0.5)


def test_a_process_that_computes_is_not_taken_for_stuck():
    assert run_in_process(tasks.compute, 1.5, on_message=print, max_silence=1) == "computed"


@pytest.mark.parametrize("state", ["R", "S"])
def test_a_process_that_waits_for_a_processor_is_not_taken_for_stuck(monkeypatch, state):
    monkeypatch.setattr("workbench.process._look", lambda _: (state, 7))
    stuck = nullcontext() if state == "R" else refused(WorkbenchError, "stuck", "0.2 s")
    with stuck:
        run_in_process(tasks.compute, 0.5, on_message=print, max_silence=0.2)


def test_what_cannot_be_sent_is_refused_at_once():
    with refused(InvalidInput, "lambda", "module"):
        run_in_process(lambda *_: None, None, on_message=print)


def test_a_failing_listener_ends_the_child():
    with pytest.raises(KeyError):
        run_in_process(tasks.count_to, 3, on_message={}.__getitem__)


def test_work_started_from_a_thread_needs_no_signals():
    results = []
    thread = threading.Thread(
        target=lambda: results.append(run_in_process(tasks.count_to, 2, on_message=print))
    )
    thread.start()
    thread.join()

    assert results == ["counted to 2"]


def script(body):
    """Start a plain script, without any guard, that prints what the task says and returns."""
    text = f"from tests import tasks\nfrom workbench.process import run_in_process\n{body}"
    return subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_an_interrupt_stops_the_task_and_keeps_its_result():
    started = script(
        "say = lambda message: print(message, flush=True)\n"
        "print(run_in_process(tasks.wait_for_stop, None, on_message=say))"
    )
    with started as process:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)

    assert out == "stopped\n"
    assert process.returncode == 0


def test_a_second_interrupt_ends_a_task_that_does_not_stop_and_keeps_its_messages():
    messages = []
    stopped = threading.Event()

    def interrupt(message):
        messages.append(message)
        signal.raise_signal(signal.SIGINT)

    result = run_in_process(tasks.ignore_stop, None, on_message=interrupt, stopped=stopped)

    assert result is None
    assert stopped.is_set()
    assert messages == ["waiting", "stopping"]


def test_a_third_interrupt_is_as_usual():
    def interrupt(_):
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_in_process(tasks.wait_for_stop, None, on_message=interrupt)


def test_the_child_ends_when_its_parent_is_killed():
    started = script(
        "run_in_process(tasks.tell_id_and_wait, None, on_message=lambda m: print(m, flush=True))"
    )
    with started as process:
        child = int(process.stdout.readline())
        watch = os.pidfd_open(child)
        process.kill()

    assert signal_of_exit(watch)


def signal_of_exit(descriptor):
    """Wait for the process behind a pidfd to end; tell whether it did within a minute."""
    import select

    try:
        return bool(select.select([descriptor], [], [], 60)[0])
    finally:
        os.close(descriptor)


def test_released_memory_holds_no_garbage():
    ring = {threading.Event()}
    event = next(iter(ring))
    event.ring, gone = ring, weakref.ref(event)
    del ring, event

    release_memory()

    assert gone() is None
