"""Groups, versions, approvals, and what a crash, a neighbour or a bad disk does to them."""

import contextlib
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression

from tests.graphs import WEIGHTS, linear, lookup, mean, one_node
from tests.refused import refused, unnamed
from workbench.errors import Damaged, InvalidInput, InvalidModel, NotFound, StorageError
from workbench.registry.api import Registry, Samples
from workbench.registry.model import Change, correct
from workbench.registry.store import RegistryStore

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([0, 0, 1, 1])


@pytest.fixture
def mine(tmp_path):
    """An empty registry of the test's own."""
    return Registry(tmp_path / "registry")


def script(text, *arguments):
    """Start Python on a text; the process reads and writes as its parent tells."""
    command = [sys.executable, "-c", text, *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **pipes)


def answer(process, said=""):
    printed, errors = process.communicate(said)
    assert process.returncode == 0, errors
    return printed.strip()


# Versions and approval


def test_versions_count_from_one(mine):
    made = [mine.register("group", linear()) for _ in range(3)]

    assert [each.version for each in made] == [1, 2, 3]
    assert mine.versions("group") == made
    assert mine.register("other", linear()).name == "other:1"


def test_a_registry_is_read_like_a_dictionary_of_groups(mine):
    mine.register("b", linear())
    mine.register("a", linear())

    assert list(mine) == mine.groups() == ["a", "b"]
    assert len(mine) == 2
    assert "a" in mine
    assert "c" not in mine


def test_the_newest_approved_version_is_the_group(mine):
    for version in (1, 2, 3):
        mine.register("group", linear(), approval="Approved" if version < 3 else "Rejected")

    assert mine["group"].version == 2
    assert mine.reject("group", 2).approval == "Rejected"
    assert mine["group"].version == 1
    assert mine.approve("group", 3) == mine["group"]
    assert [each.name for each in mine.models()] == ["group:3"]


def test_an_unapproved_version_must_be_named(mine):
    made = mine.register("group", linear())

    assert made.approval == "PendingManualApproval"
    with refused(NotFound, "group", "version 1", "registry.approve('group', 1)"):
        mine["group"]
    assert mine["group:1"] == mine[made.name] == mine.version("group", 1) == made
    assert mine.models() == []


def test_what_is_missing_is_said_with_what_is_known(mine):
    with refused(NotFound, "x", "none yet", mine.path):
        mine["x"]
    mine.register("a", linear())
    mine.register("b", linear(), approval="Approved")

    with refused(NotFound, "x", "a, b", mine.path):
        mine["x"]
    with refused(NotFound, "a", "version 2", "1 (PendingManualApproval)"):
        mine.version("a", 2)
    for ask in (mine.history, mine.approve, mine.reject):
        with refused(NotFound, "b", "version 2"):
            ask("b", 2)
    with refused(NotFound, "b", "one", "1 (Approved)"):
        mine["b:one"]


def test_a_timeout_is_seconds(tmp_path):
    with refused(InvalidInput, "timeout", "long"):
        Registry(tmp_path, timeout="long")


def test_names_are_texts(mine):
    for ask in (mine.__getitem__, mine.versions, lambda name: mine.history(name, 1)):
        with refused(InvalidInput, 5):
            ask(5)


def test_every_change_is_kept_with_who_when_and_why(tmp_path):
    hours = (
        datetime(2026, 1, 2, hour, tzinfo=timezone(timedelta(hours=1))) for hour in (9, 10, 11)
    )
    mine = Registry(tmp_path, clock=lambda: next(hours))
    mine.register("group", linear(), who="ann", why="first")
    mine.approve("group", 1, who="bob", why="good enough")
    model = mine.set_stage("group", 1, "Production")

    assert (model.approval, model.stage) == ("Approved", "Production")
    assert model.created == "2026-01-02T08:00:00.000+00:00"
    changes = mine.history("group", 1)
    assert changes[:3] == [
        Change(
            "2026-01-02T08:00:00.000+00:00", "ann", "approval", "PendingManualApproval", "first"
        ),
        Change("2026-01-02T08:00:00.000+00:00", "ann", "stage", "Development", "first"),
        Change("2026-01-02T09:00:00.000+00:00", "bob", "approval", "Approved", "good enough"),
    ]
    assert changes[3].who  # the user of this process


