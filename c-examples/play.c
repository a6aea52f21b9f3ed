/*
 * Plays a session with an example and checks what it prints. This is the test, not an example.
 *
 *   play EXAMPLE MODE SESSION EXPECTED
 *
 * Lines of a session: "> text" sends a line on the newest connection, "< text" expects one, "end"
 * expects the end of the connection, "connect" opens one more, "unix path" one at the file of that
 * name with the port number behind it, "close" closes the newest; "udp> text" sends a datagram,
 * "udp< text" expects one; "wait text" waits until the example has printed that line. At the end
 * the example gets SIGTERM and must exit with 0. What it printed, without the lines of the library's
 * log, which begin with "[", must be the lines of EXPECTED in any order, since several processes
 * print.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINES = 256, LINE = 512, CLIENTS = 16, SECONDS = 30, RETRY_MS = 10 };

struct lines {
    char text[LINES][LINE];
    size_t count;
};

static struct lines printed;
static FILE *output;      /* the standard output of the example and all its processes */
static pid_t example;     /* also its process group */
static int clients[CLIENTS];
static int client_count;
static int port;

static volatile sig_atomic_t is_overdue;

/* Reads one more line that the example printed; 0 when all its processes have ended. */
static int read_line(void)
{
    char line[LINE];
    if (printed.count == LINES || fgets(line, sizeof line, output) == NULL)
        return 0;
    line[strcspn(line, "\n")] = '\0';
    if (line[0] != '[')
        strcpy(printed.text[printed.count++], line);
    return 1;
}

/* Says why, and what the example printed, ends it with all its processes, and this program. */
static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "play: %s", is_overdue ? "no end within the deadline: " : "");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    if (example > 0) {
        kill(-example, SIGKILL);
        while (read_line())
            ;
    }
    for (size_t i = 0; i < printed.count; i++)
        fprintf(stderr, "printed: %s\n", printed.text[i]);
    exit(EXIT_FAILURE);
}

/* Whatever is waited for then ends, too, and fails. */
static void on_deadline(int signal)
{
    (void)signal;
    is_overdue = 1;
    kill(-example, SIGKILL);
}

