"""Top folders that Exchange keeps for what is no mail, in many languages.

Calendar, Contacts and the like are listed over IMAP as if they were folders of mail. As a source
they hold no mail; as a target they take messages, which then are lost to everybody.
"""

from __future__ import annotations

import unicodedata

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
