/*
 * A worker that waits for its task workers: for one, or for several at once.
 * A client sends words; each word is a task, "late" one that takes too long.
 * Usage: task_wait [mode 1|2|3] [port]
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "swoole.h"

enum { MOST_WORDS = 8 };

/* In a task worker: the letters of the word, counted. */
static void on_task(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    char text[32];
    (void)user_data;
    if (event->task.len == 4 && memcmp(event->task.data, "late", 4) == 0)
        nanosleep(&(struct timespec){ .tv_nsec = 800000000 }, NULL);
    int size = snprintf(text, sizeof text, "%zu", event->task.len);
    if (!sw_server_finish(server, text, (size_t)size))
        fprintf(stderr, "%s\n", sw_last_error_message());
}

/* Waits for the one task; the rest of the program stands still meanwhile. */
static void wait_for_one(sw_server_t *server, int64_t fd, sw_bytes_t word)
{
    sw_buffer_t result = { 0 };
    char text[64];
    if (sw_server_taskwait(server, word.data, word.len, 0.4, -1, &result))
        sw_server_send(server, fd, result.data, result.len);
    else
        sw_server_send(server, fd, text,
                       (size_t)snprintf(text, sizeof text, "error %d", sw_last_error()));
    sw_buffer_free(&result);
    sw_server_send(server, fd, "\n", 1);
}

/* Waits for all at once; what has not come in time has no data. */
static void wait_for_all(sw_server_t *server, int64_t fd, const sw_bytes_t *words, size_t count)
{
    sw_buffer_t results[MOST_WORDS] = { { 0 } };
    char text[32];
    int done = sw_server_task_wait_multi(server, words, count, 0.4, results);
    for (size_t i = 0; i < count; i++) {
        if (results[i].data != NULL)
            sw_server_send(server, fd, results[i].data, results[i].len);
        else
            sw_server_send(server, fd, "-", 1);
        sw_server_send(server, fd, ", ", 2);
        sw_buffer_free(&results[i]);
    }
    sw_server_send(server, fd, text, (size_t)snprintf(text, sizeof text, "(%d)\n", done));
}

static void on_receive(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    const sw_conn_event_t *conn = &event->receive;
    sw_bytes_t words[MOST_WORDS];
    size_t count = 0;
    (void)user_data;
    for (size_t begin = 0, i = 0; i < conn->len && count < MOST_WORDS; i++) {
        if (conn->data[i] != ' ' && conn->data[i] != '\n')
            continue;
        words[count].data = conn->data + begin;
        words[count++].len = i - begin;
        begin = i + 1;
    }
    if (count == 1)
        wait_for_one(server, conn->fd, words[0]);
    else
        wait_for_all(server, conn->fd, words, count);
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;

    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = server != NULL
        && sw_server_set_int(server, "worker_num", 1)
        && sw_server_set_int(server, "task_worker_num", 4)
        && sw_server_on(server, "task", on_task, NULL)
        && sw_server_on(server, "receive", on_receive, NULL)
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
