/*
 * An echo server of this library on a port with TLS.
 *
 *     swoole_tls base|process|thread CERTIFICATE KEY PORT
 */
#include "swoole_server.h"

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (!sw_server_send(server, event->receive.fd, event->receive.data, event->receive.len))
        fail("send");
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s base|process|thread CERTIFICATE KEY PORT\n", argv[0]);
        return 2;
    }
    sw_server_t *server = new_server(argv[1], argv[4], SW_SOCK_TCP | SW_SSL);
    if (server == NULL || !sw_server_set(server, "ssl_cert_file", argv[2])
        || !sw_server_set(server, "ssl_key_file", argv[3]))
        return fail("new");
    return serve(server, "receive", on_receive);
}
