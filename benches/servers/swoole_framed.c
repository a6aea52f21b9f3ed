/*
 * An echo server of this library for messages behind their length, four bytes, the highest first,
 * with one worker and one reactor.
 *
 *     swoole_framed base|process PORT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

static const struct {
    const char *name;
    int64_t value;
} settings[] = {
    {"worker_num", 1}, {"reactor_num", 1},         {"log_level", 5},
    {"backlog", 4096}, {"max_connection", 16000},
    {"open_length_check", 1}, {"package_max_length", 4 << 20},
};

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, sw_last_error_message());
    return 1;
}

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (!sw_server_send(server, event->receive.fd, event->receive.data, event->receive.len))
        fail("send");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s base|process PORT\n", argv[0]);
        return 2;
    }
    int mode = strcmp(argv[1], "base") == 0 ? SW_BASE : SW_PROCESS;
    sw_server_t *server = sw_server_new("127.0.0.1", atoi(argv[2]), mode, SW_SOCK_TCP);
    if (server == NULL)
        return fail("new");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (!sw_server_set_int(server, settings[i].name, settings[i].value))
            return fail(settings[i].name);
    if (!sw_server_on(server, "receive", on_receive, NULL) || !sw_server_start(server))
        return fail("start");
    sw_server_free(server);
    return 0;
}