def test_a_user_without_a_name_is_unknown(mine, monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    mine.register("group", linear())

    assert {each.who for each in mine.history("group", 1)} == {"unknown"}


def test_times_are_utc_by_default(mine):
    created = datetime.fromisoformat(mine.register("group", linear()).created)

    assert created.tzinfo == UTC


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE history SET value = 'Approved'",
        "DELETE FROM history",
        "UPDATE versions SET sha256 = ''",
    ],
)
def test_what_happened_cannot_be_changed(mine, statement):
    mine.register("group", linear())

    with (
        contextlib.closing(sqlite3.connect(mine.path / "registry.db")) as database,
        refused(sqlite3.IntegrityError, "fixed"),
    ):
        database.execute(statement)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["approve", "reject"])), max_size=8))
@settings(max_examples=15, deadline=None)
def test_any_run_of_decisions_ends_in_the_last_one_of_each_version(decisions):
    with tempfile.TemporaryDirectory() as folder:
        mine = Registry(folder)
        for _ in range(3):
            mine.register("group", linear())
        for version, decision in decisions:
            getattr(mine, decision)("group", version)

        approved = sorted(v for v, decision in dict(decisions).items() if decision == "approve")
        assert [each.version for each in mine.models()] == approved[-1:]


# What is registered


def test_a_version_tells_its_traits(mine, tmp_path):
    path = tmp_path / "linear.onnx"
    path.write_bytes(linear())
    lineage = {"seed": 7}
    model = mine.register("group", path, task="sums", framework="by hand", lineage=lineage)

    traits = model.traits
    assert (traits.task, traits.kind, traits.framework) == ("sums", "other", "by hand")
    assert (traits.accuracy, traits.metric, traits.accuracy_data) == (None, "", "")
    assert str(traits.input_schema) == "x: float32 (batch, 3)"
    assert [each.name for each in traits.output_schema] == ["y", "z"]
    assert traits.opset == 17
    assert traits.size_bytes == model.size_bytes == len(linear())
    assert model.lineage["seed"] == 7
    assert "inference-workbench" in model.lineage["code_version"]
    assert model.path.read_bytes() == linear()
    assert repr(model) == "Model(group:1, PendingManualApproval, 0.2 kB)"


def test_a_model_is_a_value(mine):
    model = mine.register("group", linear())

    assert pickle.loads(pickle.dumps(model)) == model == mine["group:1"]  # noqa: S301 - our own
    assert len({model, mine["group:1"]}) == 1


def test_accuracy_is_measured_by_running_the_stored_file(mine):
    estimator = LogisticRegression().fit(ROWS, LABELS)
    wrong = np.array([0, 1, 1, 1])
    model = mine.register("group", estimator, samples=Samples(ROWS, wrong), data="toy rows")

    assert model.traits.accuracy == 0.75
    assert model.traits.metric == "accuracy"
    assert model.traits.accuracy_data == "4 held-out rows of toy rows"
    assert model.traits.framework.startswith("scikit-learn")
    assert "accuracy 0.750" in repr(model)


def test_a_regressor_is_measured_by_r2(mine):
    targets = ROWS @ np.array([1.0, 2.0, 3.0])
    estimator = LinearRegression().fit(ROWS, targets)
    model = mine.register("group", estimator, samples=Samples(ROWS, targets))

    assert model.traits.metric == "r2"
    assert model.traits.accuracy == pytest.approx(1.0, abs=1e-6)
    constant = mine.register("group", estimator, samples=Samples(ROWS, np.ones(4)))
    assert constant.traits.accuracy is None


def test_a_known_accuracy_is_kept_where_none_can_be_measured(mine):
    model = mine.register("g", linear(), kind="classification", accuracy=0.9, data="paper")

    assert (model.traits.accuracy, model.traits.metric) == (0.9, "accuracy")
    assert model.traits.accuracy_data == "paper"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (one_node("ArgMax", output=TensorProto.INT64, axis=1, keepdims=1), "classification"),
        (one_node("ReduceSum", keepdims=0, noop_with_empty_axes=1), "other"),
        (linear(), "other"),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_first_output(mine, content, kind):
    assert mine.register("group", content).traits.kind == kind


def test_an_estimator_that_neither_sorts_nor_predicts_values_is_other(mine):
    clusters = KMeans(2, n_init=1, random_state=0).fit(ROWS)

    assert mine.register("group", clusters, samples=ROWS).traits.kind == "other"


def test_text_labels_are_counted_too(mine):
    names = np.array(["low", "low", "high", "high"], dtype=object)
    estimator = LogisticRegression().fit(ROWS, names)
    model = mine.register("group", estimator, samples=Samples(ROWS, names))

    assert model.traits.accuracy == 1.0
    assert model.samples().targets.tolist() == names.tolist()


