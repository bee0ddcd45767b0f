"""From the greeting to a connected mailbox, and to the end of a token's life."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.exchange_online.client import LineClient, xoauth2
from tests.exchange_online.conftest import BOB
from tests.exchange_online.profile import EXO_2026

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.exchange_online.conftest import Place

FRONT_END = base64.b64encode("AM0PR01CA0001.eurprd01.prod.exchangelabs.com".encode("utf-16-le"))
SIGNING_OFF = b"* BYE Microsoft Exchange Server IMAP4 server signing off."
NOT_CONNECTED = b"BAD User is authenticated but not connected."
EXPIRED = b"* BYE Session invalidated - AccessTokenExpired"


def test_the_greeting_names_the_front_end_and_no_capability(place: Callable[..., Place]) -> None:
    greeting = place().connect().greeting

    words = b"* OK The Microsoft Exchange IMAP4 service is ready. [%b]"
    assert greeting == words % FRONT_END


def test_a_new_front_end_greets_in_other_words(place: Callable[..., Place]) -> None:
    greeting = place(replace(EXO_2026, greeting="B")).connect().greeting

    assert greeting.startswith(b"* OK Microsoft Exchange IMAP4 service ready. ")
    assert greeting.endswith(b" (tcpproxy/15.21.0406.000 BACKENDAUTHENTICATE) [%b]" % FRONT_END)


def test_capabilities_are_others_after_sign_in(place: Callable[..., Place]) -> None:
    here = place()

    before = here.connect().command(b"CAPABILITY")
    after = here.client().command(b"CAPABILITY")

    assert before == [
        b"* CAPABILITY IMAP4 IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED SASL-IR UIDPLUS ID UNSELECT "
        b"CHILDREN IDLE NAMESPACE LITERAL+",
        b"OK CAPABILITY completed.",
    ]
    assert after == [
        b"* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT "
        b"CLIENTACCESSRULES CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE "
        b"NAMESPACE LITERAL+",
        b"OK CAPABILITY completed.",
    ]


def test_the_pilot_of_rev2_announces_what_it_cannot_do(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, rev2_pilot=True))
    client = here.client()

    assert here.connect().command(b"CAPABILITY")[0] == (
        b"* CAPABILITY IMAP4 IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED SASL-IR UIDPLUS MOVE ID UNSELECT "
        b"CHILDREN IDLE NAMESPACE LITERAL+"
    )
    assert client.command(b"CAPABILITY")[0] == (
        b"* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT "
        b"ENABLE IMAP4rev2 CLIENTACCESSRULES CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE "
        b"BACKENDAUTHENTICATE-IR CHILDREN IDLE NAMESPACE LITERAL+"
    )
    assert client.command(b"ENABLE IMAP4rev2") == [b"BAD Command Argument Error. 12"]


def test_the_classic_list_offers_plain_before_sign_in(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, offers_plain_before_login=True))

    assert here.connect().command(b"CAPABILITY")[0] == (
        b"* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT "
        b"CHILDREN IDLE NAMESPACE LITERAL+"
    )


def test_a_password_is_refused_and_the_connection_closed(place: Callable[..., Place]) -> None:
    client = place().connect()

    answer = client.command(b"LOGIN bob@contoso.com hunter2")

    assert answer == [b"NO Basic authentication is disabled."]
    assert client.rest() == [SIGNING_OFF]


def test_a_tenant_refuses_passwords_without_hanging_up(place: Callable[..., Place]) -> None:
    client = place(replace(EXO_2026, login_answer="failed")).connect()

    assert client.command(b"LOGIN bob@contoso.com hunter2") == [b"NO LOGIN failed."]
    assert client.command(b"AUTHENTICATE PLAIN AGJvYgBodW50ZXIy") == [b"NO AUTHENTICATE failed."]


def test_a_token_opens_the_mailbox_in_one_step_or_two(place: Callable[..., Place]) -> None:
    here = place()
    client = here.connect()
    client.send(b"a AUTHENTICATE XOAUTH2\r\n")
    assert client.line() == b"+ "
    client.send(xoauth2(BOB, here.token()) + b"\r\n")

    assert client.line() == b"a OK AUTHENTICATE completed."
    assert here.connect().sign_in(BOB.upper(), here.token()) == b"OK AUTHENTICATE completed."


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://graph.microsoft.com"},
        {"aud": "00000003-0000-0000-c000-000000000000"},
        {"exp": 1},
        {"nbf": 2_000_000_000},
        {"roles": None},
        {"roles": ["Mail.Read"]},
        {"roles": None, "scp": "Mail.Read", "upn": BOB},
    ],
)
def test_a_token_for_something_else_is_refused(
    place: Callable[..., Place], claims: dict[str, object]
) -> None:
    here = place()

    assert here.connect().sign_in(BOB, here.token(**claims)) == b"NO AUTHENTICATE failed."


def test_forged_tokens_unknown_mailboxes_and_nonsense_are_refused(
    place: Callable[..., Place],
) -> None:
    here = place()
    client = here.connect()

    assert client.sign_in(BOB, here.token() + "0") == b"NO AUTHENTICATE failed."
    assert client.sign_in("eve@contoso.com", here.token()) == b"NO AUTHENTICATE failed."
    assert client.command(b"AUTHENTICATE XOAUTH2 !!!!") == [b"NO AUTHENTICATE failed."]
    assert not here.server.sessions_closed_for_bad


def test_a_challenge_in_json_may_come_before_the_refusal(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, json_challenge=True))
    client = here.connect()
    client.send(b"a AUTHENTICATE XOAUTH2 " + xoauth2(BOB, "nothing") + b"\r\n")

    challenge = client.line()
    client.send(b"\r\n")

    assert challenge.startswith(b"+ ")
    assert base64.b64decode(challenge[2:]).startswith(b'{"status":"400","schemes":"Bearer","scope"')
    assert client.line() == b"a NO AUTHENTICATE failed."


def test_a_delegate_opens_a_shared_mailbox_and_nobody_else_does(
    place: Callable[..., Place],
) -> None:
    here = place()
    here.box.delegates.add("ann@contoso.com")
    scope: dict[str, object] = {"roles": None, "scp": "IMAP.AccessAsUser.All"}

    for user in (BOB, "ann@contoso.com"):
        assert here.client(**scope, upn=user).command(b"NOOP") == [b"OK NOOP completed."]
    assert here.client(**scope, upn="eve@contoso.com").command(b"NOOP") == [NOT_CONNECTED]


def test_without_permission_one_is_signed_in_but_not_connected(
    place: Callable[..., Place],
) -> None:
    here = place()
    here.box.permitted_apps = {"another app"}
    client = here.client()

    assert client.command(b"CAPABILITY")[-1] == b"OK CAPABILITY completed."
    assert client.command(b"NAMESPACE") == [NOT_CONNECTED]
    assert client.command(b"SELECT INBOX") == [NOT_CONNECTED]
    assert client.command(b"LOGOUT") == [SIGNING_OFF, b"OK LOGOUT completed."]


def test_a_tenant_may_refuse_outright_what_is_not_permitted(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, without_permission="refused"))
    here.box.permitted_apps = set()

    assert here.connect().sign_in(BOB, here.token()) == b"NO AUTHENTICATE failed."


def test_imap_may_be_off_for_a_mailbox(place: Callable[..., Place]) -> None:
    here = place()
    here.box.imap_enabled = False

    assert here.client().command(b"NAMESPACE") == [NOT_CONNECTED]


def test_a_storm_of_connections_is_not_connected(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, connects_per_minute=2))
    good = [here.client().command(b"NAMESPACE")[-1] for _ in range(2)]

    assert good == [b"OK NAMESPACE completed."] * 2
    assert here.client().command(b"NAMESPACE") == [NOT_CONNECTED]
    here.clock.now += 0.07
    assert here.client().command(b"NAMESPACE")[-1] == b"OK NAMESPACE completed."


def test_one_connection_too_many_is_not_connected(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, connections_per_user=2))
    first, second = here.client(), here.client()

    assert here.client().command(b"NAMESPACE") == [NOT_CONNECTED]
    assert first.command(b"NOOP") == second.command(b"NOOP") == [b"OK NOOP completed."]
    assert here.server.connections == 3
    assert here.box.peak_connections == 3


def test_namespace_id_and_logout_say_what_exchange_says(place: Callable[..., Place]) -> None:
    client = place().client()

    assert client.command(b"NAMESPACE") == [
        b'* NAMESPACE (("" "/")) NIL NIL',
        b"OK NAMESPACE completed.",
    ]
    assert client.command(b'ID ("name" "x")') == [
        b'* ID ("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "15.20")',
        b"OK ID completed.",
    ]
    assert client.command(b"LOGOUT") == [SIGNING_OFF, b"OK LOGOUT completed."]
    assert client.rest() == []


def test_nothing_is_done_before_sign_in(place: Callable[..., Place]) -> None:
    client = place().connect()

    assert client.command(b"SELECT INBOX") == [b"BAD Command received in Invalid state"]
    assert client.command(b"NOOP") == [b"OK NOOP completed."]


def test_an_expired_token_ends_the_session_at_the_next_command(
    place: Callable[..., Place],
) -> None:
    here = place()
    client = here.client()
    here.clock.now += 3601

    assert client.command(b"NOOP") == [EXPIRED]
    assert client.rest() == []


def test_an_expired_token_ends_idle_too(place: Callable[..., Place]) -> None:
    here = place()
    client = here.client()
    client.send(b"a IDLE\r\n")
    assert client.line() == b"+ IDLE accepted, awaiting DONE command."
    here.clock.now += 3601

    assert client.line() == EXPIRED


def test_a_session_may_outlive_its_token_by_a_switch(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, token_expiry_cuts=False))
    client = here.client()
    here.clock.now += 3601

    assert client.command(b"NOOP") == [b"OK NOOP completed."]


def test_silence_ends_a_connection(place: Callable[..., Place]) -> None:
    here = place(replace(EXO_2026, shortest_idle=0.05))

    started = time.monotonic()
    lines = here.connect().rest()

    assert lines == [b"* BYE Connection is closed. 13"]
    assert 0.05 <= time.monotonic() - started < 5


def test_tokens_and_passwords_are_not_in_the_log(place: Callable[..., Place]) -> None:
    here = place()
    token = here.token()
    client = here.connect()
    client.sign_in(BOB, token)
    with LineClient(here.server) as other:
        other.command(b"LOGIN bob hunter2")

    text = "\n".join(event.text for event in here.server.log)

    assert "AUTHENTICATE XOAUTH2 <struck out>" in text
    assert token not in text
    assert xoauth2(BOB, token).decode() not in text
    assert "hunter2" not in text
