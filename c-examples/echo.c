/* An echo server: what a client sends comes back. Usage: echo [mode 1|2|3] [port] */
#include <stdio.h>
#include <stdlib.h>
#include "swoole.h"

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (!sw_server_send(server, event->receive.fd, event->receive.data, event->receive.len))
        fprintf(stderr, "not sent: %s\n", sw_last_error_message());
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set(server, "worker_num", "2")
        && sw_server_on(server, "receive", on_receive, NULL)
        && sw_server_start(server); /* returns when the server has ended */
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
