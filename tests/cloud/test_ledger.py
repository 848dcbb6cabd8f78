import sqlite3

from tests.refused import refused
from workbench.cloud.aws import Cloud
from workbench.cloud.ledger import Ledger, LedgerEntry
from workbench.errors import StorageError


def entry(cloud=None, **facts):
    given = {"name": "workbench-a", "bucket": "models", "what": "serverless 2048 MB", "hourly": 0.0}
    return LedgerEntry(cloud=cloud or Cloud(), **given | facts)


def test_an_entry_comes_back_as_it_was_written(tmp_path):
    written = entry(Cloud(name="local cloud", endpoint_url="http://127.0.0.1:1", paid=False))
    Ledger(tmp_path / "ledger.db").write(written)
    assert Ledger(tmp_path / "ledger.db").entries() == [written]


def test_entries_are_kept_in_order_and_struck_out_one_by_one(tmp_path):
    ledger = Ledger(tmp_path / "new" / "ledger.db")
    first, second, third = entry(), entry(), entry()
    for each in (first, second, third):
        ledger.write(each)
    ledger.strike(second)
    ledger.strike(second)
    assert ledger.entries() == [first, third]


def test_the_ledger_lies_in_the_workbenchs_home(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    assert Ledger().path == tmp_path / "ledger.db"
    assert "ledger.db" in repr(Ledger())


def test_secrets_of_a_cloud_that_costs_are_not_written(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.write(entry(Cloud(keys=("AKIA", "hush"))))
    ledger.write(entry(Cloud(keys=("local", "local"), paid=False)))
    paid, free = ledger.entries()
    assert paid.cloud.keys is None
    assert free.cloud.keys == ("local", "local")
    assert b"hush" not in (tmp_path / "ledger.db").read_bytes()
    assert (tmp_path / "ledger.db").stat().st_mode & 0o077 == 0


def test_a_label_says_what_it_costs_an_hour():
    assert "$0.46 an hour" in entry(hourly=0.46).label
    assert entry(Cloud(paid=False)).label.endswith("free")


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.db").write_text("something else, and long enough to be looked at " * 30)
    with refused(StorageError, tmp_path / "ledger.db"):
        Ledger(tmp_path / "ledger.db").entries()


def test_two_at_once_do_not_lose_an_entry(tmp_path):
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.write(entry())
    with sqlite3.connect(tmp_path / "ledger.db") as database:
        reading = database.execute("SELECT * FROM entries")
        reading.fetchone()
        reading.close()
        ledger.write(entry())
    database.close()
    assert len(ledger.entries()) == 2