def test_rows_are_right_by_label_or_by_largest_score():
    scores = np.array([[0.1, 0.9], [0.8, 0.2]])

    assert correct(np.array([1, 1]), np.array([1, 0])).tolist() == [True, False]
    assert correct(np.array([[1], [1]]), np.array([1, 0])).tolist() == [True, False]
    assert correct(scores, np.array([1, 1])).tolist() == [True, False]


def test_only_a_classifier_counts_right_answers(mine):
    scores = mine.register("a", linear(), kind="classification")
    values = mine.register("b", linear(), kind="regression")

    assert scores.correct(ROWS @ WEIGHTS, np.zeros(4, int)).all()
    assert values.correct(ROWS @ WEIGHTS, np.zeros(4)) is None


def test_samples_come_back_as_given_in_the_models_type(mine):
    given_rows = ROWS.astype(np.float64)
    samples = mine.register("group", linear(), samples=given_rows).samples()

    assert samples.inputs.dtype == np.float32
    assert np.array_equal(samples.inputs, ROWS)
    assert samples.targets is None
    assert repr(samples) == "Samples(4 rows, without targets)"
    with pytest.raises(ValueError, match="read-only"):
        samples.inputs[0] = 0


def test_without_samples_a_seeded_random_pool_is_made_and_marked(mine):
    first, again, other = (mine.register("group", linear(), seed=seed) for seed in (3, 3, 4))

    assert first.traits.samples == "random, seed 3"
    assert first.samples().inputs.shape == (256, 3)
    assert first.samples_sha256 == again.samples_sha256 != other.samples_sha256


def test_a_random_pool_of_whole_numbers_is_zeros_and_ones(mine):
    inputs = mine.register("group", linear(kind=TensorProto.INT32)).samples().inputs

    assert inputs.dtype == np.int32
    assert set(np.unique(inputs)) == {0, 1}


def test_a_random_pool_of_long_rows_is_short(mine):
    wide = one_node("Relu", inputs=[("x", TensorProto.FLOAT, ["n", 2**19])])

    assert len(mine.register("group", wide).samples()) == 8


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"group": "under_score"}, ["group", "under_score"]),
        ({"group": "-a"}, ["group", "'-a'"]),
        ({"group": "a" * 64}, ["group", "a" * 64]),
        ({"group": ""}, ["group", "''"]),
        ({"approval": "Fine"}, ["approval", "Fine"]),
        ({"kind": "ranking"}, ["kind", "ranking"]),
        ({"stage": ""}, ["stage", 63, "''"]),
        ({"lineage": {"a": object()}}, ["lineage", "JSON", "object"]),
        ({"lineage": ["a"]}, ["lineage", "['a']"]),
        ({"accuracy": float("nan")}, ["accuracy", "nan"]),
        ({"accuracy": "high"}, ["accuracy", "high"]),
        ({"seed": True}, ["seed", True]),
        ({"group": 5}, ["group", 5]),
        ({"stage": None}, ["stage", None]),
        ({"task": 5}, ["task", 5]),
        ({"who": 5}, ["who", 5]),
        ({"why": None}, ["why", None]),
        ({"samples": [[1.0], [1.0, 2.0]]}, ["rows", "one list"]),
        ({"samples": [["a", "b", "c"]]}, ["samples", "<U1", "x: float32"]),
        ({"samples": ROWS[:, :2]}, ["samples", "(4, 2)", "x: float32 (batch, 3)"]),
        ({"samples": ROWS[:0]}, ["Samples", "(0, 3)"]),
        ({"source": 7}, ["int", "ONNX"]),
        ({"source": b"not ONNX"}, ["model", "ONNX"]),
        (
            {"source": one_node("Relu", inputs=[("x", TensorProto.FLOAT, ["n", "any"])])},
            ["x: float32 (batch, any)", "samples"],
        ),
        ({"source": lookup()}, ["samples", "row 1", "Gather"]),
        (
            {"source": one_node("ReduceSum", keepdims=1, noop_with_empty_axes=0)},
            ["2 rows", "1 answer"],
        ),
        ({"source": mean()}, ["1 row", "0 answers"]),
    ],
)
def test_what_cannot_be_registered_leaves_nothing(mine, arguments, named):
    arguments = {"group": "group", "source": linear()} | arguments

    with refused(InvalidInput, *named):
        mine.register(**arguments)
    assert mine.groups() == []
    assert not mine.path.exists()


