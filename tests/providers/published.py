"""What providers and others have published of the servers, written down apart from the presets.

Each line is host, port and how it is encrypted, of IMAP, POP3 and SMTP, then the login, the
file of Thunderbird's ISPDB or the page where it stands (read in November 2026), and the domains
of addresses that it lists. What is a mail exchanger there, or a customer of Google's or
Microsoft's, is left out: those are found by their MX.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    imap: str
    pop3: str | None
    smtp: str
    login: str
    source: str
    domains: str = ""


class PublishedOAuth(NamedTuple):
    authorization: str
    token: str
    revocation: str | None
    scope: str
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
        "aol.com aim.com netscape.net netscape.com compuserve.com cs.com wmconnect.com "
        "aol.de aol.it aol.fr aol.es aol.se aol.co.uk aol.co.nz aol.com.au aol.com.ar "
        "aol.com.br aol.com.mx",
    ),
    "gmail": Published(
        "imap.gmail.com 993 SSL",
        "pop.gmail.com 995 SSL",
        "smtp.gmail.com 465 SSL",
        _ADDRESS,
        "googlemail.com.xml",
        "gmail.com googlemail.com",
    ),
    "icloud": Published(
        "imap.mail.me.com 993 SSL",
        None,
        "smtp.mail.me.com 587 STARTTLS",
        _LOCAL,
        "me.com.xml",
        "mac.com me.com icloud.com",
    ),
    "office365": Published(
        "outlook.office365.com 993 SSL",
        "outlook.office365.com 995 SSL",
        "smtp.office365.com 587 STARTTLS",
        _ADDRESS,
        "office365.com.xml",
        "office365.com",
    ),
    "outlook": Published(
        "outlook.office365.com 993 SSL",
        "outlook.office365.com 995 SSL",
        "smtp-mail.outlook.com 587 STARTTLS",
        _ADDRESS,
        "hotmail.com.xml",
        "hotmail.com live.com msn.com outlook.com windowslive.com outlook.at outlook.be "
        "outlook.cl outlook.cz outlook.de outlook.dk outlook.es outlook.fr outlook.hu "
        "outlook.ie outlook.in outlook.it outlook.jp outlook.kr outlook.lv outlook.my "
        "outlook.ph outlook.pt outlook.sa outlook.sg outlook.sk outlook.co.id "
        "outlook.co.il outlook.co.th outlook.com.ar outlook.com.au outlook.com.br "
        "outlook.com.gr outlook.com.tr outlook.com.vn hotmail.be hotmail.ca hotmail.cl "
        "hotmail.cz hotmail.de hotmail.dk hotmail.es hotmail.fi hotmail.fr hotmail.gr "
        "hotmail.hu hotmail.it hotmail.lt hotmail.lv hotmail.my hotmail.nl hotmail.no "
        "hotmail.ph hotmail.rs hotmail.se hotmail.sg hotmail.sk hotmail.co.id "
        "hotmail.co.il hotmail.co.in hotmail.co.jp hotmail.co.kr hotmail.co.th "
        "hotmail.co.uk hotmail.co.za hotmail.com.ar hotmail.com.au hotmail.com.br "
        "hotmail.com.hk hotmail.com.tr hotmail.com.tw hotmail.com.vn live.at live.be "
        "live.ca live.cl live.cn live.de live.dk live.fi live.fr live.hk live.ie live.in "
        "live.it live.jp live.nl live.no live.ru live.se live.co.jp live.co.kr live.co.uk "
        "live.co.za live.com.ar live.com.au live.com.mx live.com.my live.com.ph "
        "live.com.pt live.com.sg livemail.tw",
    ),
    "yahoo": Published(
        "export.imap.mail.yahoo.com 993 SSL",
        "pop.mail.yahoo.com 995 SSL",
        "smtp.mail.yahoo.com 465 SSL",
        _ADDRESS,
        "yahoo.com.xml",
        "yahoo.com yahoo.de yahoo.it yahoo.fr yahoo.es yahoo.se yahoo.co.in yahoo.co.uk "
        "yahoo.co.nz yahoo.com.au yahoo.com.ar yahoo.com.br yahoo.com.mx ymail.com "
        "myyahoo.com rocketmail.com cox.net",
    ),
    "gmx": Published(
        "imap.gmx.net 993 SSL",
        "pop.gmx.net 995 SSL",
        "mail.gmx.net 465 SSL",
        _ADDRESS,
        "gmx.net.xml",
        "gmx.net gmx.de gmx.at gmx.ch gmx.eu gmx.biz gmx.org gmx.info mein.gmx mail.gmx email.gmx",
    ),
    "gmx-com": Published(
        "imap.gmx.com 993 SSL",
        "pop.gmx.com 995 SSL",
        "mail.gmx.com 465 SSL",
        _ADDRESS,
        "gmx.com.xml",
        "gmx.com gmx.tm gmx.us gmx.co.uk gmx.es gmx.fr gmx.ca gmx.cn gmx.co.in gmx.com.br "
        "gmx.com.my gmx.hk gmx.ie gmx.ph gmx.pt gmx.ru gmx.se gmx.sg gmx.tw gmx.com.tr "
        "gmx.it gmx.li",
    ),
    "web.de": Published(
        "imap.web.de 993 SSL",
        "pop3.web.de 995 SSL",
        "smtp.web.de 465 SSL",
        _LOCAL,
        "web.de.xml",
        "web.de",
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
        "zoho.com zohomail.com",
    ),
    "zoho-eu": Published(
        "imap.zoho.eu 993 SSL",
        "pop.zoho.eu 995 SSL",
        "smtp.zoho.eu 465 SSL",
        _ADDRESS,
        "zoho.eu.xml",
        "zoho.eu zohomail.eu",
    ),
    "zoho-in": Published(
        "imap.zoho.in 993 SSL",
        "pop.zoho.in 995 SSL",
        "smtp.zoho.in 465 SSL",
        _ADDRESS,
        "zoho.in.xml",
        "zoho.in zohomail.in",
    ),
    "zoho-au": Published(
        "imap.zoho.com.au 993 SSL",
        "pop.zoho.com.au 995 SSL",
        "smtp.zoho.com.au 465 SSL",
        _ADDRESS,
        "zoho.com.au.xml",
        "zoho.com.au zohomail.com.au",
    ),
    "zoho-jp": Published(
        "imap.zoho.jp 993 SSL",
        "pop.zoho.jp 995 SSL",
        "smtp.zoho.jp 465 SSL",
        _ADDRESS,
        "in general use",
        "zohomail.jp",
    ),
    "zoho-ca": Published(
        "imap.zohocloud.ca 993 SSL",
        "pop.zohocloud.ca 995 SSL",
        "smtp.zohocloud.ca 465 SSL",
        _ADDRESS,
        "in general use",
        "zohomail.ca",
    ),
    "ionos": Published(
        "imap.1und1.de 993 SSL",
        "pop.1und1.de 995 SSL",
        "smtp.1und1.de 465 SSL",
        _ADDRESS,
        "1und1.de.xml",
        "online.de onlinehome.de sofortstart.de sofort-start.de sofortsurf.de "
        "sofort-surf.de go4more.de",
    ),
    "yandex": Published(
        "imap.yandex.com 993 SSL",
        "pop.yandex.com 995 SSL",
        "smtp.yandex.com 465 SSL",
        _ADDRESS,
        "yandex.ru.xml",
        "yandex.ru yandex.com yandex.by yandex.kz yandex.ua ya.ru narod.ru",
    ),
    "mail.ru": Published(
        "imap.mail.ru 993 SSL",
        "pop.mail.ru 995 SSL",
        "smtp.mail.ru 465 SSL",
        _ADDRESS,
        "mail.ru",
        "mail.ru inbox.ru list.ru bk.ru",
    ),
    "proton": Published(
        "127.0.0.1 1143 STARTTLS",
        None,
        "127.0.0.1 1025 STARTTLS",
        _ADDRESS,
        "Proton Support",
    ),
}

NOT_LISTED = {
    "fastmail": "fastmail.com fastmail.fm",
    "mail.ru": "internet.ru",
    "proton": "proton.me protonmail.com protonmail.ch pm.me",
}
"""Domains that a preset has beyond those that its source lists; they are in general use."""

OAUTH = {
    "gmail": PublishedOAuth(
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com/revoke",
        "https://mail.google.com/",
        "OAuth 2.0 for Mobile & Desktop Apps",
    ),
    "yandex": PublishedOAuth(
        "https://oauth.yandex.ru/authorize",
        "https://oauth.yandex.ru/token",
        None,
        "mail:imap_full",
        "Получение кода подтверждения от пользователя",
    ),
}
