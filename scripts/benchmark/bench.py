"""The run of a bench: its stand, its peers, and the things that several cells need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.benchmark import us
from scripts.benchmark.corpora import Corpus
from scripts.benchmark.stand import say

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.benchmark.peers import Peers
    from scripts.benchmark.sizes import Sizes
    from scripts.benchmark.stand import Stand

MOST_MEMORY = 64.0
"""MB that one process of ours may take at its peak."""


@dataclass(slots=True)
class Bench:
    """Who takes part, where, and at which distances."""

    stand: Stand
    peers: Peers
    distances: tuple[float, ...] = (0.04,)
    """Round trips in seconds, besides none."""
    _archives: dict[str, Path] = field(default_factory=dict)
    _maildirs: dict[str, Path | None] = field(default_factory=dict)

    @property
    def sizes(self) -> Sizes:
        """How much is measured."""
        return self.stand.sizes

    @property
    def flat(self) -> Corpus:
        """The small messages in one folder."""
        return Corpus("small", self.sizes.small)

    @property
    def tree(self) -> Corpus:
        """The same over many folders."""
        return Corpus("small", self.sizes.small, self.sizes.folders)

    def archive(self, wanted: Corpus) -> Path:
        """Return a complete archive of a corpus, made before anything is measured with it."""
        if wanted.user not in self._archives:
            self.stand.lay(wanted)
            say(f"an archive of {wanted.user}")
            archive = self.stand.new_directory()
            us.export(self.stand, archive, wanted)
            self._archives[wanted.user] = archive
        return self._archives[wanted.user]

    def maildir(self, wanted: Corpus) -> Path | None:
        """Return a corpus as mbsync keeps it, None without mbsync."""
        if wanted.user not in self._maildirs:
            self.stand.lay(wanted)
            self._maildirs[wanted.user] = self.peers.maildir(self.stand, wanted)
        return self._maildirs[wanted.user]
