/*
 * An echo server with TLS. Usage: tls_echo [mode 1|2|3] [port] [certificate] [key]
 * Talk to it with: openssl s_client -connect 127.0.0.1:9501 -CAfile tests/tls/files/ca.crt
 */
#include <stdio.h>
#include <stdlib.h>
#include "swoole.h"

#ifndef FILES /* a certificate for tests alone, whose key everybody knows */
#define FILES "tests/tls/files"
#endif

static void on_start(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)server, (void)event, (void)user_data;
    puts("ready");
    fflush(stdout);
}

/* What callbacks see is plain; the connect event comes when the handshake is over. */
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
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP | SW_SSL);
    bool done = server != NULL
        && sw_server_set(server, "worker_num", "2")
        && sw_server_set(server, "ssl_cert_file", argc > 3 ? argv[3] : FILES "/server.crt")
        && sw_server_set(server, "ssl_key_file", argc > 4 ? argv[4] : FILES "/server.key")
        && sw_server_set(server, "ssl_session_tickets", "true") /* any worker resumes a session */
        && sw_server_on(server, "start", on_start, NULL)
        && sw_server_on(server, "receive", on_receive, NULL)
        && sw_server_start(server); /* SIGUSR1 reads the certificate again */
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
