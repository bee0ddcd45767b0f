"""Names of folders that Exchange takes, and those that it keeps for what is no mail.

Calendar, Contacts and the like are listed over IMAP and take messages, which then are lost to
everybody: no message goes there, whatever the source calls its folders.
"""

from __future__ import annotations

import unicodedata

LONGEST_LEVEL = 200
"""UTF-16 units of a level; Exchange is known to take somewhat more (MAPI: 255)."""
MOST_LEVELS = 50
"""Exchange takes 300 ("Exchange Online limits"), Outlook shows fewer."""
SUFFIX = " (imported)"

_LONGEST_PATH = 1000
"""Octets of a whole name on the wire; Exchange answers BAD to lines of about 10,000."""
_SHORTEST_CUT = 16
_BLANKS = " .\u00a0\u3000"
_RISKY = frozenset('/\\"*%#')

_NO_MAIL = frozenset(
    unicodedata.normalize("NFC", name).casefold()
    for name in (
        # English, with what other programs and older versions make
        *("Calendar", "Contacts", "Tasks", "Journal", "Notes", "Outbox", "Sync Issues"),
        *("Conversation History", "RSS Feeds", "RSS Subscriptions", "Files", "Recoverable Items"),
        *("Suggested Contacts", "Conversation Action Settings", "Quick Step Settings"),
        *("ExternalContacts", "PersonMetadata", "MeContact", "Yammer Root", "Working Set"),
        *("Social Activity Notifications", "Public Folders", "Search Folders", "News Feed"),
        # German
        *("Kalender", "Kontakte", "Aufgaben", "Notizen", "Postausgang", "RSS-Feeds", "Dateien"),
        *("Synchronisierungsprobleme", "Aufgezeichnete Unterhaltungen", "Unterhaltungsverlauf"),
        *("RSS-Abonnements", "Vorgeschlagene Kontakte"),
        # French
        *("Calendrier", "Tâches", "Boîte d'envoi", "Boîte d\u2019envoi", "Flux RSS", "Fichiers"),
        *("Problèmes de synchronisation", "Historique des conversations"),
        # Danish, Norwegian, Swedish
        *("Kontakter", "Kontaktpersoner", "Opgaver", "Noter", "Udbakke", "Samtalehistorik"),
        *("Synkroniseringsproblemer", "RSS-kilder", "Filer", "Oppgaver", "Notater", "Utboks"),
        *("Samtalelogg", "RSS-feeder", "Uppgifter", "Anteckningar", "Utkorg"),
        *("Synkroniseringsproblem", "Konversationshistorik"),
        # Spanish, Portuguese, Italian
        *("Calendario", "Contactos", "Tareas", "Diario", "Notas", "Bandeja de salida"),
        *("Problemas de sincronización", "Historial de conversaciones", "Fuentes RSS"),
        *("Calendário", "Contatos", "Tarefas", "Diário", "Anotações", "Caixa de saída"),
        *("Problemas de sincronização", "Histórico de conversas", "Histórico de Conversas"),
        *("Contatti", "Attività", "Note", "Posta in uscita", "Feed RSS"),
        *("Problemi di sincronizzazione", "Cronologia conversazioni"),
        # Dutch, Finnish, Polish, Czech
        *("Agenda", "Contactpersonen", "Taken", "Logboek", "Notities", "Postvak UIT"),
        *("Synchronisatieproblemen", "Gespreksgeschiedenis", "Kalenteri", "Yhteystiedot"),
        *("Tehtävät", "Päiväkirja", "Muistiinpanot", "Lähtevät", "Keskusteluhistoria"),
        *("Synkronointiongelmat", "RSS-syötteet", "Kalendarz", "Kontakty", "Zadania"),
        *("Dziennik", "Notatki", "Skrzynka nadawcza", "Historia konwersacji"),
        *("Problemy z synchronizacją", "Kalendář", "Úkoly", "Deník", "Poznámky"),
        *("Pošta k odeslání", "Historie konverzací", "Potíže se synchronizací"),
        # Russian, Turkish, Japanese, Chinese, Korean
        *("Календарь", "Контакты", "Задачи", "Дневник", "Заметки", "Исходящие"),
        *("Журнал бесед", "Ошибки синхронизации", "Takvim", "Kişiler", "Görevler", "Günlük"),
        *("Notlar", "Giden Kutusu", "予定表", "連絡先", "仕事", "タスク", "履歴", "メモ"),
        *("送信トレイ", "日历", "联系人", "任务", "日记", "便笺", "发件箱", "行事曆", "連絡人"),
        *("工作", "日誌", "記事", "寄件匣", "일정", "연락처", "작업", "업무 일지", "보낼 편지함"),
    )
)
"""Top folders that hold no mail in mailboxes of these languages."""


def is_for_no_mail(level: str) -> bool:
    """Whether Exchange keeps a top folder of this name for what is no mail, in any language."""
    return unicodedata.normalize("NFC", level).casefold() in _NO_MAIL


def fitting(level: str) -> str:
    """Return a level as Exchange takes it."""
    fit = unicodedata.normalize("NFC", level)
    fit = "".join("_" if char in _RISKY or _is_unusual(char) else char for char in fit)
    return _cut(fit.strip(_BLANKS), LONGEST_LEVEL)


def shortened(levels: tuple[str, ...]) -> tuple[str, ...]:
    """Return levels of which there are not too many, with a path that commands can hold.

    What lies too deep goes into the name of the last level, or, where that is no use, to the top.
    """
    if len(levels) > MOST_LEVELS:
        last = fitting("_".join(levels[MOST_LEVELS - 1 :]))
        levels = (*levels[: MOST_LEVELS - 1], last)
    while _path_length(levels) > _LONGEST_PATH and len(levels[-1]) > _SHORTEST_CUT:
        levels = (*levels[:-1], _cut(levels[-1], max(_SHORTEST_CUT, len(levels[-1]) - 8)))
    return levels if _path_length(levels) <= _LONGEST_PATH else levels[-1:]


def _cut(level: str, most: int) -> str:
    while len(level.encode("utf-16-le", "replace")) > 2 * most:
        level = level[:-1]
    return level.strip(_BLANKS) or "_"


def _path_length(levels: tuple[str, ...]) -> int:
    """Return the octets of a path in modified UTF-7, at the most (RFC 3501 section 5.1.3)."""
    return sum(
        len(level) if level.isascii() else 3 * len(level.encode("utf-16-le", "replace"))
        for level in levels
    ) + len(levels)


def _is_unusual(char: str) -> bool:
    if char in "\u200c\u200d":  # joiners are part of many words and emoji
        return False
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
