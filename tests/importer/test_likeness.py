"""Messages against what a server makes of them that keeps properties and not octets."""

from __future__ import annotations

import base64
import hashlib
import quopri
import random
import tracemalloc
from email import message_from_bytes, policy
from email.message import EmailMessage, Message

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importer.likeness import Level, compare, same_headers
from importer.mime import Likeness, MimeDigest
from tests import corpus

TEXT = "Grüße aus Köln,\r\n\r\nder Bericht liegt bei.  \r\n\r\n-- \r\nÅsa\r\n"
HTML = "<html><body><p>Grüße aus Köln, der Bericht liegt bei.</p></body></html>\r\n"
FILE = bytes(range(256)) * 40


def likeness(octets: bytes, piece: int = 0) -> Likeness:
    digest = MimeDigest()
    step = piece or len(octets) or 1
    for start in range(0, len(octets), step):
        digest.write(memoryview(octets)[start : start + step])
    return digest.likeness


def message(
    text: str | None = TEXT,
    html: str | None = HTML,
    files: dict[str, bytes] | None = None,
    cte: str = "quoted-printable",
    charset: str = "iso-8859-1",
) -> bytes:
    made = EmailMessage(policy=policy.SMTP)
    made["From"] = "Åsa Köhler <asa@example.org>"
    made["Subject"] = "Bericht für März"
    if text is not None:
        made.set_content(text, charset=charset, cte=cte)
    if html is not None:
        if text is None:
            made.set_content(html, subtype="html", charset=charset, cte=cte)
        else:
            made.add_alternative(html, subtype="html", charset=charset, cte=cte)
    for name, octets in ({"Bericht Köln.pdf": FILE} if files is None else files).items():
        made.add_attachment(octets, maintype="application", subtype="pdf", filename=name)
    return made.as_bytes()


def test_leaves_are_texts_and_files_decoded() -> None:
    text, html, file = likeness(message()).leaves

    assert (text.kind, text.name, text.is_alternative) == ("text", "text/plain", True)
    plain = "Grüße aus Köln, der Bericht liegt bei. -- Åsa".encode()
    assert (text.sha256, text.size) == (hashlib.sha256(plain).hexdigest(), len(plain))
    assert (html.kind, html.name) == ("text", "text/html")
    assert (file.kind, file.name, file.size) == ("attachment", "Bericht Köln.pdf", len(FILE))
    assert file.sha256 == hashlib.sha256(FILE).hexdigest()


@pytest.mark.parametrize("cte", ["base64", "8bit", "quoted-printable"])
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_another_transfer_encoding_charset_or_boundary_makes_no_difference(
    cte: str, charset: str
) -> None:
    there = message(cte=cte, charset=charset)

    assert compare(likeness(message()), likeness(there)) == (Level.EQUAL, ())


def test_other_headers_and_other_folding_make_no_difference() -> None:
    made = message_from_bytes(message(), policy=policy.SMTP.clone(max_line_length=40))
    made["X-MS-Exchange-Organization-SCL"] = "-1"
    for part in made.walk():
        part["X-Other"] = "x" * 30 + " " + "y" * 30
        if part.is_multipart():
            part.set_boundary("_000_AM0PR01MB0001eurprd01prod_")

    assert compare(likeness(message()), likeness(made.as_bytes())) == (Level.EQUAL, ())


def test_bare_line_ends_of_the_archive_make_no_difference() -> None:
    text = {"notes.txt": b"one\r\ntwo\r\n"}
    ours = message(files=text).replace(b"\r\n", b"\n")

    assert compare(likeness(ours), likeness(message(files=text))) == (Level.EQUAL, ())


def test_a_text_file_in_7bit_equals_itself_in_base64() -> None:
    head = b"Content-Type: text/x-log; name=a.log\r\nContent-Transfer-Encoding: "
    text = b"one\r\ntwo\r\n"
    ours = head + b"7bit\r\n\r\n" + text.replace(b"\r\n", b"\n")
    theirs = head + b"base64\r\n\r\n" + base64.encodebytes(text)

    assert compare(likeness(ours), likeness(theirs)) == (Level.EQUAL, ())
    assert likeness(ours).leaves[0].kind == "attachment"


