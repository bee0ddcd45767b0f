"""Which password and which option is for which of two accounts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from waystation.address import parse_account
from waystation.cli.options import SignIn
from waystation.cli.secrets import PasswordSource
from waystation.cli.sides import NO_OWN, OwnPasswords, password_sources, sign_ins
from waystation.errors import UsageError

OLD = parse_account("imaps://old@example.com")
GMAIL = parse_account("gmail:alice@gmail.com")
OFFICE = parse_account("office365:bob@contoso.com")
FROM = OwnPasswords(from_password_env="OLD_PASSWORD")
COMMON = PasswordSource("PASSWORD")
NOTHING = PasswordSource()


def test_each_side_has_its_own_password() -> None:
    own = replace(FROM, to_password_command="pass new")

    assert password_sources({"source": OLD, "target": GMAIL}, NOTHING, own) == {
        "source": PasswordSource("OLD_PASSWORD"),
        "target": PasswordSource(None, "pass new"),
    }


def test_beside_office_365_there_is_one_password_and_it_is_the_others() -> None:
    sides = password_sources({"source": OLD, "target": OFFICE}, COMMON, NO_OWN)

    assert sides == {"source": COMMON, "target": NOTHING}


def test_the_password_that_is_said_for_no_side_is_for_the_side_that_has_none() -> None:
    sides = password_sources({"source": OLD, "target": GMAIL}, COMMON, FROM)

    assert sides == {"source": PasswordSource("OLD_PASSWORD"), "target": COMMON}


def test_one_account_takes_the_password_that_is_said_for_no_side() -> None:
    assert password_sources({"source": OLD}, COMMON, NO_OWN) == {"source": COMMON}
    assert password_sources({"target": GMAIL}, COMMON, FROM) == {"target": COMMON}


def test_a_password_for_two_accounts_is_refused() -> None:
    with pytest.raises(UsageError, match="are for one account"):
        password_sources({"source": OLD, "target": GMAIL}, COMMON, NO_OWN)
    with pytest.raises(UsageError, match="two passwords"):
        password_sources({"source": OLD}, COMMON, FROM)


def test_options_for_tokens_go_where_tokens_are_taken() -> None:
    given = SignIn(client_id="id", client_secret_env="S", tenant="t", proxy="direct")

    sides = sign_ins({"source": OLD, "target": OFFICE}, given)

    assert sides == {"source": SignIn(proxy="direct"), "target": given}


def test_a_server_goes_to_the_side_that_is_named_by_its_provider() -> None:
    given = SignIn(server="localhost:1993")

    assert sign_ins({"source": OLD, "target": OFFICE}, given)["target"].server == "localhost:1993"
    assert sign_ins({"source": OLD, "target": GMAIL}, given)["source"].server is None


@pytest.mark.parametrize(
    ("target", "given"),
    [
        (OFFICE, SignIn(fingerprint="00")),
        (OFFICE, SignIn(server="localhost:1")),
        (GMAIL, SignIn(sign_in_as="admin")),
        (GMAIL, SignIn(client_secret_env="S")),
    ],
)
def test_an_option_that_could_be_for_either_is_refused(target: object, given: SignIn) -> None:
    with pytest.raises(UsageError):
        sign_ins({"source": GMAIL, "target": target}, given)  # type: ignore[dict-item]


def test_one_account_gets_all_that_was_said() -> None:
    given = SignIn(server="localhost:1", fingerprint="00", sign_in_as="x")

    assert sign_ins({"target": OFFICE}, given) == {"target": given}
