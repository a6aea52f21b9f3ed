/*
 * A worker and a task worker. Prints the nanoseconds of one task: without an answer, with a
 * callback that takes it while others are under way, or with an answer that is waited for.
 * Usage: swoole_task MODE oneway|finish|wait ROUNDS [BYTES]
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "swoole.h"

enum { UNDER_WAY = 64, BATCH = 20000, MOST = 1 << 20 };

static bool is_oneway, is_wait;
static int rounds, bytes, given, done;
static double begin;
static char message[MOST];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void tell(sw_server_t *server)
{
    printf("%.0f\n", (now() - begin) / rounds);
    fflush(stdout);
    sw_server_shutdown(server);
}

static void give(sw_server_t *server, sw_callback_t on_finish)
{
    given++;
    if (sw_server_task(server, message, (size_t)bytes, 0, on_finish, NULL) < 0) {
        fprintf(stderr, "%s\n", sw_last_error_message());
        sw_server_shutdown(server);
    }
}

/* In the worker. */
static void on_finish(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)event, (void)user_data;
    done++;
    if (is_oneway || done == rounds)
        tell(server);
    else if (given < rounds)
        give(server, on_finish);
}

/* In the task worker, which answers the last one of tasks without an answer. */
static void on_task(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (!is_oneway || event->task.flags & SW_TASK_CALLBACK)
        sw_server_finish(server, event->task.data, event->task.len);
}

static void go_on(void *user_data)
{
    sw_server_t *server = user_data;
    for (int i = 0; i < BATCH && given < rounds; i++)
        give(server, given == rounds - 1 ? on_finish : NULL);
    if (given < rounds)
        sw_server_defer(server, go_on, server);
}

static void wait_for_all(sw_server_t *server)
{
    for (done = 0; done < rounds; done++) {
        sw_buffer_t result = { 0 };
        if (!sw_server_taskwait(server, message, (size_t)bytes, 5.0, 0, &result)) {
            fprintf(stderr, "%s\n", sw_last_error_message());
            sw_server_shutdown(server);
            return;
        }
        sw_buffer_free(&result);
    }
    tell(server);
}

static void begin_all(int64_t timer_id, void *user_data)
{
    sw_server_t *server = user_data;
    (void)timer_id;
    begin = now();
    if (is_oneway)
        go_on(server);
    else if (is_wait)
        wait_for_all(server);
    else
        for (int i = 0; i < UNDER_WAY; i++)
            give(server, on_finish);
}

static void on_start(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (!event->worker.is_task_worker)
        sw_server_after(server, 100, begin_all, server);
}

static void ignore(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)server, (void)event, (void)user_data;
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    is_oneway = argc > 2 && strcmp(argv[2], "oneway") == 0;
    is_wait = argc > 2 && strcmp(argv[2], "wait") == 0;
    rounds = argc > 3 ? atoi(argv[3]) : 200000;
    bytes = argc > 4 ? atoi(argv[4]) : 64;
    if (rounds < UNDER_WAY || bytes < 0 || bytes > MOST)
        return EXIT_FAILURE;
    sw_server_t *server = sw_server_new("127.0.0.1", 0, mode, SW_SOCK_TCP);
    bool ok = server != NULL
        && sw_server_set_int(server, "worker_num", 1)
        && sw_server_set_int(server, "task_worker_num", 1)
        && sw_server_set(server, "log_level", "5")
        && sw_server_on(server, "receive", ignore, NULL)
        && sw_server_on(server, "workerStart", on_start, NULL)
        && sw_server_on(server, "task", on_task, NULL)
        && sw_server_start(server);
    if (!ok)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
