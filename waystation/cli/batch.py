"""``waystation batch``: many mailboxes, named in one list, worked on side by side."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from waystation.batch.form import Form
from waystation.cli import choosing, house, options, state
from waystation.cli import export as export_command
from waystation.cli import importer as import_command
from waystation.cli import plan as plan_command
from waystation.cli import status as status_command
from waystation.cli import verify as verify_command
from waystation.cli.batch_report import batch_report
from waystation.cli.engine import EMBEDDED, Engine
from waystation.cli.folder_map import FolderMapFile, read_folder_map
from waystation.cli.text import duration_text, size_text
from waystation.cli.tidings import SILENT, Tidings
from waystation.cli.together import USUAL, List, ListFile, ListOrAll, Root, Together
from waystation.errors import NoArchiveError, UsageError, WaystationError, plain

if TYPE_CHECKING:
    from waystation.batch.run import Ending
    from waystation.cli.output import Listener


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "".join(f"  waystation batch {line}\n" for line in lines)


batch = typer.Typer(
    name="batch",
    help="Many mailboxes: one list in, one archive each, worked on side by side.",
    epilog=_examples(
        "template > mailboxes.csv",
        "export archives --list mailboxes.csv",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(batch, name="batch")


@batch.command(
    "export",
    epilog=_examples(
        "export archives --list mailboxes.csv",
        "export archives --list microsoft.csv --server mail.example.com:993",
    ),
    short_help="Archive the mailboxes of a list, or bring them up to date.",
)
@options.unpacked
def _export(
    root: Root,
    file: List,
    together: Together = USUAL,
    engine: Engine = EMBEDDED,
    tidings: Tidings = SILENT,
    quick: export_command.Quick = False,
    chosen: choosing.Chosen = choosing.ALL,
    budget: export_command.Budget = None,
    rate: options.Rate = 0,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Stage one for all mailboxes of a list. Run again, it fetches what is new.

    Makes ROOT where it is not there, and an archive in it for each mailbox that lets us in. A new
    list adds its mailboxes; those of an old one stay.
    """
    from export.run import Options
    from waystation.batch.mailboxes import Side
    from waystation.cli.batch_job import Job
    from waystation.cli.batch_work import Export

    how = Options(quick=quick, rate=rate, budget=export_command.octets_a_day(budget))
    selection = chosen.selection()
    job = Job("export", root, together, reach, sign_in, voice, Side.SOURCE, tidings=tidings)
    return job.at(engine).run(job.read(file), Export(how, selection))


