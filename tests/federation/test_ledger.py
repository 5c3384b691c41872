import json

from covey.federation.ledger import Ledger


def test_only_who_was_asked_has_an_account_and_all_comes_back():
    ledger = Ledger()
    ledger.of(9).bytes_up += 5
    ledger.of(2).asked = 3
    ledger.of(2).samples = 12.0
    twin = Ledger()
    twin.restore(ledger.encode())
    assert twin.accounts == ledger.accounts
    table = json.loads(ledger.encode())
    assert (table["node"], table["bytes_up"], table["samples"]) == ([2, 9], [0, 5], [12.0, 0])


def test_an_empty_one_comes_back_empty():
    twin = Ledger()
    twin.restore(Ledger().encode())
    assert twin.accounts == {}
