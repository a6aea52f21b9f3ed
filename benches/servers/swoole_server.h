/*
 * What the servers of this library share: modes by their names, and settings of one worker and one
 * reactor that says little.
 */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <swoole.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, sw_last_error_message());
    return 1;
}

static sw_server_t *new_server(const char *mode, const char *port, int type)
{
    static const struct {
        const char *name;
        int64_t value;
    } settings[] = {
        {"worker_num", 1}, {"reactor_num", 1},        {"log_level", 5},
        {"backlog", 4096}, {"max_connection", 16000},
    };
    int number = strcmp(mode, "base") == 0 ? SW_BASE : SW_PROCESS;
    if (strcmp(mode, "thread") == 0)
        number = SW_THREAD;
    sw_server_t *server = sw_server_new("127.0.0.1", atoi(port), number, type);
    for (size_t i = 0; server != NULL && i < sizeof settings / sizeof *settings; i++)
        if (!sw_server_set_int(server, settings[i].name, settings[i].value))
            return NULL;
    return server;
}

/* With one callback, until it ends: the code that main ends with. */
static int serve(sw_server_t *server, const char *event, sw_callback_t callback)
{
    if (!sw_server_on(server, event, callback, NULL) || !sw_server_start(server))
        return fail("start");
    sw_server_free(server);
    return 0;
}