@batch.command(
    "import",
    epilog=_examples(
        "import archives --list mailboxes.csv --client-secret-env APP_SECRET",
        "import archives --list mailboxes.csv --between 20:00-06:00",
    ),
    short_help="Replay the archives of a list into their servers.",
)
@options.unpacked
def _import(
    root: Root,
    file: List,
    together: Together = USUAL,
    engine: Engine = EMBEDDED,
    tidings: Tidings = SILENT,
    manner: import_command.Manner = import_command.USUAL,
    chosen: choosing.Chosen = choosing.ALL,
    treatment: house.House = house.USUAL,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Stage two for all mailboxes of a list. Run again, it goes on where it stopped.

    Each mailbox has a pace and pauses of its own. One that fails stops alone, and is tried again
    later where that may help.
    """
    from waystation.batch.mailboxes import Side
    from waystation.cli.batch_job import Job
    from waystation.cli.batch_work import Import

    how = manner.how(chosen, treatment)
    job = Job("import", root, together, reach, sign_in, voice, Side.TARGET, tidings=tidings)
    return job.at(engine).run(job.read(file), Import(how))


@batch.command(
    "check",
    epilog=_examples("check archives", "check archives --list mailboxes.csv --json"),
    short_help="Prove every file of all archives, offline.",
)
@options.unpacked
def _check(
    root: Root,
    file: ListOrAll = None,
    engine: Engine = EMBEDDED,
    tidings: Tidings = SILENT,
    ca_file: options.CaFile = None,
    allow_plaintext: options.AllowPlaintext = False,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Prove every file of each archive against its index, offline; as many at once as processors.

    Exit code 13 when anything was found.
    """
    from waystation.cli.batch_job import Job
    from waystation.cli.batch_work import Check

    together = Together(connections=os.cpu_count() or 1)
    reach = options.Reach(ca_file=ca_file, allow_plaintext=allow_plaintext)
    job = Job("check", root, together, reach, options.NO_SIGN_IN, voice, None, tidings=tidings)
    return job.at(engine).run(job.read(file), Check())


@batch.command(
    "plan",
    epilog=_examples(
        "plan archives --list mailboxes.csv --offline",
        "plan archives --list mailboxes.csv --client-secret-env APP_SECRET --json",
    ),
    short_help="Show what import would do for each mailbox; send nothing.",
)
@options.unpacked
def _plan(
    root: Root,
    file: List,
    together: Together = USUAL,
    engine: Engine = EMBEDDED,
    tidings: Tidings = SILENT,
    offline: plan_command.Offline = False,
    folder_map: FolderMapFile = None,
    rate: options.RateOfProvider = None,
    chosen: choosing.Chosen = choosing.ALL,
    treatment: house.House = house.USUAL,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Show for each mailbox what import would send, how long it takes, and what is in its way."""
    from waystation.batch.mailboxes import Side
    from waystation.cli.batch_job import Job
    from waystation.cli.batch_work import Plan

    how = plan_command.How(
        read_folder_map(folder_map), chosen.selection(), treatment.rules(rate), rate, offline
    )
    job = Job(
        "plan",
        root,
        together,
        reach,
        sign_in,
        voice,
        Side.TARGET,
        is_offline=offline,
        tidings=tidings,
    )
    return job.at(engine).run(job.read(file), Plan(how), _show_plans)


@batch.command(
    "verify",
    epilog=_examples(
        "verify archives --list mailboxes.csv --source",
        "verify archives --list mailboxes.csv --target --client-secret-env APP_SECRET",
    ),
    short_help="Compare each archive with its server, message by message.",
)
@options.unpacked
def _verify(
    root: Root,
    file: List,
    source: Annotated[
        bool, typer.Option("--source", help="Compare with the sources as they are now.")
    ] = False,
    target: Annotated[
        bool, typer.Option("--target", help="Compare with the targets as they are now.")
    ] = False,
    deep: verify_command.Deep = False,
    together: Together = USUAL,
    engine: Engine = EMBEDDED,
    tidings: Tidings = SILENT,
    chosen: choosing.Chosen = choosing.ALL,
    reach: options.Reach = options.USUAL_REACH,
    sign_in: options.SignIn = options.NO_SIGN_IN,
    voice: options.Voice = options.USUAL_VOICE,
) -> int:
    """Compare each archive with its live server; name each difference. Exit code 13 for any."""
    from waystation.batch.mailboxes import Side
    from waystation.cli.batch_job import Job
    from waystation.cli.batch_work import Verify

    if source == target:
        raise UsageError("say --source or --target: with which of the two shall be compared?")
    selection = chosen.selection()
    side = Side.SOURCE if source else Side.TARGET
    name: Literal["source", "target"] = "source" if source else "target"
    job = Job("verify", root, together, reach, sign_in, voice, side, tidings=tidings)
    return job.at(engine).run(job.read(file), Verify(name, deep, selection))


@batch.command(
    "status",
    epilog=_examples("status archives", "status archives --list mailboxes.csv --json"),
    short_help="Show how far each mailbox is, by the ledgers.",
)
def _status(
    root: Root,
    file: ListOrAll = None,
    as_json: options.Json = False,
) -> int:
    """Show the totals of each archive's ledger, mailbox by mailbox. Works beside a batch.

    Exit code 14 where one has a folder that is done with and does not add up.
    """
    from waystation.cli.batch_job import Job
    from waystation.cli.batch_status import Collected

    voice = options.Voice(as_json=as_json)
    job = Job("status", root, USUAL, options.USUAL_REACH, options.NO_SIGN_IN, voice, None)
    mailboxes = job.read(file)
    rows: list[dict[str, Any]] = []
    codes: list[int] = []
    for mailbox in mailboxes:
        collected = Collected(mailbox.name)
        try:
            codes.append(status_command.run(job.place(mailbox), collected))
        except NoArchiveError:
            collected.outcome = "not begun"
        except WaystationError as error:
            collected.outcome = "failed"
            job.listener.warning(f"{plain(mailbox.name)}: {error}")
        rows.append(collected.found)
        job.listener.row("mailbox", collected.found)
    job.listener.table(*Collected.cells(rows))
    outcomes = Counter(str(row["state"]) for row in rows)
    code = max(codes, default=0)
    sums = {key: sum(row[key] or 0 for row in rows) for key in ("archived", "octets", "arrived")}
    values = {"mailboxes": len(rows), "states": dict(outcomes), **sums}
    job.listener.summary("discrepancies" if code else "done", code, values)
    return code


batch.command(
    "report",
    epilog=_examples("report archives", "report archives out --list mailboxes.csv --locale de"),
    short_help="Write one page on all mailboxes, and a page for each.",
)(batch_report)


@batch.command(
    "template",
    epilog=_examples("template > mailboxes.csv", "template microsoft"),
    short_help="Print an example of a list, in one of the three forms.",
)
def _template(
    form: Annotated[
        Form, typer.Argument(metavar="[FORM]", help="ours, microsoft or imapsync.")
    ] = Form.OURS,
) -> int:
    """Print a commented example of a list, to begin with."""
    from waystation.batch.template import TEMPLATES

    sys.stdout.write(TEMPLATES[form])
    return 0


@batch.command(
    "powershell",
    epilog=_examples(
        "powershell mailboxes.csv --client-id APP --object-id OBJECT > a.ps1",
        "powershell mailboxes.csv --pull-from imap.contoso.com --master migration",
    ),
    short_help="Print the commands for Microsoft's side that go with a list.",
)
def _powershell(
    file: ListFile,
    client_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            envvar="WAYSTATION_CLIENT_ID",
            help="The application (client) ID of your own app registration.",
        ),
    ] = None,
    object_id: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The object ID of the enterprise application, not of the app registration.",
        ),
    ] = None,
    pull_from: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Instead, have Microsoft pull from this IMAP server in front of the archives.",
        ),
    ] = None,
    master: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="With --pull-from: who may open all mailboxes there."),
    ] = None,
) -> int:
    """Print the lines for Exchange Online PowerShell that open each mailbox of Office 365.

    With --pull-from those that make a migration endpoint and batches of all these mailboxes. The
    server for that, and its configuration, are in the cookbook.
    """
    from waystation.batch.powershell import addresses_of, commands, pull_commands, pulled_from
    from waystation.cli.batch_job import listed

    listener = state.listen("batch powershell")
    if pull_from is not None:
        if not master:
            raise UsageError("--pull-from needs --master NAME: who opens all mailboxes there.")
        host, port = _host_and_port(pull_from)
        pairs = pulled_from(listed(file, listener))
        lines = pull_commands(pairs, host, port, master)
        has_any = bool(pairs)
    else:
        if not client_id or not object_id:
            raise UsageError("give --client-id and --object-id, or --pull-from and --master.")
        addresses = addresses_of(listed(file, listener))
        lines = commands(addresses, client_id, object_id)
        has_any = bool(addresses)
    if not has_any:
        raise UsageError(f"{plain(str(file))} names no mailbox of Office 365.")
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


def _host_and_port(text: str) -> tuple[str, int]:
    from waystation.address import parse_server

    try:
        return parse_server(text if re.search(r":\d+$", text) else f"{text}:993")
    except UsageError:
        raise UsageError(f"--pull-from {plain(text)!r} is not HOST[:PORT].") from None


def _show_plans(listener: Listener, endings: dict[str, Ending]) -> None:
    """Show what import would do for each mailbox."""
    rows = []
    longest = 0
    for name, ending in endings.items():
        values = ending.values
        longest = max(longest, values.get("seconds_expected", 0))
        rows.append(
            [
                name,
                ending.state.value,
                *(f"{values.get(key, 0):,}" for key in ("messages", "arrived", "set_aside")),
                size_text(values.get("octets", 0)),
                duration_text(values.get("seconds_expected", 0)),
            ]
        )
    listener.table(["mailbox", "plan", "to send", "arrived", "set aside", "size", "takes"], rows)
    listener.say(f"Side by side, that takes about {duration_text(longest)}.")
