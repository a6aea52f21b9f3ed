/* Does with memory what must not be done, in the worker: shows that the checkers look there, too.
 * What a client says is what is done. Usage: wrong [mode 1|2|3] [port] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

static char *volatile last; /* keeps the compiler from seeing what is done */

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (event->receive.len > 1 && memcmp(event->receive.data, "forget", 6) == 0) {
        last = malloc(1000);
        last = NULL;
    } else {
        last = malloc(10);
        free(last);
        last[3] = 'x';
    }
    sw_server_send(server, event->receive.fd, "done\n", 5);
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set_int(server, "worker_num", 2)
        && sw_server_on(server, "receive", on_receive, NULL)
        && sw_server_start(server);
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
