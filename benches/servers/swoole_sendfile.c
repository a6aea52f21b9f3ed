/*
 * A server of this library that answers whatever it reads with a file.
 *
 *     swoole_sendfile base|process|thread FILE PORT
 */
#include "swoole_server.h"

static const char *path;

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (!sw_server_sendfile(server, event->receive.fd, path, 0, 0))
        fail("sendfile");
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: %s base|process|thread FILE PORT\n", argv[0]);
        return 2;
    }
    path = argv[2];
    sw_server_t *server = new_server(argv[1], argv[3], SW_SOCK_TCP);
    return server == NULL ? fail("new") : serve(server, "receive", on_receive);
}