def test_targets_must_match_the_rows():
    with refused(InvalidInput, "targets", "(4,)", "(3,)"):
        Samples(ROWS, LABELS[:3])


def test_a_missing_file_is_not_found(mine):
    with refused(NotFound, mine.path / "none.onnx"):
        mine.register("group", mine.path / "none.onnx")


def test_a_pickle_is_refused(mine, tmp_path):
    path = tmp_path / "model.joblib"
    path.write_bytes(b"")

    with refused(InvalidModel, path, "pickle"):
        mine.register("group", path)


# Showing


def test_the_table_has_a_row_for_each_version(mine):
    assert mine.table().is_empty()
    mine.register("a", linear(), approval="Approved")
    mine.register("a", linear())
    table = mine.table()

    assert table["version"].to_list() == [1, 2]
    assert table["approval"].to_list() == ["Approved", "PendingManualApproval"]
    assert table["size_bytes"].to_list() == [len(linear())] * 2
    assert table["accuracy"].null_count() == 2
    assert table.schema == Registry(mine.path / "empty").table().schema


def test_a_registry_shows_itself(mine):
    mine.register("group", linear(), stage="<b>")

    assert repr(mine) == f"Registry({str(mine.path)!r}, 1 groups)"
    assert "&lt;b&gt;" in mine._repr_html_()


# Files


def test_equal_content_is_stored_once(mine):
    mine.register("a", linear())
    mine.register("b", linear())

    assert len(list(mine.artifacts.iterdir())) == 2


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_file_is_found_and_never_used(mine):
    good, bad = mine.register("group", linear()), mine.register("group", linear(note="2"), seed=1)
    damage(bad.path)
    bad.samples_path.unlink()

    found = mine.verify()
    for told, path in zip(found, (bad.path, bad.samples_path), strict=True):
        assert not unnamed(told, "group:2", path)
    for use in (bad.session, bad.samples):
        with refused(Damaged, "group:2"):
            use()
    assert good.session().run(ROWS).shape == (4, 2)


def test_registering_the_content_again_mends_a_damaged_file(mine):
    model = mine.register("group", linear())
    damage(model.path)
    mine.register("group", linear())

    assert mine.verify() == []


# Versions that are removed


def test_a_removed_version_is_gone_and_its_history_stays(mine):
    mine.register("group", linear(), approval="Approved")
    gone = mine.register("group", linear(note="2"), approval="Approved")

    mine.remove("group", 2, who="ann", why="trained on the wrong data")

    assert mine["group"].version == 1
    assert [each.version for each in mine.versions("group")] == [1]
    assert mine.table()["version"].to_list() == [1]
    last = mine.history("group", 2)[-1]
    assert (last.who, last.field, last.value) == ("ann", "approval", "Removed")
    assert last.why == "trained on the wrong data"
    for ask in (mine.version, mine.approve, mine.remove):
        with refused(NotFound, "group", "version 2", "1 (Approved)"):
            ask("group", 2)
    assert not gone.path.exists()
    assert mine.verify() == []
    assert mine.register("group", linear(note="3")).version == 3


def test_a_group_without_versions_is_gone(mine):
    mine.register("group", linear())
    mine.remove("group", 1)

    assert mine.groups() == []
    assert mine.groups(removed=True) == ["group"]
    assert list(mine.artifacts.iterdir()) == []
    with refused(NotFound, "group", "none yet"):
        mine.version("group", 1)


def test_a_file_that_another_version_has_stays(mine):
    first = mine.register("group", linear())
    second = mine.register("other", linear())
    assert first.path == second.path

    mine.remove("group", 1)
    assert mine.verify() == []
    assert first.path.exists()
    mine.remove("other", 1)
    assert list(mine.artifacts.iterdir()) == []


# Storage that fails


