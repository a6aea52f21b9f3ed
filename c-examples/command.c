/*
 * The master asks its processes what they know. SW_THREAD mode has no commands.
 * Usage: command [mode 1|2] [port]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

enum { WORKERS = 2 };

/* Runs in the process that is asked. */
static bool tell(sw_server_t *server, const uint8_t *data, size_t len, sw_reply_t *reply,
                 void *user_data)
{
    char text[128];
    sw_stats_t stats;
    (void)user_data;
    if (!sw_server_stats(server, &stats))
        return false; /* the call for the command fails, too */
    int size = snprintf(text, sizeof text, "%.*s %d: %d workers", (int)len, (const char *)data,
                        sw_server_get_worker_id(server), (int)stats.worker_num);
    return sw_command_reply(reply, text, (size_t)size);
}

static void ask(sw_server_t *server, const char *name, int id, int type, const char *question)
{
    sw_buffer_t answer;
    if (sw_server_command(server, name, id, type, question, strlen(question), &answer)) {
        printf("%.*s\n", (int)answer.len, (const char *)answer.data);
        sw_buffer_free(&answer);
    } else {
        printf("%s: error %d\n", question, sw_last_error());
        fprintf(stderr, "%s\n", sw_last_error_message());
    }
}

static void ask_all(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)event, (void)user_data;
    for (int worker = 0; worker < WORKERS; worker++)
        ask(server, "tell", worker, SW_COMMAND_EVENT_WORKER, "worker");
    ask(server, "tell", 0, SW_COMMAND_MANAGER, "the manager, who is no worker,");
    ask(server, "tell", WORKERS, SW_COMMAND_EVENT_WORKER, "a worker that there is not");
    ask(server, "shout", 0, SW_COMMAND_EVENT_WORKER, "a command that there is not");
}

static void greet(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    sw_server_send(server, event->receive.fd, "welcome\n", 8);
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;
    int types = SW_COMMAND_EVENT_WORKER | SW_COMMAND_MANAGER;

    setvbuf(stdout, NULL, _IOLBF, 0); /* lines of several processes do not mix */
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set_int(server, "worker_num", WORKERS)
        && sw_server_add_command(server, "tell", types, tell, NULL)
        && sw_server_on(server, "start", ask_all, NULL)
        && sw_server_on(server, "receive", greet, NULL)
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
