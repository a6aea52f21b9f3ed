/*
 * The echo server of this library for datagrams.
 *
 *     swoole_udp base|process|thread PORT
 */
#include "swoole_server.h"

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
        fprintf(stderr, "usage: %s base|process|thread PORT\n", argv[0]);
        return 2;
    }
    sw_server_t *server = new_server(argv[1], argv[2], SW_SOCK_UDP);
    return server == NULL ? fail("new") : serve(server, "packet", on_packet);
}
