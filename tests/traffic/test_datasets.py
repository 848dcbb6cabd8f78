import hashlib
import html
import math
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.refused import refused
from workbench.errors import Damaged, InvalidInput, NotAvailable, NotFound, StorageError
from workbench.traffic import datasets
from workbench.traffic.catalogue import CATALOGUE, cache_directory
from workbench.traffic.datasets import open_trace, public_traces

DATA = Path(__file__).parents[3] / "shared" / "data"

REQUESTS = b"TIMESTAMP,ContextTokens,GeneratedTokens\n" + b"".join(
    b"2026-01-31 12:00:%02d.0000001,4808,10\n" % second for second in range(0, 60, 2)
)
CALLS = b"app,func,end_timestamp,duration\na,f,12.5,0.5\na,g,11.0,10.0\na,f,0.1,0.3\n"
TICKS = b"".join(
    b'{"timestamp": %d, "input_length": 7, "output_length": 2, "hash_ids": [0, %d]}\n' % (at, at)
    for at in (0, 0, 3000, 5999)
)
MINUTES = (
    b"period,count\n2026-01-31 12:00:00,600\n2026-01-31 12:01:00,1200\n2026-01-31 12:04:00,300\n"
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A cache of the test's own, and no proxy before the loopback."""
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


@pytest.fixture(scope="module")
def origin():
    """The address of a server that answers with what was asked for by name, and who asked."""
    files, asked = {"/requests.csv": REQUESTS, "/minutes.csv": MINUTES}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files.get(self.path)
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *words):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


@pytest.fixture
def known(monkeypatch, origin):
    """A function that puts a trace into the catalogue."""

    def know(name, content, *, of="azure-llm-2023-code", url=None, **more):
        facts = {
            "name": name,
            "url": url or f"{origin[0]}/{name}.csv",
            "sha256": hashlib.sha256(content).hexdigest(),
            "begins": "2026-01-31 12:00:00",
        }
        entry = replace(CATALOGUE[of], **facts | more)
        monkeypatch.setattr(datasets, "CATALOGUE", {**datasets.CATALOGUE, name: entry})
        return entry

    return know


@pytest.fixture
def by_hand(known):
    """A function that puts a trace into the catalogue and its file into the cache."""

    def put(name, content, **more):
        entry = known(name, content, **more)
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        entry.path.write_bytes(content)
        return entry

    return put


# ---------------------------------------------------------------------- the file


def test_a_trace_is_downloaded_once_and_kept(known, origin, home):
    entry = known("requests", REQUESTS)

    first, second = open_trace("requests"), open_trace("requests")

    assert first == second
    assert len(first) == 30
    assert origin[1].count("/requests.csv") == 1
    assert entry.path == home / "cache" / "traces" / "requests.csv"
    assert entry.path.read_bytes() == REQUESTS


def test_offline_the_error_names_the_place_and_the_hash(known):
    with socket.socket() as unheard:  # bound and not listening: connections are refused
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/requests.csv"
        entry = known("requests", REQUESTS, url=url)
        with pytest.raises(NotAvailable) as caught:
            open_trace("requests")

    for needed in (url, str(entry.path), entry.sha256, "path="):
        assert needed in str(caught.value)


def test_an_origin_that_lost_the_file_is_not_available(known, origin):
    known("gone", REQUESTS)

    with refused(NotAvailable, "gone.csv", "HTTPError") as caught:
        open_trace("gone")
    assert caught.value.__cause__.response.raw.closed


def test_a_download_that_is_not_the_published_file_is_not_kept(known, origin):
    entry = known("requests", b"something else")

    with refused(Damaged, "requests.csv", hashlib.sha256(b"something else").hexdigest()):
        open_trace("requests")

    assert not list(entry.path.parent.iterdir())


def test_a_file_put_there_by_hand_is_used(by_hand):
    by_hand("elsewhere", REQUESTS, url="http://127.0.0.1:9/never-asked")

    assert len(open_trace("elsewhere")) == 30


def test_a_cached_file_that_changed_is_refused(by_hand):
    entry = by_hand("requests", REQUESTS)
    entry.path.write_bytes(REQUESTS[:-1])

    with refused(Damaged, "requests.csv", hashlib.sha256(REQUESTS[:-1]).hexdigest()):
        open_trace("requests")


def test_a_cache_that_cannot_be_written_is_named(known, home):
    known("requests", REQUESTS)
    (home / "cache").write_text("a file where the directory belongs")

    with refused(StorageError, home / "cache" / "traces"):
        open_trace("requests")


def test_a_downloaded_file_is_read_from_its_path(known, tmp_path):
    known("requests", REQUESTS)
    path = tmp_path / "mine.csv"
    path.write_bytes(REQUESTS)

    assert len(open_trace("requests", path=path)) == 30
    assert not (tmp_path / "cache").exists()


