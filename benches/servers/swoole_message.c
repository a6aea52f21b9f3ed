/*
 * Two workers that send one message to and fro. Prints the nanoseconds of one way there and back.
 * Usage: swoole_message MODE ROUNDS [BYTES]
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "swoole.h"

enum { WARM_UP = 1000, MOST = 1 << 20 };

static int rounds, bytes, done;
static double begin;
static char message[MOST];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void throw(sw_server_t *server, int worker)
{
    if (!sw_server_send_message(server, message, (size_t)bytes, worker)) {
        fprintf(stderr, "%s\n", sw_last_error_message());
        sw_server_shutdown(server);
    }
}

static void on_start(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    if (event->worker.worker_id == 0)
        throw(server, 1);
}

static void on_message(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)user_data;
    /* Only the worker that began counts; where workers are threads they share this memory. */
    if (event->pipe_message.source_worker_id == 0) {
        throw(server, 0);
        return;
    }
    done++;
    if (done == WARM_UP)
        begin = now();
    if (done < WARM_UP + rounds) {
        throw(server, 1);
        return;
    }
    printf("%.0f\n", (now() - begin) / rounds);
    fflush(stdout);
    sw_server_shutdown(server);
}

static void ignore(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    (void)server, (void)event, (void)user_data;
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    rounds = argc > 2 ? atoi(argv[2]) : 100000;
    bytes = argc > 3 ? atoi(argv[3]) : 64;
    if (rounds < 1 || bytes < 0 || bytes > MOST)
        return EXIT_FAILURE;
    sw_server_t *server = sw_server_new("127.0.0.1", 0, mode, SW_SOCK_TCP);
    bool ok = server != NULL
        && sw_server_set_int(server, "worker_num", 2)
        && sw_server_set(server, "log_level", "5")
        && sw_server_on(server, "receive", ignore, NULL)
        && sw_server_on(server, "workerStart", on_start, NULL)
        && sw_server_on(server, "pipeMessage", on_message, NULL)
        && sw_server_start(server);
    if (!ok)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