static struct sockaddr_in address(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Picks a port below those that the system gives to clients. */
static void choose_port(void)
{
    for (int i = 0; i < 4000; i++) {
        port = 28000 + (getpid() * 7 + i) % 4000;
        int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in here = address();
        int is_free = bind(probe, (struct sockaddr *)&here, sizeof here) == 0;
        close(probe);
        if (is_free)
            return;
    }
    fail("no port is free");
}

static void start_example(char *path, char *mode)
{
    char number[16];
    int ends[2];
    snprintf(number, sizeof number, "%d", port);
    if (pipe(ends) != 0 || (example = fork()) < 0)
        fail("cannot start: %s", strerror(errno));
    if (example == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl(path, path, mode, number, (char *)NULL);
        perror(path);
        _exit(127);
    }
    close(ends[1]);
    output = fdopen(ends[0], "r");
}

static void wait_for(const char *text)
{
    for (size_t i = 0;; i++) {
        while (i >= printed.count)
            if (!read_line())
                fail("ended before it printed: %s", text);
        if (strcmp(printed.text[i], text) == 0)
            return;
    }
}

static void open_client_at(const struct sockaddr *there, socklen_t length)
{
    if (client_count == CLIENTS)
        fail("too many clients");
    for (;;) {
        int client = socket(there->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(client, there, length) == 0) {
            clients[client_count++] = client;
            return;
        }
        int error = errno;
        close(client);
        if ((error != ECONNREFUSED && error != ENOENT) || waitpid(example, NULL, WNOHANG) != 0)
            fail("cannot connect: %s", strerror(error));
        poll(NULL, 0, RETRY_MS); /* it does not listen yet */
    }
}

static void open_client(void)
{
    struct sockaddr_in there = address();
    open_client_at((struct sockaddr *)&there, sizeof there);
}

static void open_unix_client(const char *beginning)
{
    struct sockaddr_un there = { .sun_family = AF_UNIX };
    snprintf(there.sun_path, sizeof there.sun_path, "%s%d", beginning, port);
    open_client_at((struct sockaddr *)&there, sizeof there);
}

/* What datagrams go through; it is made when it is needed. */
static int datagrams(void)
{
    static int socket_of_all = -1;
    struct sockaddr_in there = address();
    if (socket_of_all < 0) {
        socket_of_all = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (connect(socket_of_all, (struct sockaddr *)&there, sizeof there) != 0)
            fail("no datagrams: %s", strerror(errno));
    }
    return socket_of_all;
}

static void expect_datagram(const char *text)
{
    char got[LINE + 1] = "";
    if (recv(datagrams(), got, LINE, 0) < 0)
        fail("no datagram: %s", strerror(errno));
    if (strcmp(got, text) != 0)
        fail("got the datagram \"%s\", expected \"%s\"", got, text);
}

static void send_text(int client, const char *text)
{
    for (size_t sent = 0; sent < strlen(text);) {
        ssize_t count = send(client, text + sent, strlen(text) - sent, MSG_NOSIGNAL);
        if (count < 0)
            fail("cannot send: %s", strerror(errno));
        sent += (size_t)count;
    }
}

static void expect_text(int client, const char *text)
{
    char got[LINE + 1] = "";
    for (size_t length = 0; length < strlen(text);) {
        ssize_t count = recv(client, got + length, strlen(text) - length, 0);
        if (count <= 0)
            fail("no more bytes, got \"%s\", expected \"%s\"", got, text);
        length += (size_t)count;
    }
    if (strcmp(got, text) != 0)
        fail("got \"%s\", expected \"%s\"", got, text);
}

static void expect_end(int client)
{
    char byte;
    if (recv(client, &byte, 1, 0) > 0)
        fail("more bytes where the connection should have ended");
}

/* The newest connection; the first one is made when it is needed. */
static int newest(void)
{
    if (client_count == 0)
        open_client();
    return clients[client_count - 1];
}

/* Plays one line; it still has its newline, which is sent and expected, too. */
static void play(char *line)
{
    if (line[0] == '#' || line[0] == '\n')
        return;
    if (strncmp(line, "> ", 2) == 0)
        send_text(newest(), line + 2);
    else if (strncmp(line, "< ", 2) == 0)
        expect_text(newest(), line + 2);
    else if (strncmp(line, "udp> ", 5) == 0)
        send_text(datagrams(), line + 5);
    else if (strncmp(line, "udp< ", 5) == 0)
        expect_datagram(line + 5);
    else if (strcmp(line, "connect\n") == 0)
        open_client();
    else if (strcmp(line, "end\n") == 0)
        expect_end(newest());
    else if (strcmp(line, "close\n") == 0 && client_count > 0)
        close(clients[--client_count]);
    else if (strncmp(line, "unix ", 5) == 0) {
        line[strcspn(line, "\n")] = '\0';
        open_unix_client(line + 5);
    } else if (strncmp(line, "wait ", 5) == 0) {
        line[strcspn(line, "\n")] = '\0';
        wait_for(line + 5);
    } else
        fail("not a line of a session: %s", line);
}

static int compare(const void *left, const void *right)
{
    return strcmp(left, right);
}

static void check_printed(const char *path)
{
    static struct lines expected;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail("%s: %s", path, strerror(errno));
    while (expected.count < LINES && fgets(expected.text[expected.count], LINE, file) != NULL) {
        char *line = expected.text[expected.count++];
        line[strcspn(line, "\n")] = '\0';
    }
    fclose(file);
    qsort(expected.text, expected.count, LINE, compare);
    qsort(printed.text, printed.count, LINE, compare);
    for (size_t i = 0; i < expected.count || i < printed.count; i++)
        if (strcmp(expected.text[i], printed.text[i]) != 0)
            fail("printed \"%s\", expected \"%s\"", printed.text[i], expected.text[i]);
    if (expected.count != printed.count)
        fail("printed %zu lines, expected %zu", printed.count, expected.count);
}

int main(int argc, char **argv)
{
    char line[LINE];
    int status;
    if (argc != 5)
        fail("usage: play EXAMPLE MODE SESSION EXPECTED");
    FILE *session = fopen(argv[3], "r");
    if (session == NULL)
        fail("%s: %s", argv[3], strerror(errno));
    signal(SIGALRM, on_deadline);
    choose_port();
    start_example(argv[1], argv[2]);
    alarm(SECONDS);
    while (fgets(line, sizeof line, session) != NULL)
        play(line);
    fclose(session);
    kill(example, SIGTERM);
    while (read_line())
        ;
    if (waitpid(example, &status, 0) != example || status != 0)
        fail("ended with status %#x", (unsigned)status);
    example = 0;
    check_printed(argv[4]);
    return EXIT_SUCCESS;
}