def test_another_file_at_the_path_is_refused(known, tmp_path):
    known("requests", REQUESTS)
    (tmp_path / "other.csv").write_bytes(MINUTES)

    with refused(InvalidInput, "other.csv", hashlib.sha256(MINUTES).hexdigest()):
        open_trace("requests", path=tmp_path / "other.csv")
    with refused(NotFound, tmp_path / "none.csv"):
        open_trace("requests", path=tmp_path / "none.csv")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with refused(NotFound, "azure", "azure-llm-2023-code"):
        open_trace("azure")


def test_the_cache_is_the_users_without_a_home_of_the_workbench(monkeypatch, tmp_path):
    monkeypatch.delenv("WORKBENCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))

    assert cache_directory().name == "inference-workbench"


# ---------------------------------------------------------------------- the trace


def test_requests_are_replayed_from_the_first_one_on(by_hand):
    by_hand("requests", REQUESTS)

    trace = open_trace("requests")

    assert trace.arrivals == pytest.approx(np.arange(0, 60, 2) + 1e-7, abs=1e-12)
    assert trace.name == "open_trace('requests', seed=0)"


@pytest.mark.parametrize("window", [(20, 30), ("2026-01-31 12:00:20", "2026-01-31T12:00:30Z")])
def test_a_part_is_named_in_seconds_or_by_the_clock(by_hand, window):
    by_hand("requests", REQUESTS)

    part = open_trace("requests", start=window[0], stop=window[1])

    assert part.arrivals == pytest.approx([0, 2, 4, 6, 8], abs=1e-6)
    assert part.duration == 10
    assert f"start={window[0]!r}, stop={window[1]!r}" in part.name


def test_counts_per_minute_become_as_many_requests_in_their_minutes(by_hand):
    by_hand("minutes", MINUTES, of="worldcup98")

    trace = open_trace("minutes", seed=1)

    assert trace.counts(60).tolist() == [600, 1200, 0, 0, 300]
    assert trace == open_trace("minutes", seed=1)
    assert trace != open_trace("minutes", seed=2)


def test_a_part_of_the_minutes_may_begin_and_end_within_one(by_hand):
    by_hand("minutes", MINUTES, of="worldcup98")

    part = open_trace("minutes", start="2026-01-31 12:00:30", stop=90, seed=1)

    assert part.duration == 60
    assert (abs(part.counts(30) - [300, 600]) < 5 * np.sqrt([300 / 2, 600 / 2])).all()


@pytest.mark.parametrize(("name", "content", "total"), [("r", REQUESTS, 30), ("m", MINUTES, 2100)])
def test_a_share_keeps_as_much_of_the_requests(by_hand, name, content, total):
    by_hand(name, content, of="worldcup98" if name == "m" else "azure-llm-2023-code")

    kept = [len(open_trace(name, share=0.5, seed=seed)) for seed in range(20)]

    assert abs(np.mean(kept) - total / 2) < 5 * math.sqrt(total / 4 / 20)
    assert "share=0.5" in open_trace(name, share=0.5, seed=1).name


def test_what_names_no_trace_is_not_found():
    for name in (5, None, ["azure-llm-2023-code"]):
        with refused(NotFound, name, "azure-llm-2023-code"):
            open_trace(name)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"start": 200, "stop": 100}, ["start=200", "stop=100", 300]),
        ({"stop": 301}, ["stop=301", 300]),
        ({"start": "2026-01-31 11:00"}, ["start=-3600.0", 300]),
        ({"start": "the beginning"}, ["the beginning"]),
        ({"start": 120, "stop": 180}, ["counts", 0]),
        ({"share": 2}, ["share", 2]),
        ({"share": 0.5, "seed": -1}, ["seed", -1]),
    ],
)
def test_a_part_that_is_not_in_the_trace_is_refused(by_hand, part, named):
    by_hand("minutes", MINUTES, of="worldcup98")

    with refused(InvalidInput, *named):
        open_trace("minutes", **part)


def test_more_requests_than_fit_are_refused_with_what_to_do(by_hand):
    by_hand("minutes", MINUTES.replace(b"1200", b"60000000"), of="worldcup98")

    with refused(InvalidInput, "60,000,900", "start=", "stop=", "share="):
        open_trace("minutes")


def test_times_in_milliseconds_and_json_lines_are_seconds(by_hand):
    by_hand("ticks", TICKS, of="mooncake-tools", begins="")

    assert open_trace("ticks").arrivals.tolist() == [0, 0, 3, 5.999]
    assert open_trace("ticks", start=3).arrivals.tolist() == pytest.approx([0, 2.999])
    with refused(InvalidInput, "ticks", "2026-01-31"):
        open_trace("ticks", start="2026-01-31")


def test_whole_seconds_beside_other_columns_are_put_in_order(by_hand):
    rows = b"Timestamp,Model,Request tokens\n5,ChatGPT,472\n45,GPT-4,18\n7,ChatGPT,3\n"
    by_hand("seconds", rows, of="burstgpt")

    assert open_trace("seconds").arrivals.tolist() == [5, 7, 45]


# ---------------------------------------------------------------------- archives


