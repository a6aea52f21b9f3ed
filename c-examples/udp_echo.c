/*
 * Sends each datagram back to where it came from, from the port that it came to.
 * Usage: udp_echo [mode 1|2|3] [port]
 */
#include <stdio.h>
#include <stdlib.h>
#include "swoole.h"

static void on_start(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)server;
    (void)event;
    (void)user_data;
    printf("ready\n");
    fflush(stdout);
}

static void on_packet(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    const sw_packet_t *packet = &event->packet;
    (void)user_data;
    if (!sw_server_sendto(server, packet->address, packet->port, packet->data, packet->len,
                          packet->server_socket))
        fprintf(stderr, "not sent: %s\n", sw_last_error_message());
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9502;
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_UDP);
    bool done = server != NULL
        && sw_server_set(server, "worker_num", "2")
        && sw_server_on(server, "start", on_start, NULL)
        && sw_server_on(server, "packet", on_packet, NULL)
        && sw_server_start(server); /* returns when the server has ended */
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
