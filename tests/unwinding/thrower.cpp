// A server whose callbacks throw when a client tells them to. Arguments: mode, port, number of
// workers. What it has to tell goes to the descriptor in SW_TEST_REPORT, as from servers in Rust.
#include "swoole.h"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include <unistd.h>

static int report_fd = 2;

static void on_start(sw_server_t *, const sw_event_t *, void *)
{
    dprintf(report_fd, "ready\n");
}

static void on_worker_start(sw_server_t *, const sw_event_t *event, void *)
{
    dprintf(report_fd, "worker %d\n", event->worker.worker_id);
}

static void on_worker_stop(sw_server_t *, const sw_event_t *, void *)
{
    dprintf(report_fd, "stop\n");
}

static void on_worker_error(sw_server_t *, const sw_event_t *event, void *)
{
    dprintf(report_fd, "error code %d signal %d\n", event->error.exit_code, event->error.signal);
}

static void throw_in_timer(int64_t, void *)
{
    throw std::runtime_error("timer");
}

static void throw_in_deferred(void *)
{
    throw std::runtime_error("deferred call");
}

static void throw_in_io(int, int, void *)
{
    throw std::runtime_error("descriptor");
}

static bool is_close_thrown = false;

static void on_close(sw_server_t *, const sw_event_t *, void *)
{
    if (is_close_thrown) {
        throw std::runtime_error("close");
    }
}

static sw_process_t *process = nullptr;

// Throws for each byte that a worker sends it.
static void throw_in_process(sw_server_t *, sw_process_t *self, void *)
{
    char byte;
    if (read(sw_process_socket(self), &byte, 1) == 1) {
        throw std::runtime_error("user process");
    }
}

// The pipe is ready to be written at once.
static void watch_pipe()
{
    int ends[2];
    if (pipe(ends) != 0 || !sw_event_add(ends[1], SW_IO_WRITE, throw_in_io, nullptr)) {
        dprintf(report_fd, "no pipe\n");
    }
}

// One byte says where to throw. Whatever is no order goes back.
static void on_receive(sw_server_t *server, const sw_event_t *event, void *)
{
    const sw_conn_event_t &told = event->receive;
    switch (told.len == 1 ? told.data[0] : 0) {
    case 'r':
        throw std::runtime_error("receive");
    case 't':
        sw_server_after(server, 1, throw_in_timer, nullptr);
        break;
    case 'd':
        sw_server_defer(server, throw_in_deferred, nullptr);
        break;
    case 'i':
        watch_pipe();
        break;
    case 'u':
        if (write(sw_process_socket(process), "u", 1) != 1) {
            dprintf(report_fd, "no process\n");
        }
        break;
    // The close callback runs inside of this one.
    case 'c':
        is_close_thrown = true;
        sw_server_close(server, told.fd, false);
        break;
    default:
        sw_server_send(server, told.fd, told.data, told.len);
    }
}

static void leave()
{
    dprintf(report_fd, "exit handler\n");
}

int main(int count, char **words)
{
    const char *number = getenv("SW_TEST_REPORT");
    if (count < 4 || number == nullptr) {
        return 2;
    }
    report_fd = atoi(number);
    atexit(leave);
    sw_server_t *server = sw_server_new("127.0.0.1", atoi(words[2]), atoi(words[1]), SW_SOCK_TCP);
    sw_server_set(server, "worker_num", words[3]);
    sw_server_on(server, "start", on_start, nullptr);
    sw_server_on(server, "workerStart", on_worker_start, nullptr);
    sw_server_on(server, "workerStop", on_worker_stop, nullptr);
    sw_server_on(server, "workerError", on_worker_error, nullptr);
    sw_server_on(server, "receive", on_receive, nullptr);
    sw_server_on(server, "close", on_close, nullptr);
    // With one worker there may be one process only.
    if (atoi(words[3]) > 1) {
        process = sw_process_new(throw_in_process, nullptr);
        sw_server_add_process(server, process);
    }
    // Nothing thrown by a callback gets here.
    try {
        bool is_ok = sw_server_start(server);
        dprintf(report_fd, "returned %d\n", is_ok);
    } catch (...) {
        dprintf(report_fd, "caught\n");
    }
    sw_server_free(server);
    return 0;
}
