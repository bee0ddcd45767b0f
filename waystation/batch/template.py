"""An example of each form of a list, to begin with."""

from __future__ import annotations

from waystation.batch.form import Form

TEMPLATES = {
    Form.OURS: """\
# One mailbox a line; lines that begin with # are left out. The archive lies in ROOT/mailbox.
# from, to:             as on the command line: imaps://USER@HOST, pop3s://…, PROVIDER:USER
# …_password_env:       the environment variable that holds the password
# …_password_command:   a command that prints it;  …_password_keyring: its name in the keyring
#                       (else it is looked up in the keyring by the server's own name)
# …_password:           the password itself, if it has to be: then this file is a secret
# priority:             who has more comes first;  folder, exclude: patterns, | between them
# For Office 365 no password: --client-id, --tenant and --client-secret-env open all mailboxes.
mailbox,from,from_password_env,from_password_command,to,to_password_env,priority,exclude
ada@example.com,imaps://ada@mail.example.com,ADA_OLD,,office365:ada@contoso.com,,10,@trash|@junk
bob@example.com,imaps://bob@mail.example.com,,pass show old/bob,office365:bob@contoso.com,,,
eve@example.com,pop3s://eve@pop.example.com,,,imaps://eve@mail.example.net,EVE_NEW,,
""",
    Form.MICROSOFT: """\
# Microsoft's form, as for New-MigrationBatch: the source is given with --server HOST[:PORT], the
# target is office365:EmailAddress. With UserRoot only the folders below it are taken.
# The passwords stand here in the open: keep the file where only you can read it.
EmailAddress,UserName,Password,UserRoot
ada@contoso.com,ada,PASSWORD-OF-ADA,
bob@contoso.com,bob,PASSWORD-OF-BOB,
eve@contoso.com,mailadmin,PASSWORD-OF-THE-ADMIN,users/eve
""",
    Form.IMAPSYNC: """\
# imapsync's form: host1;user1;password1;host2;user2;password2;  with no quotes.
# The passwords stand here in the open: keep the file where only you can read it. With host2
# outlook.office365.com the last field means nothing; Microsoft takes no passwords.
mail.example.com;ada;PASSWORD-OF-ADA;outlook.office365.com;ada@contoso.com;;
mail.example.com;bob;PASSWORD-OF-BOB;mail.example.net:993;bob;NEW-PASSWORD-OF-BOB;
""",
}
"""What 'waystation batch template' prints."""
