/*
 * Messages behind one byte that is their length. The library finds where each begins and ends,
 * however many come at once and however they are cut: the callback has one at a time. At a unix
 * socket beside it are lines, whose lengths a function tells. Usage: framed [mode 1|2|3] [port]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

enum { HEADER = 1, PATH = 64 };

static void answer(sw_server_t *server, int64_t fd, const void *bytes, size_t length)
{
    if (!sw_server_send(server, fd, bytes, length))
        fprintf(stderr, "not sent: %s\n", sw_last_error_message());
}

/* The header is part of the message, so it can be sent back as it is. */
static void on_message(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    printf("a message of %zu bytes\n", event->receive.len - HEADER);
    fflush(stdout);
    answer(server, event->receive.fd, event->receive.data, event->receive.len);
}

static void on_line(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    answer(server, event->receive.fd, event->receive.data, event->receive.len);
}

/* Who has sent what is no message, or more than is allowed, is gone. The log says why. */
static void on_close(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    sw_client_info_t info;
    (void)user_data;
    if (sw_server_get_client_info(server, event->close.fd, &info, true) && info.close_errno != 0) {
        printf("closed: %s\n", sw_strerror(info.close_errno));
        fflush(stdout);
    }
}

/* Runs where bytes are read, in process mode in the master: it looks at them and returns. */
static int64_t line_length(const uint8_t *data, size_t len, void *user_data)
{
    const uint8_t *end = memchr(data, '\n', len);
    (void)user_data;
    if (len > 0 && data[0] == '-')
        return -1; /* no line: the connection is closed */
    return end == NULL ? 0 : end - data + 1;
}

static bool add_lines(sw_server_t *server, int number)
{
    char path[PATH];
    snprintf(path, sizeof path, "/tmp/framed.%d", number);
    sw_port_t *port = sw_server_add_listener(server, path, 0, SW_SOCK_UNIX_STREAM);
    return port != NULL
        && sw_port_set(port, "open_length_check", "true")
        && sw_port_set_length_func(port, line_length, NULL)
        && sw_port_on(port, "receive", on_line, NULL);
}

int main(int argc, char **argv)
{
    static const char settings[] = "{\"open_length_check\": true, \"package_length_type\": \"C\","
                                   " \"package_body_offset\": 1, \"worker_num\": 2}";
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int number = argc > 2 ? atoi(argv[2]) : 9501;
    sw_server_t *server = sw_server_new("127.0.0.1", number, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set_json(server, settings, strlen(settings))
        && sw_server_on(server, "receive", on_message, NULL)
        && sw_server_on(server, "close", on_close, NULL)
        && add_lines(server, number)
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "error %d: %s\n", sw_last_error(), sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
