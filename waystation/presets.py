"""The presets, as data. Each says where its values are from.

"ISPDB" is Thunderbird's database of providers (github.com/thunderbird/autoconfig, ``ispdb/``).
What only has a source in experience says "in general use".

Office 365 is Exchange Online; its servers are the same for all tenants of a cloud, and only
OAuth opens them. Where the values of the clouds are from:

* worldwide: "Authenticate an IMAP, POP or SMTP connection using OAuth" (Microsoft Learn), for
  host, scopes and the scope of applications; the host also in the ISPDB.
* consumers (Outlook.com, Hotmail): the same host (ISPDB, hotmail.com.xml); personal accounts
  sign in below ``/consumers`` ("Microsoft identity platform and OAuth 2.0 authorization code
  flow", Microsoft Learn).
* gcc-high, dod: "National clouds" (Microsoft Learn) for the authority, "Office 365 U.S.
  Government GCC High endpoints" and "… DoD endpoints" for the host. The plain GCC uses the
  worldwide addresses.
* 21vianet: "National clouds" for the authority, "URLs and IP address ranges for Office 365
  operated by 21Vianet" for the host (also email-oauth2-proxy, issue 255).

Each of host, authority and scope can be replaced by an option, should one be wrong or change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from waystation.provider import Cloud, Endpoint, LoginName, OAuth, Provider, SignInKind

if TYPE_CHECKING:
    from waystation.provider import Protocol

_WORLDWIDE = "https://login.microsoftonline.com"
_CONSUMERS = Cloud(
    "consumers",
    "outlook.office365.com",
    _WORLDWIDE,
    "https://outlook.office365.com",
    "https://outlook.office.com",
    tenant="consumers",
)
CLOUDS = (
    Cloud(
        "worldwide",
        "outlook.office365.com",
        _WORLDWIDE,
        "https://outlook.office365.com",
        "https://outlook.office.com",
    ),
    Cloud(
        "gcc-high",
        "outlook.office365.us",
        "https://login.microsoftonline.us",
        "https://outlook.office365.us",
    ),
    Cloud(
        "dod",
        "outlook-dod.office365.us",
        "https://login.microsoftonline.us",
        "https://outlook-dod.office365.us",
    ),
    Cloud(
        "21vianet",
        "partner.outlook.cn",
        "https://login.partner.microsoftonline.cn",
        "https://partner.outlook.cn",
    ),
    _CONSUMERS,
)

_APP_PASSWORD = (SignInKind.APP_PASSWORD,)
_EITHER = (SignInKind.PASSWORD, SignInKind.APP_PASSWORD)

_AOL = Provider(
    name="aol",
    title="AOL Mail",
    imap=Endpoint("imap.aol.com", 993),
    pop3=Endpoint("pop.aol.com", 995),
    smtp=Endpoint("smtp.aol.com", 465),
    sign_in=_APP_PASSWORD,
    where="https://login.aol.com/account/security",
    limits=(
        "IMAP shows the newest 10,000 messages of a folder, with --server "
        "export.imap.aol.com:993 the newest 100,000.",
    ),
    quirks=(
        "OAuth is closed to new applications: an app password is the only way in.",
        "FETCH may answer 'Server error - Please try again later'; the same run asks again.",
    ),
    sources=(
        "ISPDB, aol.com.xml",
        "thunderbird/autoconfig issue 71",
        "Yahoo, 'Yahoo IMAP/SMTP Exchange using OAUTH2' (Sender Hub): partners only",
    ),
    aliases=("aim", "netscape"),
    domains=(
        *("aol.com", "aim.com", "netscape.net", "netscape.com", "compuserve.com", "cs.com"),
        *("wmconnect.com", "aol.de", "aol.it", "aol.fr", "aol.es", "aol.se", "aol.co.uk"),
        *("aol.co.nz", "aol.com.au", "aol.com.ar", "aol.com.br", "aol.com.mx"),
    ),
    mx=("mx-aol.mail.gm0.yahoodns.net", "mail.gm0.yahoodns.net"),
    hosts=("export.imap.aol.com",),
    windows={"imap.aol.com": 10_000, "export.imap.aol.com": 100_000},
)

# "OAuth 2.0 for Mobile & Desktop Apps" has the endpoints; "OAuth 2.0 for TV and Limited-Input
# Device Applications" lists the scopes that a device code may have, and none of them opens mail.
_GOOGLE = OAuth(
    authorization="https://accounts.google.com/o/oauth2/v2/auth",
    token="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
    revocation="https://oauth2.googleapis.com/revoke",
    scope="https://mail.google.com/",
    protocols=frozenset({"imap", "pop3"}),
    client_id=r"[\w-]+\.apps\.googleusercontent\.com",
    clients="https://console.cloud.google.com/auth/clients",
    consents="https://myaccount.google.com/connections",
    # Else a second sign-in with the same client may bring no refresh token.
    extra={"access_type": "offline", "prompt": "consent"},
    has_service_accounts=True,
    is_on_one_line=True,
    sources=(
        "Google, 'OAuth 2.0 for Mobile & Desktop Apps'",
        "Google, 'Using OAuth 2.0 for Server to Server Applications'",
        "Google, 'IMAP, POP, and SMTP: the XOAUTH2 mechanism'",
    ),
)

_GMAIL = Provider(
    name="gmail",
    title="Gmail and Google Workspace",
    imap=Endpoint("imap.gmail.com", 993),
    pop3=Endpoint("pop.gmail.com", 995),
    smtp=Endpoint("smtp.gmail.com", 465),
    sign_in=(SignInKind.APP_PASSWORD, SignInKind.OAUTH),
    where="https://myaccount.google.com/apppasswords",
    switch_on="2-Step Verification, without which there are no app passwords. In Workspace the "
    "administrator may have to permit IMAP. Folder size limit: 'Do not limit'.",
    limits=(
        "2,500 MB a day by IMAP, 1,250 MB a day by POP3.",
        "15 connections at a time.",
    ),
    quirks=(
        "Every label is a folder, so one message is in many folders and in All Mail as well.",
        "The setting 'Folder size limit' hides the older messages of large folders.",
        "POP3 hides what another program has fetched before.",
        "OAuth wants a client ID of your own; --service-account opens all mailboxes of a "
        "Workspace.",
    ),
    oauth=_GOOGLE,
    # 1,250 MB, taken for 10^6 octets each, and somewhat less: beyond, the mailbox is shut.
    daily={"pop3": 1150 * 1024**2},
    sources=(
        "ISPDB, googlemail.com.xml",
        "Google Workspace Admin Help, 'Gmail bandwidth limits'",
    ),
    aliases=("google", "googlemail", "workspace"),
    domains=("gmail.com", "googlemail.com"),
    mx=("google.com", "googlemail.com"),
    hosts=("imap.googlemail.com", "pop.googlemail.com"),
)

_ICLOUD = Provider(
    name="icloud",
    title="Apple iCloud",
    imap=Endpoint("imap.mail.me.com", 993),
    smtp=Endpoint("smtp.mail.me.com", 587, "starttls"),
    sign_in=_APP_PASSWORD,
    login=LoginName.LOCAL_PART,
    where="https://account.apple.com/account/manage",
    switch_on="Two-factor authentication for the Apple Account, without which there are no "
    "app-specific passwords.",
    limits=("Few connections at a time.",),
    quirks=(
        "IMAP wants the local part as login (bob of bob@icloud.com), SMTP the full address.",
        "With a domain of your own, the login is still that of the @icloud.com address.",
        "There is no POP3.",
    ),
    sources=("ISPDB, me.com.xml", "Apple Support 102525, 'iCloud Mail server settings'"),
    aliases=("apple", "me", "mac"),
    domains=("icloud.com", "me.com", "mac.com"),
    mx=("mail.icloud.com",),
)

_OFFICE365 = Provider(
    name="office365",
    title="Office 365",
    imap=Endpoint("outlook.office365.com", 993),
    pop3=Endpoint("outlook.office365.com", 995),
    smtp=Endpoint("smtp.office365.com", 587, "starttls"),
    sign_in=(SignInKind.OAUTH,),
    where="https://entra.microsoft.com",
    switch_on="IMAP for the mailbox (Set-CASMailbox -ImapEnabled $true), and an app registration "
    "with consent; docs/office365.md shows each step.",
    limits=(
        "Throttled by a budget for each mailbox, which Microsoft does not publish; pauses of up "
        "to five minutes.",
    ),
    quirks=(
        "Calendar, Contacts and other folders that hold no mail are listed too; they are left out.",
        "What it says of a message's size is not the number of octets that it sends.",
        "Meeting requests may come as links, unless Set-CASMailbox -ImapUseProtocolDefaults "
        "$false -ImapForceICalForCalendarRetrievalOption $true.",
    ),
    sources=(
        "Microsoft Learn, 'Authenticate an IMAP, POP or SMTP connection using OAuth'",
        "Microsoft Learn, 'POP3 and IMAP4 in Exchange Online'",
        "ISPDB, office365.com.xml",
    ),
    aliases=("microsoft365", "exchange-online", "o365"),
    domains=("office365.com",),
    mx=("mail.protection.outlook.com", "mx.microsoft"),
    clouds={cloud.name: cloud for cloud in CLOUDS},
)

_OUTLOOK = Provider(
    name="outlook",
    title="Outlook.com, Hotmail, Live, MSN",
    imap=Endpoint("outlook.office365.com", 993),
    pop3=Endpoint("outlook.office365.com", 995),
    smtp=Endpoint("smtp-mail.outlook.com", 587, "starttls"),
    sign_in=(SignInKind.OAUTH,),
    where="https://entra.microsoft.com",
    switch_on="'Let devices and apps use POP' or IMAP in the mailbox's settings (Mail > "
    "Forwarding and IMAP), and an app registration that permits personal Microsoft accounts.",
    limits=("Throttled as Office 365 is; pauses of up to five minutes.",),
    quirks=(
        "No password and no app password has opened a mailbox since September 2024.",
        "Calendar, Contacts and other folders that hold no mail are listed too; they are left out.",
        "What is deleted by POP3 is gone from the mailbox too; waystation deletes nothing.",
    ),
    sources=(
        "ISPDB, hotmail.com.xml",
        "Microsoft Support, 'POP, IMAP, and SMTP settings for Outlook.com'",
    ),
    aliases=("hotmail", "live", "msn", "outlook.com"),
    domains=(
        *("outlook.com", "hotmail.com", "live.com", "msn.com", "windowslive.com", "livemail.tw"),
        *("outlook.at", "outlook.be", "outlook.cl", "outlook.cz", "outlook.de", "outlook.dk"),
        *("outlook.es", "outlook.fr", "outlook.hu", "outlook.ie", "outlook.in", "outlook.it"),
        *("outlook.jp", "outlook.kr", "outlook.lv", "outlook.my", "outlook.ph", "outlook.pt"),
        *("outlook.sa", "outlook.sg", "outlook.sk", "outlook.co.id", "outlook.co.il"),
        *("outlook.co.th", "outlook.com.ar", "outlook.com.au", "outlook.com.br"),
        *("outlook.com.gr", "outlook.com.tr", "outlook.com.vn"),
        *("hotmail.be", "hotmail.ca", "hotmail.cl", "hotmail.cz", "hotmail.de", "hotmail.dk"),
        *("hotmail.es", "hotmail.fi", "hotmail.fr", "hotmail.gr", "hotmail.hu", "hotmail.it"),
        *("hotmail.lt", "hotmail.lv", "hotmail.my", "hotmail.nl", "hotmail.no", "hotmail.ph"),
        *("hotmail.rs", "hotmail.se", "hotmail.sg", "hotmail.sk", "hotmail.co.id"),
        *("hotmail.co.il", "hotmail.co.in", "hotmail.co.jp", "hotmail.co.kr", "hotmail.co.th"),
        *("hotmail.co.uk", "hotmail.co.za", "hotmail.com.ar", "hotmail.com.au"),
        *("hotmail.com.br", "hotmail.com.hk", "hotmail.com.tr", "hotmail.com.tw"),
        "hotmail.com.vn",
        *("live.at", "live.be", "live.ca", "live.cl", "live.cn", "live.de", "live.dk", "live.fi"),
        *("live.fr", "live.hk", "live.ie", "live.in", "live.it", "live.jp", "live.nl", "live.no"),
        *("live.ru", "live.se", "live.co.jp", "live.co.kr", "live.co.uk", "live.co.za"),
        *("live.com.ar", "live.com.au", "live.com.mx", "live.com.my", "live.com.ph"),
        *("live.com.pt", "live.com.sg"),
    ),
    mx=("olc.protection.outlook.com",),
    clouds={_CONSUMERS.name: _CONSUMERS},
)

_YAHOO = Provider(
    name="yahoo",
    title="Yahoo Mail",
    imap=Endpoint("export.imap.mail.yahoo.com", 993),
    pop3=Endpoint("pop.mail.yahoo.com", 995),
    smtp=Endpoint("smtp.mail.yahoo.com", 465),
    sign_in=_APP_PASSWORD,
    where="https://login.yahoo.com/account/security",
    limits=(
        "The export host shows the newest 100,000 messages of a folder, imap.mail.yahoo.com the "
        "newest 10,000.",
    ),
    quirks=(
        "The export host takes nothing in: as a target, Yahoo is reached at imap.mail.yahoo.com.",
        "OAuth is closed to new applications: an app password is the only way in.",
        "FETCH may answer '[SERVERBUG] Server error - Please try again later'; the same run asks "
        "again.",
    ),
    target=Endpoint("imap.mail.yahoo.com", 993),
    sources=(
        "ISPDB, yahoo.com.xml",
        "thunderbird/autoconfig issue 71",
        "bichon issue 271",
        "Yahoo, 'Yahoo IMAP/SMTP Exchange using OAUTH2' (Sender Hub): partners only",
    ),
    aliases=("ymail", "rocketmail"),
    domains=(
        *("yahoo.com", "yahoo.de", "yahoo.it", "yahoo.fr", "yahoo.es", "yahoo.se", "yahoo.co.in"),
        *("yahoo.co.uk", "yahoo.co.nz", "yahoo.com.au", "yahoo.com.ar", "yahoo.com.br"),
        *("yahoo.com.mx", "ymail.com", "myyahoo.com", "rocketmail.com", "cox.net"),
    ),
    mx=("am0.yahoodns.net",),
    hosts=("imap.mail.yahoo.com",),
    windows={"imap.mail.yahoo.com": 10_000, "export.imap.mail.yahoo.com": 100_000},
)

_GMX = Provider(
    name="gmx",
    title="GMX (gmx.net, gmx.de, gmx.at, gmx.ch)",
    imap=Endpoint("imap.gmx.net", 993),
    pop3=Endpoint("pop.gmx.net", 995),
    smtp=Endpoint("mail.gmx.net", 465),
    sign_in=_EITHER,
    where="https://hilfe.gmx.net/pop-imap/einschalten.html",
    switch_on="'POP3/IMAP Abruf' in the e-mail settings, once.",
    limits=("Many sign-ins in a short time lock the address that they come from for a while.",),
    quirks=("With two-factor authentication, an application-specific password is needed.",),
    sources=("ISPDB, gmx.net.xml",),
    aliases=("gmx.net", "gmx.de"),
    domains=(
        *("gmx.net", "gmx.de", "gmx.at", "gmx.ch", "gmx.eu", "gmx.biz", "gmx.org", "gmx.info"),
        *("mein.gmx", "mail.gmx", "email.gmx"),
    ),
    mx=("gmx.net",),
)

_GMX_COM = Provider(
    name="gmx-com",
    title="GMX (gmx.com and other countries)",
    imap=Endpoint("imap.gmx.com", 993),
    pop3=Endpoint("pop.gmx.com", 995),
    smtp=Endpoint("mail.gmx.com", 465),
    sign_in=_EITHER,
    where="https://support.gmx.com/pop-imap/toggle.html",
    switch_on="'POP3 & IMAP' in the e-mail settings, once.",
    limits=("Many sign-ins in a short time lock the address that they come from for a while.",),
    quirks=("Same company as gmx.net, other servers: an account is on one of the two.",),
    sources=("ISPDB, gmx.com.xml",),
    aliases=("gmx.com",),
    domains=(
        *("gmx.com", "gmx.us", "gmx.co.uk", "gmx.es", "gmx.fr", "gmx.ca", "gmx.ie", "gmx.it"),
        *("gmx.li", "gmx.pt", "gmx.se", "gmx.cn", "gmx.hk", "gmx.ph", "gmx.ru", "gmx.sg"),
        *("gmx.tm", "gmx.tw", "gmx.co.in", "gmx.com.br", "gmx.com.my", "gmx.com.tr"),
    ),
)

_WEB_DE = Provider(
    name="web.de",
    title="WEB.DE",
    imap=Endpoint("imap.web.de", 993),
    pop3=Endpoint("pop3.web.de", 995),
    smtp=Endpoint("smtp.web.de", 465),
    sign_in=_EITHER,
    login=LoginName.LOCAL_PART,
    where="https://hilfe.web.de/pop-imap/einschalten.html",
    switch_on="'POP3/IMAP Abruf' in the e-mail settings, once.",
    limits=("POP3 can be asked once in 15 minutes; sooner, the sign-in is refused.",),
    quirks=("The login is the local part: bob of bob@web.de.",),
    sources=("ISPDB, web.de.xml",),
    aliases=("webde",),
    domains=("web.de",),
    mx=("web.de",),
)

_FASTMAIL = Provider(
    name="fastmail",
    title="Fastmail",
    imap=Endpoint("imap.fastmail.com", 993),
    pop3=Endpoint("pop.fastmail.com", 995),
    smtp=Endpoint("smtp.fastmail.com", 465),
    sign_in=_APP_PASSWORD,
    where="https://app.fastmail.com/settings/security/apps",
    quirks=("The cheapest plan has no access for other programs.",),
    sources=("ISPDB, messagingengine.com.xml", "Fastmail Help, 'Server names and ports'"),
    domains=("fastmail.com", "fastmail.fm"),
    mx=("messagingengine.com",),
    hosts=("imap.messagingengine.com",),
)


_IN_USE = "in general use"


def _zoho(
    name: str,
    where: str,
    zone: str,
    domains: tuple[str, ...],
    *,
    source: str | None = None,
    has_pro: bool = True,
) -> Provider:
    """Return the Zoho of one region: an account lives in one, and no other knows it.

    ``zone`` is the end of the names of its hosts: of ``imap.ZONE`` for personal mailboxes, and of
    ``imappro.ZONE`` for those of a domain of one's own, where there is such a one.
    """
    own: dict[Protocol, Endpoint] = {}
    if has_pro:
        own["imap"] = Endpoint(f"imappro.{zone}", 993)
        own["pop3"] = Endpoint(f"poppro.{zone}", 995)
    return Provider(
        name=name,
        title=f"Zoho Mail ({where})",
        imap=Endpoint(f"imap.{zone}", 993),
        pop3=Endpoint(f"pop.{zone}", 995),
        smtp=Endpoint(f"smtp.{zone}", 465),
        own_domains=own,
        sign_in=_EITHER,
        where=f"https://accounts.{zone}/home#security/app_password",
        switch_on="IMAP access in Zoho Mail > Settings > Mail accounts. An account of another "
        "region is unknown here: write zoho, zoho-eu, zoho-in, zoho-au, zoho-jp or zoho-ca.",
        quirks=(
            "An account lives in one region; the address that the webmail has says which.",
            f"A domain of your own is read at {'imappro' if has_pro else 'imap'}.{zone}.",
        ),
        sources=(
            f"ISPDB, {zone}.xml" if source is None else source,
            "Zoho Mail Help, 'IMAP access', as the help of each region shows it",
            "Zoho Mail Help, 'Configure email delivery', for the mail exchangers",
        ),
        domains=domains,
        mx=(zone,),
    )


_ZOHO = _zoho("zoho", "United States", "zoho.com", ("zoho.com", "zohomail.com"))
_ZOHO_REGIONS = (
    _zoho("zoho-eu", "Europe", "zoho.eu", ("zoho.eu", "zohomail.eu")),
    _zoho("zoho-in", "India", "zoho.in", ("zoho.in", "zohomail.in")),
    _zoho("zoho-au", "Australia", "zoho.com.au", ("zoho.com.au", "zohomail.com.au")),
    _zoho("zoho-jp", "Japan", "zoho.jp", ("zohomail.jp",), source=_IN_USE),
    _zoho("zoho-ca", "Canada", "zohocloud.ca", ("zohomail.ca",), source=_IN_USE, has_pro=False),
)

_IONOS = Provider(
    name="ionos",
    title="IONOS (1&1)",
    imap=Endpoint("imap.1und1.de", 993),
    pop3=Endpoint("pop.1und1.de", 995),
    smtp=Endpoint("smtp.1und1.de", 465),
    sign_in=(SignInKind.PASSWORD,),
    where="https://www.ionos.com/help/email/",
    quirks=("The hosts imap.ionos.de and imap.ionos.com show the same mailboxes.",),
    sources=("ISPDB, 1und1.de.xml",),
    aliases=("1und1", "1and1"),
    domains=(
        *("online.de", "onlinehome.de", "sofortstart.de", "sofort-start.de", "sofortsurf.de"),
        *("sofort-surf.de", "go4more.de"),
    ),
    mx=("kundenserver.de", "schlund.de", "ionos.de", "ionos.com"),
    hosts=("imap.ionos.de", "imap.ionos.com"),
)

# IMAP and SMTP take tokens; of POP3 nothing is said there.
_YANDEX_ID = OAuth(
    authorization="https://oauth.yandex.ru/authorize",
    token="https://oauth.yandex.ru/token",  # noqa: S106 - an address
    scope="mail:imap_full",
    client_id=r"[0-9a-f]{32}",
    clients="https://oauth.yandex.ru/client/new",
    consents="https://id.yandex.ru/personal/data-access",
    redirect="https://oauth.yandex.ru/verification_code",
    sources=(
        "Yandex 360, 'OAuth-авторизация в Яндекс Почте'",
        "Yandex ID, 'Получение кода подтверждения от пользователя' (code, PKCE)",
        "ISPDB, yandex.ru.xml, for the scope",
    ),
)

_YANDEX = Provider(
    name="yandex",
    title="Yandex Mail",
    imap=Endpoint("imap.yandex.com", 993),
    pop3=Endpoint("pop.yandex.com", 995),
    smtp=Endpoint("smtp.yandex.com", 465),
    sign_in=(SignInKind.APP_PASSWORD, SignInKind.OAUTH),
    where="https://id.yandex.com/security/app-passwords",
    switch_on="'From the imap.yandex.com server via IMAP' and 'App passwords' in Settings > "
    "Email clients.",
    quirks=(
        "SEARCH is known to be unreliable.",
        "OAuth wants a client ID of your own, and is for IMAP only.",
    ),
    oauth=_YANDEX_ID,
    sources=("ISPDB, yandex.ru.xml", "imapsync, FAQ"),
    domains=(
        *("yandex.com", "yandex.ru", "ya.ru", "yandex.by", "yandex.kz", "yandex.ua"),
        "narod.ru",
    ),
    mx=("yandex.net", "yandex.ru"),
    hosts=("imap.yandex.ru", "imap.ya.ru"),
)

_MAIL_RU = Provider(
    name="mail.ru",
    title="Mail.ru",
    imap=Endpoint("imap.mail.ru", 993),
    pop3=Endpoint("pop.mail.ru", 995),
    smtp=Endpoint("smtp.mail.ru", 465),
    sign_in=_APP_PASSWORD,
    where="https://account.mail.ru/user/2-step-auth/passwords",
    quirks=(
        "The account's own password is refused; a password for external programs is needed.",
        "OAuth is for applications with a web address of their own to come back to: not here.",
    ),
    sources=("ISPDB, mail.ru", "VK ID, 'Что такое OAuth Mail'"),
    aliases=("mailru",),
    domains=("mail.ru", "inbox.ru", "list.ru", "bk.ru", "internet.ru"),
    mx=("mxs.mail.ru", "emx.mail.ru"),
)

_PROTON = Provider(
    name="proton",
    title="Proton Mail, by its Bridge on this machine",
    imap=Endpoint("127.0.0.1", 1143, "starttls"),
    smtp=Endpoint("127.0.0.1", 1025, "starttls"),
    sign_in=(SignInKind.PASSWORD,),
    where="https://proton.me/mail/bridge",
    switch_on="Bridge has to run and be signed in; it shows the password for other programs.",
    limits=("As fast as the Bridge decrypts.",),
    quirks=(
        "The Bridge's certificate is its own: export it there and give it with --ca-file.",
        "Labels are folders below 'Labels', so one message is in several folders.",
        "There is no POP3.",
    ),
    sources=("Proton Support, 'IMAP, SMTP, and POP3 setup'",),
    aliases=("protonmail", "proton-bridge"),
    domains=("proton.me", "protonmail.com", "protonmail.ch", "pm.me"),
    mx=("protonmail.ch",),
)

_GENERIC = (SignInKind.PASSWORD,)

_DOVECOT = Provider(
    name="dovecot",
    title="Dovecot",
    sign_in=_GENERIC,
    login=LoginName.ANY,
    where="https://doc.dovecot.org",
    quirks=(
        "With Maildir, the delimiter is often '.' and folders may be below 'INBOX.'.",
        "A master user opens every mailbox: --sign-in-as MASTER, or imaps://USER*MASTER@HOST.",
    ),
    sources=("Dovecot documentation, 'Master users/passwords'",),
)

_CYRUS = Provider(
    name="cyrus",
    title="Cyrus IMAP",
    sign_in=_GENERIC,
    login=LoginName.ANY,
    where="https://www.cyrusimap.org/imap/",
    quirks=(
        "Without altnamespace, folders are below 'INBOX' (delimiter '.' or '/').",
        "A user in proxyservers or admins opens every mailbox: --sign-in-as ADMIN.",
    ),
    sources=("Cyrus IMAP documentation, imapd.conf: proxyservers, altnamespace",),
)

_COURIER = Provider(
    name="courier",
    title="Courier",
    sign_in=_GENERIC,
    login=LoginName.ANY,
    where="https://www.courier-mta.org/imap/",
    limits=("Four connections from one address (MAXPERIP).",),
    quirks=(
        "All folders are below 'INBOX.', the delimiter is '.'; stage two leaves the prefix out.",
        "There is no master user: each mailbox needs its own password.",
    ),
    sources=("Courier-IMAP documentation, imapd(8) and etc/imapd",),
)

_EXCHANGE = Provider(
    name="exchange",
    title="Exchange on-premises",
    sign_in=_GENERIC,
    login=LoginName.ANY,
    where="https://learn.microsoft.com/exchange/clients/pop3-and-imap4/pop3-and-imap4",
    switch_on="The services Microsoft Exchange IMAP4 and IMAP4 Backend, which are stopped by "
    "default.",
    limits=("16 connections for one user, 2,000 in all (Set-ImapSettings).",),
    quirks=(
        "An administrator with full access opens a mailbox by DOMAIN/ADMIN/MAILBOX as user name.",
        "Exchange 2007 and 2010 speak TLS 1.0 only, which is refused: put a relay in front.",
        "Calendar, Contacts and other folders that hold no mail are listed too.",
    ),
    sources=(
        "Microsoft Learn, 'POP3 and IMAP4 in Exchange Server'",
        "Microsoft Learn, 'CSV files for IMAP migration batches'",
    ),
    aliases=("exchange-server",),
)

PRESETS: tuple[Provider, ...] = (
    *(_AOL, _GMAIL, _ICLOUD, _OFFICE365, _OUTLOOK, _YAHOO),
    *(_GMX, _GMX_COM, _WEB_DE, _FASTMAIL, _ZOHO, *_ZOHO_REGIONS),
    *(_IONOS, _YANDEX, _MAIL_RU, _PROTON),
    *(_DOVECOT, _CYRUS, _COURIER, _EXCHANGE),
)
