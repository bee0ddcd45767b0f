"""What providers and others have published of the servers, written down apart from the presets.

Each line is host, port and how it is encrypted, of IMAP, POP3 and SMTP, then the login and the
file of Thunderbird's ISPDB or the page where it stands (read in November 2026).
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    imap: str
    pop3: str | None
    smtp: str
    login: str
    source: str


_ADDRESS = "%EMAILADDRESS%"
_LOCAL = "%EMAILLOCALPART%"

PUBLISHED = {
    "aol": Published(
        "imap.aol.com 993 SSL",
        "pop.aol.com 995 SSL",
        "smtp.aol.com 465 SSL",
        _ADDRESS,
        "aol.com.xml",
    ),
    "gmail": Published(
        "imap.gmail.com 993 SSL",
        "pop.gmail.com 995 SSL",
        "smtp.gmail.com 465 SSL",
        _ADDRESS,
        "googlemail.com.xml",
    ),
    "icloud": Published(
        "imap.mail.me.com 993 SSL",
        None,
        "smtp.mail.me.com 587 STARTTLS",
        _LOCAL,
        "me.com.xml",
    ),
    "office365": Published(
        "outlook.office365.com 993 SSL",
        "outlook.office365.com 995 SSL",
        "smtp.office365.com 587 STARTTLS",
        _ADDRESS,
        "office365.com.xml",
    ),
    "outlook": Published(
        "outlook.office365.com 993 SSL",
        "outlook.office365.com 995 SSL",
        "smtp-mail.outlook.com 587 STARTTLS",
        _ADDRESS,
        "hotmail.com.xml",
    ),
    "yahoo": Published(
        "export.imap.mail.yahoo.com 993 SSL",
        "pop.mail.yahoo.com 995 SSL",
        "smtp.mail.yahoo.com 465 SSL",
        _ADDRESS,
        "yahoo.com.xml",
    ),
    "gmx": Published(
        "imap.gmx.net 993 SSL",
        "pop.gmx.net 995 SSL",
        "mail.gmx.net 465 SSL",
        _ADDRESS,
        "gmx.net.xml",
    ),
    "gmx-com": Published(
        "imap.gmx.com 993 SSL",
        "pop.gmx.com 995 SSL",
        "mail.gmx.com 465 SSL",
        _ADDRESS,
        "gmx.com.xml",
    ),
    "web.de": Published(
        "imap.web.de 993 SSL",
        "pop3.web.de 995 SSL",
        "smtp.web.de 465 SSL",
        _LOCAL,
        "web.de.xml",
    ),
    "fastmail": Published(
        "imap.fastmail.com 993 SSL",
        "pop.fastmail.com 995 SSL",
        "smtp.fastmail.com 465 SSL",
        _ADDRESS,
        "messagingengine.com.xml",
    ),
    "zoho": Published(
        "imap.zoho.com 993 SSL",
        "pop.zoho.com 995 SSL",
        "smtp.zoho.com 465 SSL",
        _ADDRESS,
        "zoho.com.xml",
    ),
    "ionos": Published(
        "imap.1und1.de 993 SSL",
        "pop.1und1.de 995 SSL",
        "smtp.1und1.de 465 SSL",
        _ADDRESS,
        "1und1.de.xml",
    ),
    "yandex": Published(
        "imap.yandex.com 993 SSL",
        "pop.yandex.com 995 SSL",
        "smtp.yandex.com 465 SSL",
        _ADDRESS,
        "yandex.ru.xml",
    ),
    "mail.ru": Published(
        "imap.mail.ru 993 SSL",
        "pop.mail.ru 995 SSL",
        "smtp.mail.ru 465 SSL",
        _ADDRESS,
        "mail.ru",
    ),
    "proton": Published(
        "127.0.0.1 1143 STARTTLS",
        None,
        "127.0.0.1 1025 STARTTLS",
        _ADDRESS,
        "Proton Support",
    ),
}
