"""``waystation search``: which messages match a query."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from waystation.cli import options, output, state
from waystation.cli.text import count_text, duration_text
from waystation.errors import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.archive import Archive
    from store.query import Query
    from store.search import Hit
    from waystation.cli.output import Listener

_EXAMPLES = """\
\b
Examples:
  waystation search alice invoice from:bob after:2024-01-01
  waystation search alice '"annual report" has:attachment -folder:@trash'
"""
_USUAL = 50
_COUNTED = 1_000
_LONGEST = 60

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="QUERY...",
        help='Words, "phrases", OR, -not, (), word*, from: to: subject: body: filename: folder: '
        "before: after: on: larger: smaller: is: has:attachment flag: id: message-id: state:",
        show_default=False,
    ),
]


class Sort(StrEnum):
    """Which hits come first."""

    NEWEST = "newest"
    RELEVANCE = "relevance"


class QueryCommand(TyperCommand):
    """A command whose arguments are a query, in which ``-word`` is no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - Typer's own
        """Take for options what begins with two dashes, and the short ones that there are."""
        short = {"-h", *(each for option in self.params for each in option.opts)}
        # A blank means nothing in a query, and no option begins with one.
        words = [
            f" {word}" if word[:1] == "-" and word[:2] != "--" and word not in short else word
            for word in args
        ]
        return super().parse_args(ctx, words)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "search",
        epilog=_EXAMPLES,
        cls=QueryCommand,
    )(_search)


def _search(
    archive: options.ArchivePath,
    query: Words,
    sort: Annotated[
        Sort, typer.Option(help="The newest first, by received date, or the best match.")
    ] = Sort.NEWEST,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="So many at the most; 0 is all. Usual: 50 on a terminal, all elsewhere.",
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Throw the search index away and build it anew.")
    ] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Find messages by words, people, dates and more; the newest come first."""
    from store import search
    from store.archive import Archive

    listener = state.listen("search", as_json=as_json, quiet=quiet)
    asked = parsed(query, as_json=as_json)
    with Archive.read(archive) as opened:
        missing = prepared(opened, asked, listener, anew=rebuild)
        with search.opened(opened) as searching:
            told_of_folders(searching.unmatched(asked), listener)
            most = limit
            if most is None:
                most = _USUAL if sys.stdout.isatty() and not as_json else 0
            hits = searching.hits(asked, limit=most or None, order=sort.value)
            shown = _tell(opened, asked, hits, listener) if as_json else _show(hits, listener)
            more = 0
            if most and shown == most:
                more = searching.count(asked, most + _COUNTED) - most
            _say_the_rest(listener, shown, more)
    listener.summary(
        "incomplete" if missing else "done",
        0,
        {"hits": shown, "more": more, "not_indexed": missing},
    )
    return 0


def parsed(words: list[str], *, as_json: bool) -> Query:
    """Return what the words of a command line ask for; point at what makes no sense.

    Raises:
        QueryError: they make none.
    """
    from store.query import QueryError, parse

    try:
        return parse(" ".join(words), datetime.now(UTC))
    except QueryError as error:
        if not as_json:
            output.point(error.query, error.at)
        raise


def prepared(archive: Archive, query: Query, listener: Listener, *, anew: bool = False) -> int:
    """Bring the search index up to date, if a query needs it; return what it lacks still."""
    from store import fulltext
    from store.matching import needs_words

    if not needs_words(query) and not anew:
        return 0
    done = fulltext.update(archive, listener, anew=anew)
    if done.messages:
        what = f"search index: {count_text(done.messages, 'message')} taken in"
        listener.say(f"{what} in {duration_text(done.seconds)}")
        if done.path.parent != archive.path:
            listener.say(f"the archive cannot be written; its search index is {done.path}")
    if done.unreadable:
        listener.warning(
            f"{count_text(done.unreadable, 'file')} could not be read and can be found by their "
            "headers only; 'waystation check ARCHIVE' names them"
        )
    if done.missing:
        listener.warning(
            f"another process is building the search index; {count_text(done.missing, 'message')} "
            "cannot be found by their words yet"
        )
    return done.missing


def told_of_folders(globs: list[str], listener: Listener) -> None:
    """Tell which folders of a query there are not, as a typing error would."""
    for glob in dict.fromkeys(globs):
        listener.warning(f"folder:{plain(glob)} names no folder of the archive")


def _tell(archive: Archive, query: Query, hits: Iterator[Hit], listener: Listener) -> int:
    from store.search import snippet

    count = 0
    for hit in hits:
        listener.row("hit", {**_row(hit), "snippet": snippet(archive, hit, query)})
        count += 1
    return count


def _row(hit: Hit) -> dict[str, Any]:
    message = hit.message
    return {
        "id": message.id,
        "folder": message.folder,
        "uidvalidity": message.uidvalidity,
        "uid": message.uid,
        "internaldate": message.internaldate.isoformat() if message.internaldate else None,
        "from": hit.sender,
        "to": hit.recipients,
        "subject": hit.subject,
        "size": message.size,
        "flags": list(message.flags),
        "keywords": list(message.keywords),
        "message_id": message.message_id,
        "sha256": message.sha256,
        "state": message.state,
        "path": message.path,
    }


def _show(hits: Iterator[Hit], listener: Listener) -> int:
    rows = [
        [
            str(hit.message.id),
            hit.message.internaldate.strftime("%Y-%m-%d %H:%M")
            if hit.message.internaldate
            else "-",
            _short(hit.sender),
            _short(hit.subject),
            hit.message.folder,
        ]
        for hit in hits
    ]
    if rows:
        listener.table(["id", "received", "from", "subject", "folder"], rows)
    return len(rows)


def _short(text: str | None) -> str:
    return plain(text or "", _LONGEST)


def _say_the_rest(listener: Listener, shown: int, more: int) -> None:
    if not shown:
        listener.say("nothing matches")
    elif more >= _COUNTED:
        listener.say(f"{shown:,} shown; more than {_COUNTED:,} more (--limit 0 shows all)")
    elif more:
        listener.say(f"{shown:,} shown; {more:,} more (--limit 0 shows all)")
    else:
        listener.say(count_text(shown, "message"))
