"""Several accounts: how they are set up, what is wrong with them, and what is hardly meant."""

from collections.abc import Callable
from pathlib import Path

import pytest

from relay.settings import Settings, SettingsError, find_warnings, load_settings, reload_settings, require_credentials

Load = Callable[..., Settings]
Mistakes = Callable[..., dict[str, str]]

FIRST = '[smsclone]\nusername = "team"\npassword = "first"\n'
CLIENT = '[[clients]]\nname = "a"\nsenders = ["ACME"]\n'


def account(name: str = "backup", fields: str = 'username = "other"\npassword = "second"') -> str:
    return f'[[accounts]]\nname = "{name}"\nbase_url = "https://sms.reseller.example"\n{fields}\n'


def test_every_setting_of_the_first_account_is_one_of_a_further_account_too(load: Load, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from-a-file\n")
    fields = f'username = "other"\npassword_file = "{tmp_path}/password"\nsenders = ["ACME"]\nmax_connections = 7'

    settings = load(FIRST + account(fields=f"{fields}\nunits_per_segment_dnd = 2.5\nbill_rejected = true"))

    [backup] = settings.accounts
    assert list(settings.all_accounts()) == ["smsclone", "backup"]
    assert backup.password is not None
    assert (backup.password.reveal(), backup.senders, backup.max_connections) == ("from-a-file", ("ACME",), 7)
    assert (backup.units_per_segment, backup.units_per_segment_dnd, backup.bill_rejected) == (None, 2.5, True)
    assert "from-a-file" not in repr(settings)


def test_a_client_takes_the_common_accounts_unless_it_has_its_own(load: Load) -> None:
    own = '[[clients]]\nname = "b"\naccounts = ["backup"]\n[[clients]]\nname = "c"\nsandbox = true\n'
    settings = load(f'{FIRST}{account()}[sending]\naccounts = ["smsclone", "backup"]\n{CLIENT}{own}')

    taken = [settings.accounts_of(client) for client in settings.clients]

    assert taken == [("smsclone", "backup"), ("backup",), ()]


@pytest.mark.parametrize(
    ("toml", "place"),
    [
        (account("smsclone"), "accounts[0].name"),
        (account("sandbox"), "accounts[0].name"),
        (account("Two words"), "accounts[0].name"),
        (account() + account(fields='username = "third"'), "accounts[1].name"),
        (account().replace("https", "http"), "accounts[0].base_url"),
        ('[sending]\naccounts = ["backup"]', "sending.accounts[0]"),
        ('[sending]\naccounts = ["smsclone", "smsclone"]', "sending.accounts[1]"),
        ("[sending]\naccounts = []", "sending.accounts"),
        (f'{CLIENT}accounts = ["smsclone", "nowhere"]', "clients[0].accounts[1]"),
        (f'{account()}{CLIENT}accounts = ["backup", "backup"]', "clients[0].accounts[1]"),
        (account(fields='senders = ["X"]'), "accounts[0].senders[0]"),
        ("[smsclone]\nunits_per_segment = -1", "smsclone.units_per_segment"),
    ],
)
def test_an_account_that_cannot_be_meant_is_told_with_its_place(mistakes: Mistakes, toml: str, place: str) -> None:
    assert set(mistakes(toml)) == {place}


@pytest.mark.parametrize(
    "url", ["https://smsclone.com", "https://SMSclone.com:443/", "HTTPS://smsclone.com./", "https://smsclone.com/"]
)
def test_a_second_account_with_the_firsts_address_and_user_name_is_refused(mistakes: Mistakes, url: str) -> None:
    same = f'[[accounts]]\nname = "backup"\nbase_url = "{url}"\nusername = "team"\npassword = "x"\n'

    found = mistakes(FIRST + same)

    assert set(found) == {"accounts[0].username"}
    assert "team" not in found["accounts[0].username"]


def test_another_user_name_at_the_same_address_is_another_account(load: Load) -> None:
    assert load(FIRST + '[[accounts]]\nname = "backup"\nusername = "Team"\npassword = "x"').accounts[0].name == "backup"


def test_one_wrong_name_is_one_mistake_and_not_one_for_each_list_that_means_it(mistakes: Mistakes) -> None:
    assert set(mistakes(account("Back up") + '[sending]\naccounts = ["smsclone", "backup"]')) == {"accounts[0].name"}


def test_each_account_that_is_used_needs_its_credentials_and_no_other(load: Load) -> None:
    toml = account(fields="") + account("third", "") + f'[sending]\naccounts = ["backup"]\n{CLIENT}'

    with pytest.raises(SettingsError) as caught:
        require_credentials(load(toml))

    assert [error.path for error in caught.value.errors] == ["accounts[0].username", "accounts[0].password"]


def test_what_is_hardly_meant_is_warned_of(load: Load) -> None:
    registered = 'username = "other"\npassword = "x"\nsenders = ["OTHER"]'
    here = f'{FIRST}senders = ["ELSE"]\n'
    clients = '[[clients]]\nname = "a"\nsenders = ["ELSE", "ACME"]\ndefault_sender = "ACME"\n'

    found = find_warnings(load(here + account(fields=registered) + clients))

    assert [warning.path for warning in found] == ["accounts[0]", "clients[0].senders[1]"]
    both = '[sending]\naccounts = ["smsclone", "backup"]\n'
    assert [warning.path for warning in find_warnings(load(FIRST + account(fields=registered) + both + clients))] == []


@pytest.mark.parametrize(
    ("priced", "client", "said"),
    [
        ("", "", ["backup, smsclone", "1 unit a segment is assumed"]),
        ("units_per_segment = 1", "", ["at backup: 1 unit a segment is assumed"]),
        ("units_per_segment = 1", 'accounts = ["smsclone"]', []),
        ("units_per_segment = 0.5", "sandbox = true", ["limits nothing"]),
    ],
)
def test_a_budget_without_a_price_says_what_is_assumed(load: Load, priced: str, client: str, said: list[str]) -> None:
    toml = f"{FIRST}{priced}\n{account()}[sending]\naccounts = ['backup', 'smsclone']\n"
    toml += f"{CLIENT}units_per_month = 100\n{client}\n[[clients]]\nname = 'other'\n"

    found = find_warnings(load(toml))

    assert [warning.path for warning in found] == ["clients[0].units_per_month"] * bool(said)
    assert all(words in found[0].message for words in said)


def test_a_reload_that_needs_a_new_account_is_refused_and_says_that_a_restart_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(FIRST + CLIENT)
    current = load_settings({}, path)
    path.write_text(f'{FIRST}{account()}{CLIENT}accounts = ["backup"]')

    with pytest.raises(SettingsError) as caught:
        reload_settings(current, {}, path)

    [error] = caught.value.errors
    assert (error.path, "restart" in error.message) == ("clients[0].accounts[0]", True)


@pytest.mark.parametrize("line", ["", 'accounts = ["smsclone"]\n'])
def test_a_client_gets_no_account_that_was_not_ready_at_the_start_whatever_a_reload_brings(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(f"{CLIENT}sandbox = true\n")
    current = load_settings({}, path)
    path.write_text(f"{FIRST}{CLIENT}sandbox = true\n")
    current = reload_settings(current, {}, path)
    path.write_text(f"{FIRST}{CLIENT}{line}")

    with pytest.raises(SettingsError) as caught:
        reload_settings(current, {}, path)

    [error] = caught.value.errors
    assert (error.path, "restart the relay" in error.message) == (f"clients[0]{'.accounts[0]' * bool(line)}", True)
