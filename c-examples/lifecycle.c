/* Prints the life of a server, event by event. Usage: lifecycle [mode 1|2|3] [port] */
#include <stdio.h>
#include <stdlib.h>
#include "swoole.h"

/* The name that an event was registered with is its user data. */
static void print_event(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)server;
    switch (event->kind) {
    case SW_EVENT_WORKER_START:
    case SW_EVENT_WORKER_STOP:
        printf("%s %d\n", (const char *)user_data, event->worker.worker_id);
        break;
    case SW_EVENT_CONNECT:
        printf("%s, connection %lld\n", (const char *)user_data, (long long)event->connect.fd);
        break;
    case SW_EVENT_CLOSE:
        printf("%s, connection %lld\n", (const char *)user_data, (long long)event->close.fd);
        break;
    case SW_EVENT_RECEIVE:
        printf("%s, %zu bytes\n", (const char *)user_data, event->receive.len);
        break;
    default:
        printf("%s\n", (const char *)user_data);
    }
}

static bool register_all(sw_server_t *server)
{
    static char *names[] = { "start", "managerStart", "workerStart", "connect", "receive", "close",
                             "beforeShutdown", "workerStop", "managerStop", "shutdown" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!sw_server_on(server, names[i], print_event, names[i])) {
            fprintf(stderr, "%s: %s\n", names[i], sw_last_error_message());
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;

    setvbuf(stdout, NULL, _IOLBF, 0); /* lines of several processes do not mix */
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    if (server == NULL) {
        fprintf(stderr, "no server: %s\n", sw_last_error_message());
        return EXIT_FAILURE;
    }
    bool ok = register_all(server) && sw_server_set_int(server, "worker_num", 2);
    if (ok) {
        printf("about to start\n");
        ok = sw_server_start(server);
        printf("start returned %s\n", ok ? "true" : "false");
    }
    if (!ok)
        fprintf(stderr, "error %d: %s\n", sw_last_error(), sw_last_error_message());
    sw_server_free(server);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
