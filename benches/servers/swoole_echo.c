/*
 * The echo server of this library, with one worker, one reactor and any other settings.
 *
 *     swoole_echo base|process|thread [SETTING=NUMBER ...] PORT
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
    if (argc < 3) {
        fprintf(stderr, "usage: %s base|process|thread [SETTING=NUMBER ...] PORT\n", argv[0]);
        return 2;
    }
    sw_server_t *server = new_server(argv[1], argv[argc - 1], SW_SOCK_TCP);
    if (server == NULL)
        return fail("new");
    for (int i = 2; i < argc - 1; i++) {
        char *number = strchr(argv[i], '=');
        if (number != NULL)
            *number++ = '\0';
        if (number == NULL || !sw_server_set(server, argv[i], number))
            return fail(argv[i]);
    }
    return serve(server, "receive", on_receive);
}
