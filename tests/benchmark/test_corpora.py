"""A corpus is what its name says, and the same each time."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice

import pytest

from scripts.benchmark.corpora import Corpus, folder_names, mixed, small
from scripts.benchmark.sizes import FULL


def digest(corpus: Corpus) -> str:
    found = hashlib.sha256()
    for name, sample in corpus.mail():
        found.update(f"{name} {sample.flags} {sample.internaldate}".encode() + sample.body)
    return found.hexdigest()


@pytest.mark.parametrize("kind", ["small", "mixed", "tiny"])
def test_a_corpus_is_the_same_each_time(kind: str) -> None:
    corpus = Corpus(kind, 40, 4)  # type: ignore[arg-type]  # parametrized

    assert digest(corpus) == digest(corpus)


def test_another_name_means_another_mailbox() -> None:
    corpora = [
        Corpus("small", 100),
        Corpus("small", 100, 20),
        Corpus("tiny", 100),
        Corpus("large", 100),
        Corpus("large", 100, large=5_000),
    ]

    assert len({each.user for each in corpora}) == len(corpora)


def test_small_messages_have_4_to_8_kb() -> None:
    sizes = [len(sample.body) for _, sample in small(300, ["INBOX"])]

    assert min(sizes) >= 4000
    assert max(sizes) <= 8200


def test_folders_come_one_after_the_other_and_share_evenly() -> None:
    names = [name for name, _ in small(200, folder_names(20))]

    assert names == sorted(names, key=folder_names(20).index)
    assert set(Counter(names).values()) == {10}


def test_half_of_the_mixed_messages_are_small_and_few_are_very_large() -> None:
    sizes = sorted(len(sample.body) for _, sample in islice(mixed(400, ["INBOX"]), 400))

    assert 6_000 < sizes[200] < 11_000
    assert sizes[-1] > 1_000_000
    assert sizes[-1] < 22_000_000


def test_lines_end_as_mail_does_and_none_is_too_long() -> None:
    for _, sample in Corpus("mixed", 60).mail():
        assert sample.body.count(b"\r\n") == sample.body.count(b"\n")
        assert max(map(len, sample.body.split(b"\r\n"))) <= 998


def test_the_full_sizes_are_those_for_which_the_goals_are_stated() -> None:
    sizes = FULL

    assert (sizes.small, sizes.mixed, sizes.folders) == (20_000, 5_000, 20)
    assert (sizes.large, sizes.many, sizes.million) == (200_000_000, 200_000, 1_000_000)
