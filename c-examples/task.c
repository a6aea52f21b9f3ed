/*
 * Work that takes long is done by task workers, while the workers serve others.
 * A client sends words and hears how many they are; "break ..." goes to nobody.
 * Usage: task [mode 1|2|3] [port]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "swoole.h"

/* In a task worker. */
static void on_task(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    const uint8_t *data = event->task.data;
    int words = 0;
    char text[64];
    (void)user_data;
    for (size_t i = 0; i < event->task.len; i++)
        words += data[i] != ' ' && (i == 0 || data[i - 1] == ' ');
    int size = snprintf(text, sizeof text, "%d words\n", words);
    if (!sw_server_finish(server, text, (size_t)size))
        fprintf(stderr, "%s\n", sw_last_error_message());
}

/* In the worker that handed the task in. */
static void on_done(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    int64_t fd = (int64_t)(intptr_t)user_data;
    const sw_task_result_t *result = &event->finish;
    if (result->data == NULL) /* the task worker died with the task in its hands */
        sw_server_send(server, fd, "failed\n", 7);
    else
        sw_server_send(server, fd, result->data, result->len);
}

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    const sw_conn_event_t *conn = &event->receive;
    int target = conn->len > 5 && memcmp(conn->data, "break", 5) == 0 ? 99 : -1;
    void *fd = (void *)(intptr_t)conn->fd;
    char text[64];
    (void)user_data;
    if (sw_server_task(server, conn->data, conn->len - 1, target, on_done, fd) >= 0)
        return;
    int size = snprintf(text, sizeof text, "error %d\n", sw_last_error());
    sw_server_send(server, conn->fd, text, (size_t)size);
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;

    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set_int(server, "worker_num", 1)
        && sw_server_set_int(server, "task_worker_num", 2)
        && sw_server_on(server, "task", on_task, NULL)
        && sw_server_on(server, "receive", on_receive, NULL)
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