@pytest.fixture
def program(monkeypatch, tmp_path):
    """A function that installs a reader of archives which prints what it is told to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(name, content):
        (folder / f"{name}.txt").write_bytes(content)
        (folder / name).write_text(f"#!/bin/sh\n/bin/cat {folder / name}.txt\n")
        (folder / name).chmod(0o755)

    return install


@pytest.fixture
def packed(by_hand):
    """The public trace in an archive, its file in the cache."""
    unpacked = hashlib.sha256(CALLS).hexdigest()
    return by_hand("calls", b"Rar!", of="azure-functions-2021", unpacked=unpacked)


def test_calls_in_an_archive_arrive_when_they_began(packed, program):
    program("unrar", CALLS)

    trace = open_trace("calls")

    assert trace.arrivals.tolist() == [0, 1, 12]
    assert trace.duration == 14 * 86_400
    assert open_trace("calls", start="2026-01-31 12:00:01", stop=2).arrivals.tolist() == [0]


def test_without_a_reader_the_error_says_how_to_get_one(packed, program):
    with refused(NotAvailable, "calls.rar", "unrar", "path="):
        open_trace("calls")


def test_a_reader_that_fails_is_passed_over_for_the_next(packed, program):
    program("unrar", CALLS[:-9])
    program("bsdtar", CALLS)

    assert len(open_trace("calls")) == 3


def test_readers_that_all_fail_are_named(packed, program):
    program("7z", b"")

    with refused(Damaged, "7z", "calls.rar"):
        open_trace("calls")
    assert [each.name for each in packed.path.parent.iterdir()] == ["calls.rar"]


def test_what_was_taken_out_is_kept_and_taken_by_hand(packed, program, tmp_path):
    (tmp_path / "calls.txt").write_bytes(CALLS)

    assert len(open_trace("calls", path=tmp_path / "calls.txt")) == 3
    program("unrar", CALLS)
    open_trace("calls")
    program("unrar", b"never asked again")
    assert len(open_trace("calls")) == 3


# ---------------------------------------------------------------------- the catalogue


def test_the_catalogue_says_whose_data_on_what_terms():
    table = public_traces()

    assert table["name"].to_list() == list(CATALOGUE)
    assert table.null_count().sum_horizontal().item() == 0
    assert table["url"].str.starts_with("https://raw.githubusercontent.com/").all()
    assert table["url"].str.contains(r"/[0-9a-f]{40}/").all()  # a pinned commit
    assert table["sha256"].str.contains(r"^[0-9a-f]{64}$").all()


def test_the_notices_travel_with_the_traces(by_hand):
    by_hand("requests", REQUESTS)
    by_hand("minutes", MINUTES, of="worldcup98")

    assert "CC BY 4.0" in open_trace("requests").notice
    notice = (open_trace("minutes") + open_trace("requests")).clip(0, 200).notice
    assert "Copyright (C) 1997, 1998, 1999 Hewlett-Packard Company" in notice
    assert "non-commercial purposes only" in notice
    assert "http://ita.ee.lbl.gov/html/contrib/WorldCup.html" in notice


# ---------------------------------------------------------------------- the published files


def published(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no shared/data/{name} beside the checkout: the published file not checked")
    return path


@pytest.mark.parametrize(
    ("name", "file", "count", "minutes", "scv"),
    [
        ("azure-llm-2023-code", "azure_llm_2023_code.csv", 8819, 57.27, 173),
        ("azure-llm-2023-conv", "azure_llm_2023_conv.csv", 19366, 58.36, None),
    ],
)
def test_the_azure_traces_are_those_published(name, file, count, minutes, scv):
    trace = open_trace(name, path=published(file))

    assert len(trace) == count
    assert trace.arrivals[0] == 0
    assert trace.duration / 60 == pytest.approx(minutes, abs=0.01)
    assert scv is None or trace.describe()["scv"] == pytest.approx(scv, abs=0.5)


def test_the_world_cup_is_the_one_published():
    path = published("worldcup98_invocation_count.csv")
    day = pl.read_csv(path).filter(pl.col("period").str.starts_with("1998-06-26"))["count"]
    begins = pl.read_csv(path, n_rows=1)["period"].item()

    trace = open_trace("worldcup98", path=path, start="1998-06-26", stop="1998-06-27", share=0.001)

    assert begins == CATALOGUE["worldcup98"].begins
    assert abs(len(trace) - day.sum() / 1000) < 5 * math.sqrt(day.sum() / 1000)
    busiest = trace.counts(60).argmax()
    assert abs(busiest - day.arg_max()) < 60
    with refused(InvalidInput, "1,352,804,107"):
        open_trace("worldcup98", path=path)
    with refused(InvalidInput, "7,518,600"):
        open_trace("worldcup98", path=path, start="1999-01-01")


def test_the_world_cups_notice_is_the_one_published():
    page = published("worldcup98_notice.html").read_text(encoding="utf-8")

    for line in CATALOGUE["worldcup98"].notice.splitlines()[4:]:
        assert line in html.unescape(page)