@contextlib.contextmanager
def without_rights():
    """Root may write anywhere, so be nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that anyone may read, but only its owner may write."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        yield Path(folder)
        Path(folder).chmod(0o755)


def test_a_registry_that_may_only_be_read_can_be_read(open_folder):
    open_folder.chmod(0o755)
    model = Registry(open_folder).register("group", linear(), approval="Approved")
    open_folder.chmod(0o555)

    with without_rights():
        registry = Registry(open_folder)
        assert not registry.writable
        assert registry["group"] == model
        assert registry.verify() == []
        for change in (
            lambda: registry.register("group", linear(note="2")),
            lambda: registry.approve("group", 1),
            lambda: registry.remove("group", 1),
            lambda: registry.alone().__enter__(),
        ):
            with refused(StorageError, open_folder, "permission"):
                change()
    assert not list(open_folder.glob("registry.db-*"))


def test_a_registry_that_may_only_be_read_shows_what_a_writer_writes(open_folder):
    open_folder.chmod(0o755)
    writing = Registry(open_folder)
    writing.register("group", linear())
    with contextlib.closing(sqlite3.connect(open_folder / "registry.db")) as neighbour:
        neighbour.execute("SELECT COUNT(*) FROM versions").fetchone()  # so that the log stays
        writing.register("group", linear())
        open_folder.chmod(0o555)

        with without_rights():
            assert len(Registry(open_folder).versions("group")) == 2


def test_a_folder_that_may_only_be_read_and_is_anothers_is_left_alone(open_folder):
    open_folder.chmod(0o755)
    with contextlib.closing(sqlite3.connect(open_folder / "registry.db")) as database:
        database.execute("CREATE TABLE theirs (a)")
    open_folder.chmod(0o555)

    with without_rights(), refused(StorageError, "registry.db", "program"):
        Registry(open_folder)


def test_a_read_only_directory_is_one_clear_error(open_folder):
    with without_rights(), refused(StorageError, open_folder / "registry", "Permission denied"):
        Registry(open_folder / "registry").register("group", linear())


def test_who_reads_a_registry_that_is_not_there_leaves_nothing(mine):
    with refused(NotFound, "x", "none yet"):
        mine["x"]

    assert (mine.groups(), mine.models(), mine.verify()) == ([], [], [])
    assert mine.table().is_empty()
    assert not mine.path.exists()
    other = Registry(mine.path)
    mine.register("group", linear())
    assert other.groups() == ["group"]


def test_a_file_in_the_way_is_one_clear_error(tmp_path):
    (tmp_path / "registry").write_text("")

    with refused(StorageError, tmp_path / "registry"):
        Registry(tmp_path / "registry")


def test_a_full_disk_leaves_the_registry_as_it_was(mine):
    mine.register("group", linear())
    before = sorted(mine.artifacts.iterdir())
    (mine.artifacts / "incoming").symlink_to("/dev/full")

    with refused(StorageError, mine.path, "No space left on device"):
        mine.register("group", linear(note="2"))
    assert sorted(mine.artifacts.iterdir()) == before
    assert mine.register("group", linear(note="2")).version == 2


def test_a_database_that_cannot_grow_leaves_the_registry_as_it_was(mine, monkeypatch):
    lineage, connect = {"long": "x" * 100_000}, RegistryStore.connect

    def connect_to_a_small_one(store):
        database = connect(store)
        database.execute("PRAGMA max_page_count = 1")
        return database

    monkeypatch.setattr(RegistryStore, "connect", connect_to_a_small_one)

    with refused(StorageError, mine.path, "database or disk is full"):
        mine.register("group", linear(), lineage=lineage)
    assert mine.groups() == []


def test_a_locked_database_is_one_clear_error(mine):
    mine.register("group", linear())
    impatient = Registry(mine.path, timeout=0.01)

    with contextlib.closing(sqlite3.connect(mine.path / "registry.db")) as database:
        database.execute("BEGIN IMMEDIATE")
        with refused(StorageError, mine.path, "process"):
            impatient.register("group", linear())
        assert impatient.versions("group")  # reading goes on
    assert impatient.register("group", linear()).version == 2


def test_a_corrupt_database_is_damaged(mine):
    mine.path.mkdir()
    path = mine.path / "registry.db"
    path.write_bytes(b"no database at all" * 1000)

    for use in (lambda: Registry(mine.path), mine.groups, mine.verify):
        with refused(Damaged, path):
            use()


def test_a_database_with_damaged_pages_is_damaged(mine):
    mine.register("group", linear())
    path = mine.path / "registry.db"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))

    with refused(Damaged, path):
        mine.versions("group")


def test_another_programs_database_is_left_alone(tmp_path):
    path = tmp_path / "registry.db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (a)")
    before = path.read_bytes()

    with refused(StorageError, "registry.db", "program"):
        Registry(tmp_path)
    assert path.read_bytes() == before


def test_a_newer_registry_is_left_alone(mine):
    mine.register("group", linear())
    with contextlib.closing(sqlite3.connect(mine.path / "registry.db")) as database:
        database.execute("PRAGMA user_version = 99")

    with refused(StorageError, "newer"):
        Registry(mine.path)


# Several processes, and ones that die

REGISTER = """
import sys
from pathlib import Path
from workbench.registry.api import Registry
content = Path(sys.argv[2]).read_bytes()
sys.stdin.readline()
registry = Registry(sys.argv[1])
print(*[registry.register("group", content).version for _ in range(5)])
"""


def test_processes_that_register_at_once_get_a_version_each(tmp_path):
    (tmp_path / "model.onnx").write_bytes(linear())
    folder = tmp_path / "registry"
    processes = [script(REGISTER, folder, tmp_path / "model.onnx") for _ in range(3)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()

    made = [int(each) for process in processes for each in answer(process).split()]
    assert sorted(made) == list(range(1, 16))
    assert len(Registry(folder).versions("group")) == 15


DIE = """
import os, signal, sys
import workbench.registry.api as code
import workbench.registry.store as store
from tests.graphs import linear
from workbench.registry.model_import import import_model
from workbench.provenance import environment
from workbench.registry.api import Registry

