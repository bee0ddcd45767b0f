/* Receives all messages of one folder and throws them away: what a client cannot be faster than.
   Usage: drain PORT USER OCTETS; the password is in BENCH_PASSWORD. Ends well when at least so
   many octets have come. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* longer than the line that answers LOGIN, which lists all capabilities */
#define TAIL 4096

static char buffer[1 << 20];
static char tail[2 * TAIL + 1];

/* Read up to the answer to a tag, which is the last line; return the octets, -1 when cut off. */
static long long answer(int fd, const char *tag)
{
    char wanted[64];
    size_t kept = 0;
    long long total = 0;

    snprintf(wanted, sizeof wanted, "\r\n%s OK", tag);
    for (;;) {
        ssize_t got = read(fd, buffer, sizeof buffer);
        size_t take, keep;
        if (got <= 0)
            return -1;
        total += got;
        take = (size_t)got < TAIL ? (size_t)got : TAIL;
        keep = kept < TAIL ? kept : TAIL;
        memmove(tail, tail + kept - keep, keep);
        memcpy(tail + keep, buffer + got - take, take);
        kept = keep + take;
        tail[kept] = 0;
        if (kept >= 2 && !strcmp(tail + kept - 2, "\r\n") && strstr(tail, wanted))
            return total;
        if (!strncmp(tail, wanted + 2, strlen(wanted + 2)))
            return total;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char command[512];

    if (argc != 4 || !getenv("BENCH_PASSWORD"))
        return 2;
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) || read(fd, buffer, 4096) <= 0)
        return 1;
    snprintf(command, sizeof command, "zlogin LOGIN \"%s\" \"%s\"\r\n", argv[2],
             getenv("BENCH_PASSWORD"));
    if (write(fd, command, strlen(command)) < 0 || answer(fd, "zlogin") < 0)
        return 1;
    if (write(fd, "zexamine EXAMINE INBOX\r\n", 24) < 0 || answer(fd, "zexamine") < 0)
        return 1;
    snprintf(command, sizeof command,
             "zdrain UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])\r\n");
    if (write(fd, command, strlen(command)) < 0)
        return 1;
    return answer(fd, "zdrain") >= atoll(argv[3]) ? 0 : 1;
}
