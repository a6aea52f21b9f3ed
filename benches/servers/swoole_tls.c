/*
 * An echo server of this library on a port with TLS.
 *
 *     swoole_tls base|process|thread CERTIFICATE KEY PORT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <swoole.h>

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (!sw_server_send(server, event->receive.fd, event->receive.data, event->receive.len))
        fprintf(stderr, "send: %s\n", sw_last_error_message());
}

static int mode_of(const char *name)
{
    if (strcmp(name, "base") == 0)
        return SW_BASE;
    return strcmp(name, "process") == 0 ? SW_PROCESS : SW_THREAD;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s base|process|thread CERTIFICATE KEY PORT\n", argv[0]);
        return 2;
    }
    sw_server_t *server =
        sw_server_new("127.0.0.1", atoi(argv[4]), mode_of(argv[1]), SW_SOCK_TCP | SW_SSL);
    if (server == NULL || !sw_server_set(server, "worker_num", "1")
        || !sw_server_set(server, "reactor_num", "1") || !sw_server_set(server, "log_level", "5")
        || !sw_server_set(server, "ssl_cert_file", argv[2])
        || !sw_server_set(server, "ssl_key_file", argv[3])
        || !sw_server_on(server, "receive", on_receive, NULL) || !sw_server_start(server)) {
        fprintf(stderr, "%s\n", sw_last_error_message());
        return 1;
    }
    sw_server_free(server);
    return 0;
}
