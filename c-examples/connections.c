/*
 * Answers what it knows of its connections: a client sends "info", "list", "stats" or "quit", a
 * line each. With one worker, which sees all connections in every mode.
 * Usage: connections [mode 1|2|3] [port]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

enum { PAGE = 100, ANSWER = 256 };

static int describe_client(sw_server_t *server, int64_t fd, char *answer)
{
    sw_client_info_t info;
    if (!sw_server_get_client_info(server, fd, &info, false))
        return snprintf(answer, ANSWER, "error: %s\n", sw_last_error_message());
    return snprintf(answer, ANSWER, "you are %lld from %s, worker %d\n", (long long)fd,
                    info.remote_ip, sw_server_get_worker_id(server));
}

/* Counts page by page: the last id of a page begins the next. */
static int list_clients(sw_server_t *server, char *answer)
{
    int64_t fds[PAGE];
    int64_t last = 0;
    int total = 0, count;
    while ((count = sw_server_get_client_list(server, last, fds, PAGE)) > 0) {
        total += count;
        last = fds[count - 1];
    }
    if (count < 0)
        return snprintf(answer, ANSWER, "error: %s\n", sw_last_error_message());
    return snprintf(answer, ANSWER, "open %d, the last is %lld\n", total, (long long)last);
}

static int count_all(sw_server_t *server, char *answer)
{
    sw_stats_t stats;
    if (!sw_server_stats(server, &stats))
        return snprintf(answer, ANSWER, "error: %s\n", sw_last_error_message());
    return snprintf(answer, ANSWER, "accepted %llu, open %llu\n",
                    (unsigned long long)stats.accept_count,
                    (unsigned long long)stats.connection_num);
}

static bool is_line(const sw_conn_event_t *receive, const char *line)
{
    return receive->len == strlen(line) && memcmp(receive->data, line, receive->len) == 0;
}

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    const sw_conn_event_t *receive = &event->receive;
    char answer[ANSWER];
    int length;
    (void)user_data;
    if (is_line(receive, "quit\n")) {
        if (!sw_server_close(server, receive->fd, false))
            fprintf(stderr, "not closed: %s\n", sw_last_error_message());
        return;
    }
    if (is_line(receive, "info\n"))
        length = describe_client(server, receive->fd, answer);
    else if (is_line(receive, "list\n"))
        length = list_clients(server, answer);
    else if (is_line(receive, "stats\n"))
        length = count_all(server, answer);
    else
        length = snprintf(answer, ANSWER, "say info, list, stats or quit\n");
    if (!sw_server_send(server, receive->fd, answer, (size_t)length))
        fprintf(stderr, "not sent: %s\n", sw_last_error_message());
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set_int(server, "worker_num", 1)
        && sw_server_on(server, "receive", on_receive, NULL)
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "error %d: %s\n", sw_last_error(), sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