def test_one_changed_octet_in_a_file_is_found() -> None:
    changed = bytearray(FILE)
    changed[5000] ^= 1

    level, words = compare(
        likeness(message()), likeness(message(files={"Bericht Köln.pdf": bytes(changed)}))
    )

    assert level is Level.DIFFERENT
    assert words == ("attachment Bericht Köln.pdf differs (10240 octets, there 10240)",)


def test_a_missing_file_and_one_too_many_are_named() -> None:
    one, two = {"a.pdf": b"1"}, {"a.pdf": b"1", "b.pdf": b"2"}

    assert compare(likeness(message(files=two)), likeness(message(files=one))) == (
        Level.DIFFERENT,
        ("attachment b.pdf is missing (1 octets)",),
    )
    assert compare(likeness(message(files=one)), likeness(message(files=two))) == (
        Level.DIFFERENT,
        ("attachment b.pdf is there only (1 octets)",),
    )


def test_a_changed_text_is_named_by_its_number() -> None:
    level, words = compare(likeness(message()), likeness(message(html=HTML.replace("p>", "b>"))))

    assert level is Level.DIFFERENT
    assert words[0].startswith("text part 2 differs (")


def test_a_dropped_plain_text_alternative_is_a_lesser_difference() -> None:
    assert compare(likeness(message()), likeness(message(text=None))) == (
        Level.ALIKE,
        ("the plain-text alternative is gone; the HTML part is equal",),
    )
    assert compare(likeness(message()), likeness(message(text="made anew"))) == (
        Level.ALIKE,
        ("the plain-text alternative was made anew; the HTML part is equal",),
    )
    assert compare(likeness(message(text=None)), likeness(message())) == (
        Level.ALIKE,
        ("a plain-text alternative was added; the HTML part is equal",),
    )


def test_a_dropped_text_that_is_no_alternative_is_a_loss() -> None:
    assert compare(likeness(message(html=None)), likeness(message(text=None, html=None)))[0] is (
        Level.DIFFERENT
    )


def test_a_renamed_file_is_a_lesser_difference() -> None:
    assert compare(
        likeness(message(files={"a.pdf": b"1"})), likeness(message(files={"ATT00001.pdf": b"1"}))
    ) == (Level.ALIKE, ("attachment a.pdf is named ATT00001.pdf there",))


def test_encrypted_mail_that_became_mixed_is_equal() -> None:
    ours = (
        b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x\r\n'
        b"\r\n--x\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--x\r\n"
        b"Content-Type: application/octet-stream; name=encrypted.asc\r\n\r\n-----BEGIN PGP\r\n"
        b"\r\n--x--\r\n"
    )
    theirs = ours.replace(b"multipart/encrypted", b"multipart/mixed").replace(b"--x", b"--other")
    theirs = theirs.replace(b"boundary=x", b'boundary="other"')

    assert compare(likeness(ours), likeness(theirs)) == (Level.EQUAL, ())
    assert len(likeness(ours).leaves) == 2


@pytest.mark.parametrize(
    "parameter",
    [
        'filename="Bericht =?utf-8?q?K=C3=B6ln=2Epdf?="',
        "filename*=utf-8''Bericht%20K%C3%B6ln.pdf",
        "filename*0*=iso-8859-1'de'Bericht%20K;\r\n filename*1*=%F6ln; filename*2=.pdf",
        'FileName = "Bericht K\\\u00f6ln.pdf" ; size=3',
    ],
)
def test_file_names_are_decoded_however_they_are_written(parameter: str) -> None:
    octets = f"Content-Disposition: attachment; {parameter}\r\n\r\nabc".encode()

    assert likeness(octets).leaves[0].name == "Bericht Köln.pdf"


def test_parts_of_an_attached_message_are_compared() -> None:
    for encode in (False, True):
        inner = message()
        outer = b"Content-Type: message/rfc822\r\n"
        if encode:
            outer += b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(inner)
        else:
            outer += b"\r\n" + inner
        whole = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" + outer + b"\r\n--o--"
        assert likeness(whole) == likeness(inner)