def die_at(line):
    left = line
    begun = False
    def trace(frame, event, _):
        nonlocal left, begun
        if frame.f_code.co_filename not in (code.__file__, store.__file__):
            return None
        begun = begun or frame.f_code.co_name == "write"
        left -= begun and event == "line"
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)

registry = Registry(sys.argv[1])
facts = environment()
killed, status = 0, None
while status is None or os.WIFSIGNALED(status):
    killed += 1
    made = import_model(linear(note=str(killed)), samples=None, task="", kind=None, data="",
                   accuracy=None, framework="", seed=killed)
    child = os.fork()
    if not child:  # ONNX Runtime does not survive a fork, so its part is done above
        code.import_model, code.environment = lambda *_, **__: made, lambda: facts
        die_at(killed)
        registry.register(f"group-{killed}", b"")
        os._exit(0)
    _, status = os.waitpid(child, 0)
for group in registry:
    assert [each.field for each in registry.history(group, 1)] == ["approval", "stage"]
assert registry.verify() == []
print(killed, len(registry))
"""


def test_a_process_killed_at_any_line_leaves_a_whole_version_or_none(tmp_path):
    killed, whole = map(int, answer(script(DIE, tmp_path)).split())

    assert killed > 30
    assert 0 < whole < killed
    extra = [each.name for each in (tmp_path / "artifacts").iterdir() if not each.suffix]
    assert extra in ([], ["incoming"])


LOOK = """
import sys
from workbench.registry.api import Registry
registry = Registry(sys.argv[1])
print(registry["digits-mlp-small"], registry["digits-mlp-small"].samples())
heavy = {"sklearn", "skl2onnx", "onnx", "onnxruntime", "polars", "scipy"}
print(sorted(heavy & set(sys.modules)))
"""


def test_looking_up_a_model_loads_nothing_heavy(registry):
    printed = answer(script(LOOK, registry.path)).splitlines()

    assert printed[0].startswith("Model(digits-mlp-small:1, Approved, accuracy 0.9")
    assert printed[1] == "[]"


def test_one_at_a_time_holds_the_others_off(mine):
    with mine.alone():
        other = Registry(mine.path)
        with (
            refused(StorageError, mine.path, "process"),
            other.alone(timeout=0.01),
        ):
            pytest.fail("two at once")
        mine.register("group", linear())  # writing as such goes on
    with other.alone(timeout=0.01):
        pass


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    size = ["-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if subprocess.run(["mount", *size], capture_output=True, check=False).returncode:
        pytest.skip("mounting a disk of 4 MB is not permitted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk):
    with contextlib.suppress(OSError), (disk / "rest").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_registry_on_a_full_disk_is_read_and_says_that_the_disk_is_full(small_disk):
    registry = Registry(small_disk / "registry")
    model = registry.register("tiny", linear(), samples=ROWS)
    fill(small_disk)

    again = Registry(registry.path)
    assert again["tiny:1"] == model
    assert len(again["tiny:1"].samples()) == len(ROWS)
    assert not again.verify()
    changes = [
        lambda: again.approve("tiny", 1),
        lambda: again.register("other", linear(), samples=ROWS),
        lambda: again.remove("tiny", 1),
        lambda: Registry(small_disk / "new").register("tiny", linear(), samples=ROWS),
    ]
    for change in changes:
        with refused(StorageError, small_disk, "full") as caught:
            change()
        assert not isinstance(caught.value, Damaged)

    (small_disk / "rest").unlink()
    assert again.approve("tiny", 1).approval == "Approved"
