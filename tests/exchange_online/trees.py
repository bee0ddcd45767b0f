"""The folders of a new mailbox in the languages that wire logs and support threads show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Default:
    """A folder that each mailbox has."""

    name: str
    attribute: str | None = None
    is_mail: bool = True


def _work(
    names: dict[str, str],
) -> tuple[Default, ...]:
    def mail(key: str, attribute: str | None = None) -> Default:
        return Default(names.get(key, key), attribute)

    def other(key: str, *below: str) -> Default:
        return Default("/".join([names.get(key, key), *below]), is_mail=False)

    sync = names.get("Sync Issues", "Sync Issues")
    return (
        Default("INBOX"),
        mail("Archive"),
        other("Calendar"),
        other("Calendar", names.get("Birthdays", "Birthdays")),
        other("Contacts"),
        other("Conversation History"),
        mail("Deleted Items", "\\Trash"),
        mail("Drafts", "\\Drafts"),
        other("Journal"),
        mail("Junk Email", "\\Junk"),
        other("Notes"),
        other("Outbox"),
        other("RSS Feeds"),
        mail("Sent Items", "\\Sent"),
        Default(sync, is_mail=False),
        *(
            Default(f"{sync}/{names.get(key, key)}", is_mail=False)
            for key in ("Conflicts", "Local Failures", "Server Failures")
        ),
        other("Tasks"),
    )


_GERMAN = {
    "Archive": "Archiv",
    "Calendar": "Kalender",
    "Birthdays": "Geburtstage",
    "Contacts": "Kontakte",
    "Conversation History": "Aufgezeichnete Unterhaltungen",
    "Deleted Items": "Gelöschte Elemente",
    "Drafts": "Entwürfe",
    "Junk Email": "Junk-E-Mail",
    "Notes": "Notizen",
    "Outbox": "Postausgang",
    "RSS Feeds": "RSS-Feeds",
    "Sent Items": "Gesendete Elemente",
    "Sync Issues": "Synchronisierungsprobleme",
    "Conflicts": "Konflikte",
    "Local Failures": "Lokale Fehler",
    "Server Failures": "Serverfehler",
    "Tasks": "Aufgaben",
}
_FRENCH = {
    "Calendar": "Calendrier",
    "Birthdays": "Anniversaires",
    "Contacts": "Contacts",
    "Conversation History": "Historique des conversations",
    "Deleted Items": "Éléments supprimés",
    "Drafts": "Brouillons",
    "Junk Email": "Courrier indésirable",
    "Outbox": "Boîte d'envoi",
    "RSS Feeds": "Flux RSS",
    "Sent Items": "Éléments envoyés",
    "Sync Issues": "Problèmes de synchronisation",
    "Conflicts": "Conflits",
    "Local Failures": "Défaillances locales",
    "Server Failures": "Défaillances du serveur",
    "Tasks": "Tâches",
}
_DANISH = {
    "Archive": "Arkiv",
    "Calendar": "Kalender",
    "Birthdays": "Fødselsdage",
    "Contacts": "Kontakter",
    "Conversation History": "Samtalehistorik",
    "Deleted Items": "Slettet post",
    "Drafts": "Kladder",
    "Junk Email": "Uønsket mail",
    "Notes": "Noter",
    "Outbox": "Udbakke",
    "RSS Feeds": "RSS-kilder",
    "Sent Items": "Sendt post",
    "Sync Issues": "Synkroniseringsproblemer",
    "Conflicts": "Konflikter",
    "Local Failures": "Lokale fejl",
    "Server Failures": "Serverfejl",
    "Tasks": "Opgaver",
}

TREES: dict[str, tuple[Default, ...]] = {
    "en": _work({}),
    "de": _work(_GERMAN),
    "fr": _work(_FRENCH),
    "da": _work(_DANISH),
    "consumer": (
        Default("Archive"),
        Default("Deleted", "\\Trash"),
        Default("Drafts", "\\Drafts"),
        Default("Inbox"),
        Default("Junk", "\\Junk"),
        Default("Notes", is_mail=False),
        Default("Outbox", is_mail=False),
        Default("Sent", "\\Sent"),
    ),
}