def test_messages_in_messages_without_end_are_taken_as_they_are() -> None:
    deep = b"Content-Type: message/rfc822\r\n\r\n" * 500 + b"\r\nend"

    assert len(likeness(deep).leaves) == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\r\n",
        b"no header at all",
        b"Content-Type: multipart/mixed\r\n\r\nno boundary",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\nit never comes",
        b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xff\xfe",
        b"Content-Type: text/plain; charset=rot13\r\n\r\nabc",
        b"Content-Type: text/plain; charset=utf-7\r\n\r\n+" + b"A" * 200_000,
        b"Content-Type: ;;;\r\nContent-Transfer-Encoding: base64\r\n\r\n=A=B==\xff\0C",
    ],
)
def test_a_broken_message_is_one_text(broken: bytes) -> None:
    found = likeness(broken)

    assert [leaf.kind for leaf in found.leaves] == ["text"]
    assert compare(found, likeness(broken, 3)) == (Level.EQUAL, ())


def test_text_that_was_no_utf8_is_read_as_windows_text() -> None:
    ours = b"Subject: x\r\n\r\nna\xefve \x80\r\n"
    theirs = "Content-Type: text/plain; charset=utf-8\r\n\r\nnaïve €\r\n".encode()

    assert likeness(ours) == likeness(theirs)


def test_composed_and_decomposed_letters_are_one() -> None:
    long = "e" * 65_535
    for text in ("Å é", "Å e\u0301", long + "\u0301"):
        composed = f"\r\n{text}".encode()
        assert likeness(composed).leaves == likeness(composed, 7).leaves
    assert likeness("\r\nÅ é".encode()) == likeness("\r\nA\u030a e\u0301".encode())


_LINES = st.lists(
    st.sampled_from(
        [
            b"Content-Type: multipart/mixed; boundary=x",
            b"Content-Type: multipart/alternative; boundary=y",
            b"Content-Type: message/rfc822",
            b"Content-Type: application/pdf; name=a",
            b"Content-Type: text/html; charset=iso-2022-jp",
            b"Content-Transfer-Encoding: base64",
            b"Content-Transfer-Encoding: quoted-printable",
            b"", b"", b"--x", b"--y", b"--x--", b"--y--", b"--z", b"- -", b"QUJD=RA=",
            b"=C3=A4 =", b"a \xc3\xa4\xff\0", b"\x1b$B", b"x\r\r", b"--" + b"x" * 70_000,
        ]
    ),
    max_size=30,
)  # fmt: skip


@given(lines=_LINES, end=st.sampled_from([b"\r\n", b"\n"]), piece=st.integers(1, 500))
@settings(max_examples=150, deadline=None)
def test_the_pieces_make_no_difference(lines: list[bytes], end: bytes, piece: int) -> None:
    octets = end.join(lines)[:150_000]

    assert likeness(octets, piece) == likeness(octets)


@given(octets=st.binary(max_size=2000))
@settings(max_examples=100, deadline=None)
def test_any_octets_have_an_answer(octets: bytes) -> None:
    assert likeness(octets).leaves


@given(
    text=st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=300),
    file=st.binary(max_size=3000),
    name=st.text(st.sampled_from("abc äöü€.-_()"), min_size=1, max_size=80),
)
@settings(max_examples=60, deadline=None)
def test_what_pythons_email_package_decodes_is_what_is_found(
    text: str, file: bytes, name: str
) -> None:
    octets = message(text=text, html=None, files={name: file}, charset="utf-8", cte="base64")

    found_text, found_file = likeness(octets).leaves

    parsed = message_from_bytes(octets, policy=policy.default)
    words = " ".join(_content(parsed, 0).decode().split())
    raw = _content(parsed, 1)
    assert found_file.sha256 == hashlib.sha256(raw).hexdigest()
    assert found_file.name == " ".join(name.split())
    assert (found_text.size == 0) == (not words.strip("\ufeff "))


def _content(parsed: Message, part: int) -> bytes:
    payload = list(parsed.walk())[part + 1].get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def made_anew(octets: bytes) -> bytes:
    """Swap quoted-printable and base64, and give other boundaries, as Exchange does."""
    parsed = message_from_bytes(octets, policy=policy.compat32)
    for number, part in enumerate(parsed.walk()):
        if part.is_multipart():
            if part.get_content_maintype() == "multipart":
                part.set_boundary(f"_{number:03}_AM0PR01MB0001_")
            continue
        decoded = part.get_payload(decode=True)
        was_base64 = str(part["Content-Transfer-Encoding"]).strip().lower() == "base64"
        del part["Content-Transfer-Encoding"]
        assert isinstance(decoded, bytes)
        if was_base64 and part.get_content_maintype() == "text":
            part["Content-Transfer-Encoding"] = "quoted-printable"
            part.set_payload(quopri.encodestring(decoded.replace(b"\r\n", b"\n")).decode("ascii"))
        else:
            part["Content-Transfer-Encoding"] = "base64"
            part.set_payload(base64.encodebytes(decoded).decode("ascii"))
    return parsed.as_bytes()


