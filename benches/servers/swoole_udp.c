/*
 * The echo server of this library for datagrams, with one worker and one reactor.
 *
 *     swoole_udp base|process PORT
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, sw_last_error_message());
    return 1;
}

static void on_packet(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    const sw_packet_t *packet = &event->packet;
    (void)user_data;
    if (!sw_server_sendto(server, packet->address, packet->port, packet->data, packet->len,
                          packet->server_socket))
        fail("sendto");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s base|process PORT\n", argv[0]);
        return 2;
    }
    int mode = strcmp(argv[1], "base") == 0 ? SW_BASE : SW_PROCESS;
    sw_server_t *server = sw_server_new("127.0.0.1", atoi(argv[2]), mode, SW_SOCK_UDP);
    if (server == NULL)
        return fail("new");
    if (!sw_server_set(server, "worker_num", "1") || !sw_server_set(server, "reactor_num", "1")
        || !sw_server_set(server, "log_level", "5")
        || !sw_server_on(server, "packet", on_packet, NULL) || !sw_server_start(server))
        return fail("start");
    sw_server_free(server);
    return 0;
}
