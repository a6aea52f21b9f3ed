/*
 * One server with two ports: over TCP a client talks to the public, at a unix socket an operator
 * asks how the public port does. Usage: many_ports [mode 1|2|3] [port]
 */
#include <stdio.h>
#include <stdlib.h>
#include "swoole.h"

enum { ANSWER = 128 };

static void answer(sw_server_t *server, int64_t fd, const char *text, int length)
{
    if (!sw_server_send(server, fd, text, (size_t)length))
        fprintf(stderr, "not sent: %s\n", sw_last_error_message());
}

/* Of the first port, and so of every port without a callback of its own for this event. */
static void on_connect(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    sw_client_info_t info;
    (void)user_data;
    if (sw_server_get_client_info(server, event->connect.fd, &info, false))
        printf("somebody came %s\n", info.server_port == 0 ? "through the file" : "over TCP");
    fflush(stdout);
}

static void on_public(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    char text[ANSWER];
    (void)user_data;
    answer(server, event->receive.fd, text,
           snprintf(text, sizeof text, "you said %zu bytes\n", event->receive.len));
}

static void on_operator(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    sw_stats_t stats;
    char text[ANSWER];
    (void)user_data;
    if (!sw_port_stats(sw_server_port(server, 0), &stats)) {
        answer(server, event->receive.fd, text,
               snprintf(text, sizeof text, "error: %s\n", sw_last_error_message()));
        return;
    }
    answer(server, event->receive.fd, text,
           snprintf(text, sizeof text, "public: %llu came, %llu are there\n",
                    (unsigned long long)stats.accept_count,
                    (unsigned long long)stats.connection_num));
}

/* The file belongs to the server: it is made here and removed when the server ends. */
static bool add_operator(sw_server_t *server, int number)
{
    char path[ANSWER];
    snprintf(path, sizeof path, "/tmp/many_ports.%d", number);
    sw_port_t *port = sw_server_add_listener(server, path, 0, SW_SOCK_UNIX_STREAM);
    return port != NULL
        && sw_port_set(port, "backlog", "8") /* from here on it has settings of its own */
        && sw_port_on(port, "receive", on_operator, NULL);
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int number = argc > 2 ? atoi(argv[2]) : 9501;
    sw_server_t *server = sw_server_new("127.0.0.1", number, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set(server, "open_tcp_keepalive", "true")
        && sw_server_on(server, "connect", on_connect, NULL)
        && sw_server_on(server, "receive", on_public, NULL)
        && add_operator(server, number)
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "error %d: %s\n", sw_last_error(), sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