def test_a_corpus_made_anew_by_another_parser_is_alike() -> None:
    for sample in corpus.messages(seed=5, count=400, hostile_share=0):
        level, words = compare(likeness(sample.body), likeness(made_anew(sample.body)))

        assert level is not Level.DIFFERENT, (words, sample.body)


@pytest.mark.parametrize(("name", "octets"), corpus.hostile(), ids=lambda value: str(value)[:40])
def test_hostile_mail_has_one_answer(name: str, octets: bytes) -> None:
    found = likeness(octets)

    assert found.leaves
    assert likeness(octets, 997) == found
    assert same_headers(octets, octets.replace(b"\r\n", b"\n")) == ()


@pytest.mark.parametrize("kind", ["base64", "endless 8bit", "endless quoted-printable", "text"])
def test_60_megabytes_are_never_held(kind: str) -> None:
    head = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n"
    encoding = kind.removeprefix("endless ")
    if kind != "text":
        head += b"Content-Type: application/pdf; name=a\r\n"
    head += b"Content-Transfer-Encoding: %s\r\n\r\n" % encoding.encode()
    raw = random.Random(1).randbytes(60_000)
    block = base64.encodebytes(raw) if kind in ("base64", "text") else b"x" * 80_000
    digest = MimeDigest()
    digest.write(head)
    tracemalloc.start()
    for _ in range(60_000_000 // len(block)):
        digest.write(block)
    digest.write(b"\r\n--x--\r\n")
    found = digest.likeness
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 2_000_000
    assert found.leaves[0].size > 40_000_000


def test_more_parts_than_are_kept_are_compared_by_one_digest() -> None:
    parts = b"".join(b"--x\r\n\r\n%d\r\n" % number for number in range(10_050))
    octets = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + parts + b"--x--\r\n"

    found = likeness(octets)

    assert len(found.leaves) == 10_001
    assert found.leaves[-1].size == 50
    assert compare(found, likeness(octets.replace(b"\n10049", b"\n10048")))[0] is Level.DIFFERENT


HEAD = (
    b'Message-ID: <1@example.org>\r\nDate: Wed, 1 May 2024 12:00:00 +0200\r\nFrom: "K, A" <A@B.org>'
    b"\r\nTo: c@example.org,\r\n d@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an\r\n alle"
    b"\r\n\r\n"
)


def test_headers_made_anew_are_the_same() -> None:
    there = (
        b'Subject: =?iso-8859-1?b?R3L832U=?= an alle\r\nFrom: "K, A" <a@b.org>\r\n'
        b'To: "c@example.org" <c@example.org>, <d@example.org>\r\nCc:\r\n'
        b"Date: Wed, 1 May 2024 10:00:00 +0000\r\nMessage-ID:\r\n <1@example.org>\r\n\r\n"
    )

    assert same_headers(HEAD, there) == ()


def test_each_header_that_differs_is_named() -> None:
    for old, new, name in (
        (b"<1@", b"<2@", "Message-ID"),
        (b"12:00:00", b"12:00:01", "Date"),
        (b"A@B.org", b"x@b.org", "From"),
        (b"d@", b"e@", "To"),
        (b" alle", b" keinen", "Subject"),
        (b"Subject", b"Cc: x@example.org\r\nSubject", "Cc"),
    ):
        assert same_headers(HEAD, HEAD.replace(old, new)) == (name,)


def test_an_invented_message_id_is_no_difference_a_lost_one_is() -> None:
    without = HEAD.replace(b"Message-ID", b"X-Other")

    assert same_headers(without, HEAD) == ()
    assert same_headers(HEAD, without) == ("Message-ID",)


@given(head=st.binary(max_size=300))
def test_any_header_is_the_same_as_itself(head: bytes) -> None:
    assert same_headers(head, head) == ()
