"""Two visitors' runs on one machine: one after the other, and each is told."""

import fcntl
import os
import threading

import pytest

from tests.refused import refused, unnamed
from workbench.errors import Stopped, StorageError
from workbench.widgets.live_progress import LiveProgress
from workbench.widgets.run_queue import RunQueue
from workbench.widgets.run_works import take_turn
from workbench.widgets.target_picker import OnAWS, ThisMachine


def test_who_comes_second_waits_and_both_know(tmp_path):
    queue, told, done = RunQueue(tmp_path), threading.Event(), []

    def second():
        def wait(ahead):
            done.append(ahead)
            told.set()

        with RunQueue(tmp_path).turn(threading.Event(), wait):
            done.append("second")

    with queue.turn(threading.Event()) as turn:
        assert turn.count(before=False) == 0
        other = threading.Thread(target=second)
        other.start()
        assert told.wait(60)
        assert turn.count(before=False) == 1
        done.append("first")
    other.join(60)

    assert done[0] == 1
    assert [each for each in done if isinstance(each, str)] == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_who_died_in_the_queue_is_not_waited_for(tmp_path):
    ticket = tmp_path / "00000000000000000001-1"
    ticket.touch()
    os.utime(ticket, (0, 0))

    with RunQueue(tmp_path).turn(threading.Event(), lambda _: pytest.fail("It waited.")):
        assert not ticket.exists()


def test_a_ticket_that_goes_while_it_is_looked_at_is_nobody_s(tmp_path, monkeypatch):
    ticket, lock = tmp_path / "00000000000000000001-1", fcntl.flock
    ticket.touch()

    def leave(*given):
        ticket.unlink(missing_ok=True)
        return lock(*given)

    monkeypatch.setattr(fcntl, "flock", leave)
    assert RunQueue(tmp_path).tickets() == []


def test_waiting_ends_at_a_stop_and_leaves_nothing(tmp_path):
    stopped = threading.Event()
    with RunQueue(tmp_path).turn(threading.Event()):
        waiting = RunQueue(tmp_path).turn(stopped, lambda _: stopped.set())
        with pytest.raises(Stopped):
            waiting.__enter__()
        assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        refused(StorageError, tmp_path / "file" / "queue"),
        RunQueue(tmp_path / "file" / "queue").turn(threading.Event()),
    ):
        pass


def test_runs_of_this_machine_queue_and_those_of_aws_do_not(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    live = LiveProgress()
    live.stopped.set()

    with take_turn(ThisMachine(), LiveProgress()) as turn:
        assert turn.count(before=True) == 0
        with take_turn(OnAWS(), live) as none:
            assert none is None
        with pytest.raises(Stopped), take_turn(ThisMachine(), live):
            pass
    assert not unnamed(live.doing, "1 other run")
