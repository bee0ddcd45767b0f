"""The switches of the simulator: each behaviour of Exchange Online that may be on or off.

The numbers in the comments count the behaviours, from 1, the greeting, to 32, the log. A switch
at its default does what public wire logs show of 2026; what is a guess is a switch for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

ALL_RULES = frozenset({"nested-word", "report", "header-line", "nul", "marked"})
"""The reasons for which a message cannot be converted; see ``convertible``."""

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Profile:
    """What the server does. Durations are seconds before the server's ``scale`` is applied.

    A field that ends in ``_chance`` is a probability from 0 to 1; what comes of it is fixed by
    the seed, the mailbox and a counter, never by time or threads.
    """

    name: str = "exo-2026"

    # 1: greeting
    greeting: Literal["A", "B"] = "A"
    """A: the words of 2015 to 2026. B: those of the new front end, with a GUID."""

    # 2: capabilities
    rev2_pilot: bool = False
    """Announce ENABLE and IMAP4rev2 after sign-in, and MOVE before it."""
    offers_plain_before_login: bool = False
    """AUTH=PLAIN instead of LOGINDISABLED, as until about 2024."""
    offers_plain_after_login: bool = True

    # 3: LOGIN and AUTHENTICATE PLAIN
    login_answer: Literal["disabled", "failed"] = "disabled"
    """disabled: NO Basic authentication is disabled, and BYE. failed: NO LOGIN failed."""

    # 4: XOAUTH2
    json_challenge: bool = False
    """Send a base64 JSON challenge, and wait for a line, before a refusal."""
    audiences: tuple[str, ...] = ("https://outlook.office.com", "https://outlook.office365.com")
    delegated_scope: str = "IMAP.AccessAsUser.All"
    app_role: str = "IMAP.AccessAsApp"

    # 5: authenticated, but not connected
    without_permission: Literal["not connected", "refused"] = "not connected"
    """What a token gets that is good, but not for this mailbox."""
    imap_enabled: bool = True
    """False is as IMAP off for all; ``Mailbox.imap_enabled`` is for one."""
    connects_per_minute: int | None = None
    """Sign-ins of a user in a (scaled) minute; later ones are not connected."""

    # 6: NAMESPACE, ID
    server_version: str = "15.20"

    # 7: LIST
    special_use_attributes: bool = True
    marked_chance: float = 0.1
    control_names_unquoted: bool = True
    """Names with TAB or control characters come as they are, without quotes."""
    refuses_list_extended: bool = True
    refuses_escaped_quote: bool = True

    # 8: CREATE
    reserved_names: frozenset[str] = frozenset({"files"})
    """Top-level names that cannot be created, in lower case."""
    creates_parents: bool = True
    case_insensitive: bool = True
    longest_component: int = 255
    """UTF-16 units."""
    deepest_folder: int = 300

    # 9: SELECT
    first_uidvalidity: int | None = None
    """None: a small number by the seed."""
    trycreate: bool = True
    """APPEND and COPY to a folder that is not there say [TRYCREATE]."""

    # 10: keywords
    refuses_keywords: bool = True

    # 11: FETCH and SEARCH
    refuses_unknown_items: bool = True
    refuses_search_extensions: bool = True

    # 12: long commands
    longest_command: int | None = 10_240

    # 13: the third BAD closes
    bads_until_bye: int | None = 3
    unconvertible_counts_as_bad: bool = False

    # 14: long lines in an APPEND
    longest_literal_line: int | None = 10_240
    """Octets without LF after which the literal is read as commands."""

    # 15: unconvertible messages
    unconvertible_rules: frozenset[str] = ALL_RULES
    report_chance: float = 1.0
    """How many reports of a reading are refused; those called Read: or Gelesen: always are."""
    unconvertible: Callable[[bytes], bool] | None = None
    """A rule of a test's own."""

    # 16: throttle
    throttles: bool = True
    bucket_burst: float = 120.0
    bucket_recharge: float = 4.0
    """Units per second, before ``scale``."""
    octets_per_unit: int = 64 * 1024
    backoff_seconds: float = 299.9
    throttle_glues_bye: bool = False
    throttle_chance: float = 0.0
    """Chance of a throttle at an APPEND although the bucket has units."""

    # 17: token expiry
    token_expiry_cuts: bool = True
    token_cut_chance: float = 0.0
    """Chance that a session counts as expired after the literal of an APPEND."""
    token_cut_stores_chance: float = 0.5

    # 18: ambiguous APPEND
    cut_in_literal_chance: float = 0.0
    cut_after_storing_chance: float = 0.0
    cut_without_storing_chance: float = 0.0
    late_answer_chance: float = 0.0
    late_answer_seconds: tuple[float, float] = (30.0, 120.0)

    # 19: size
    largest_message: int = 36 * MIB
    size_refusal: Literal["instead of +", "after the literal"] = "instead of +"

    # 20: quota and outages
    quota: int | None = None
    """Octets in all folders of a mailbox; ``Mailbox.quota`` is for one."""
    outage_chance: float = 0.0
    """Chance that a command meets a back end that is away."""
    outage_form: Literal["no", "bare line", "bye"] = "no"
    """no: tagged NO. bare line: without a tag, then close. bye: BYE 13, then close."""

    # 21: the answer to APPEND and COPY
    appenduid_omitted_chance: float = 0.0
    appenduid_garbled_chance: float = 0.0
    copyuid_garbled_chance: float = 0.0
    refuses_multiappend: bool = True

    # 22: dates
    internaldate_ignored: bool = False

    # 23: no de-duplication
    drops_duplicates: bool = False
    """Contrary to all that is known: an equal message in the folder is not stored again."""

    # 24: MIME rewriting
    rewriting: Literal[0, 1, 2] = 1
    """0: octets as they came. 1: same content. 2: also loses alternatives, invents Message-ID."""
    rewrites_nested: bool = True
    """Whether attached messages are made anew as well, as those of MAPI stores are."""

    # 25: RFC822.SIZE
    size_error: float = 0.1
    """Largest share by which RFC822.SIZE is wrong; 0 is exact."""

    # 26: lag
    lag_chance: float = 0.0
    lag_seconds: tuple[float, float] = (0.0, 60.0)
    lag_hides_from_select: bool = False
    """Else a lagging message is hidden from SEARCH HEADER only."""

    # 27: glitches
    exists_before_answer_chance: float = 0.5
    fetch_repeats_uid_chance: float = 0.0
    """Chance that a FETCH of n:* has one UID twice."""
    malformed_bodystructure_chance: float = 0.0

    # 28: limits
    connections_per_user: int = 20
    idle_before_login: float = 60.0
    idle_after_login: float = 1800.0
    shortest_idle: float = 10.0
    """Real seconds under which no idle time-out falls, since a busy machine is not scaled."""

    # 29: read receipts
    receipt_headers: tuple[str, ...] = (
        "disposition-notification-to",
        "return-receipt-to",
        "x-confirm-reading-to",
    )

    # 30: non-mail folders
    non_mail_folders_accept: bool = True

    # 31: flags at creation
    draft_is_fixed: bool = True
    flagged_append_bug: bool = True
    """A flag given to APPEND is not shown by Outlook until STORE sets it."""

    # 32: the log
    logs_literals: bool = False
    """Write literals into the log; else their size and SHA-256."""


EXO_2026 = Profile()
"""What public sources show of 2026."""

EXO_HOSTILE = replace(
    EXO_2026,
    name="exo-hostile",
    greeting="B",
    rev2_pilot=True,
    offers_plain_after_login=False,
    json_challenge=True,
    connects_per_minute=60,
    marked_chance=0.5,
    bucket_burst=60.0,
    bucket_recharge=0.25,
    throttle_glues_bye=True,
    token_cut_chance=0.005,
    cut_in_literal_chance=0.01,
    cut_after_storing_chance=0.01,
    cut_without_storing_chance=0.01,
    late_answer_chance=0.02,
    size_refusal="after the literal",
    outage_chance=0.001,
    outage_form="bare line",
    appenduid_omitted_chance=0.05,
    appenduid_garbled_chance=0.05,
    copyuid_garbled_chance=0.5,
    rewriting=2,
    lag_chance=0.2,
    lag_hides_from_select=True,
    fetch_repeats_uid_chance=0.2,
    malformed_bodystructure_chance=0.2,
    connections_per_user=4,
)
"""All that is known to go wrong, often; dates are still honoured, else none could be right."""

PROFILES = {profile.name: profile for profile in (EXO_2026, EXO_HOSTILE)}
