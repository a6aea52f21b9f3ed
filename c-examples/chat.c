/*
 * A room without a master of ceremonies: every worker knows its own members, and tells the other
 * workers what one of them has said. Usage: chat [mode 1|2|3] [port]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

enum { WORKERS = 4, MEMBERS = 1000, TEXT = 512 };

/* The members of this worker; where workers are threads, each has its own. */
static _Thread_local int64_t members[MEMBERS];
static _Thread_local int count;

static void say_here(sw_server_t *server, const void *line, size_t len)
{
    for (int i = 0; i < count; i++)
        if (!sw_server_send(server, members[i], line, len))
            fprintf(stderr, "not sent to %lld: %s\n", (long long)members[i],
                    sw_last_error_message());
}

static void say(sw_server_t *server, const char *line, size_t len)
{
    int self = sw_server_get_worker_id(server);
    for (int worker = 0; worker < WORKERS; worker++)
        if (worker != self && !sw_server_send_message(server, line, len, worker))
            fprintf(stderr, "worker %d was not told: %s\n", worker, sw_last_error_message());
    say_here(server, line, len);
}

static void on_connect(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)server, (void)user_data;
    if (count < MEMBERS)
        members[count++] = event->connect.fd;
    printf("%lld came\n", (long long)event->connect.fd);
}

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    char line[TEXT + 32];
    size_t len = event->receive.len < TEXT ? event->receive.len : TEXT; /* what is longer is cut */
    int head = snprintf(line, 32, "%lld: ", (long long)event->receive.fd);
    (void)user_data;
    memcpy(line + head, event->receive.data, len);
    say(server, line, (size_t)head + len);
}

static void on_close(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    char line[64];
    int i = 0, len = snprintf(line, sizeof line, "%lld left\n", (long long)event->close.fd);
    (void)user_data;
    while (i < count && members[i] != event->close.fd)
        i++;
    if (i < count)
        members[i] = members[--count];
    say(server, line, (size_t)len);
}

/* What another worker has told. */
static void on_message(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    say_here(server, event->pipe_message.data, event->pipe_message.len);
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;
    setvbuf(stdout, NULL, _IOLBF, 0); /* lines of several processes do not mix */
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set_int(server, "worker_num", WORKERS)
        && sw_server_on(server, "connect", on_connect, NULL)
        && sw_server_on(server, "receive", on_receive, NULL)
        && sw_server_on(server, "close", on_close, NULL)
        && sw_server_on(server, "pipeMessage", on_message, NULL)
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
