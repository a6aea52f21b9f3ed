// Everything in swoole.hpp, once. A client sends the name of what it wants to see and hears how it
// went; lines that begin with FAILED have no place in what is expected. Arguments: mode, port.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include <unistd.h>

#include "swoole.hpp"

using swoole::bytes;
using swoole::server_ref;

static void check(bool is_so, const char *what)
{
    if (!is_so)
        std::printf("FAILED: %s: %s\n", what, swoole::last_error_message().c_str());
}

// What is captured by many, to see whether it is destroyed with them.
using witness = std::shared_ptr<int>;

static std::string count_of(const witness &it)
{
    return std::to_string(it.use_count() - 1) + " are left\n";
}

// --- what a client can ask for, in a worker ------------------------------------------------------

static void timers(server_ref server, int64_t fd)
{
    auto ticks = std::make_shared<int>(0);
    server.tick(1, [=](int64_t id) {
        if (++*ticks < 3)
            return;
        check(server.clear_timer(id), "a timer clears itself");
        check(!server.clear_timer(id), "it is gone then");
        server.after(1, [=](int64_t own) {
            check(own > id, "ids ascend");
            server.send(fd, std::to_string(*ticks) + " ticks\n");
            server.defer([=] { server.send(fd, count_of(ticks)); });
        });
    });
}

static void cleared(server_ref server, int64_t fd)
{
    witness it = std::make_shared<int>(0);
    int64_t tick = server.tick(60000, [it](int64_t) {});
    int64_t after = server.after(60000, [it](int64_t) {});
    check(it.use_count() == 3, "both are kept");
    check(server.clear_timer(tick) && server.clear_timer(after), "both are cleared");
    check(server.tick(0, [it](int64_t) {}) == -1, "a tick of 0 ms is refused");
    check(!server.send_async(0, "x", [it](server_ref, int64_t, int) {}), "nobody has the id 0");
    check(server.task("x", [it](server_ref, const sw_task_result_t &) {}, 99) == -1, "no worker");
    server.send(fd, count_of(it));
}

static void deferred(server_ref server, int64_t fd)
{
    witness it = std::make_shared<int>(0);
    server.defer([=, own = std::make_unique<int>(7)] { // what can only be moved is taken, too
        server.defer([=, weak = std::weak_ptr<int>(it)] {
            server.send(fd, std::to_string(weak.use_count()) + " are left\n");
        });
        check(*own == 7, "what was captured is there");
    });
}

static void sent(server_ref server, int64_t fd)
{
    server.send_async(fd, "sent: ", [](server_ref here, int64_t to, int error) {
        here.send(to, std::to_string(error) + "\n");
    });
}

static void descriptors(server_ref server, int64_t fd)
{
    int ends[2];
    witness it = std::make_shared<int>(0);
    check(pipe(ends) == 0, "a pipe");
    swoole::event_add(ends[0], SW_IO_READ, [=, end = ends[1]](int os_fd, int events) {
        char text[8];
        check(events == SW_IO_READ && read(os_fd, text, sizeof text) == 3, "it can be read");
        check(swoole::event_del(os_fd), "it is watched no longer");
        check(it.use_count() == 1, "the lambda lives while it runs");
        check(close(os_fd) == 0 && close(end) == 0, "both ends are closed");
        server.send(fd, "read\n");
    });
    check(!swoole::event_add(ends[0], SW_IO_READ, [](int, int) {}), "it is watched already");
    check(swoole::event_set(ends[0], SW_IO_READ), "what it is watched for can be set");
    check(write(ends[1], "abc", 3) == 3, "it can be written");
}

static void tasks(server_ref server, int64_t fd)
{
    witness it = std::make_shared<int>(0);
    server.task("one", [=](server_ref here, const sw_task_result_t &result) {
        here.send(fd, std::string(bytes(result)) + "\n");
    });
    auto waited = server.taskwait("two", 5);
    check(waited && waited->view() == "two done", "a task is waited for");
    auto late = server.taskwait("never", 0.01);
    check(!late && swoole::last_error() == SW_ERROR_TASK_TIMEOUT, "one that is not answered");
    auto several = server.task_wait_multi({"a", "", "empty"}, 10);
    check(several && several->size() == 3, "one result a task");
    check((*several)[0].view() == "a done" && (*several)[1].view() == " done", "in their order");
    check((*several)[2].has_value() && (*several)[2].view().empty(), "of an empty one");
    auto nothing = server.task_wait_multi({"never"}, 0.01);
    check(nothing && nothing->size() == 1 && !nothing->front().has_value(), "where there is none");
}

static void list(server_ref server, int64_t fd)
{
    server.task_co({"a", "c", "empty"}, 10, [=](server_ref here, const swoole::results &all) {
        check(all.size() == 3 && all[0] == "a done" && all[1] == "c done", "a list");
        check(all[2] == "", "of an empty one");
        here.task_co({"never"}, 0.01, [=](server_ref, const swoole::results &none) {
            check(none.size() == 1 && !none[0], "a list without results");
            here.send(fd, "listed\n");
        });
    });
}

static void plain_task(server_ref server, int64_t fd)
{
    check(server.task("to " + std::to_string(fd)) >= 0, "a task without a lambda");
}

static void message(server_ref server, int64_t fd)
{
    check(server.send_message(std::to_string(fd), 1), "a message to the task worker");
    check(!server.send_message("self", server.get_worker_id()), "none to oneself");
}

static void connections(server_ref server, int64_t fd)
{
    auto info = server.get_client_info(fd);
    check(info && std::strcmp(info->remote_ip, "127.0.0.1") == 0, "what is known of it");
    check(!server.get_client_info(99999), "there is no such connection");
    auto all = server.get_client_list();
    check(all && all->size() == 1 && all->front() == fd, "the list");
    check(!server.get_client_list(0, 101), "a page is at most 100");
    check(!server.heartbeat(false), "there is no heartbeat");
    check(!server.get_client_cert(fd), "there is no certificate");
    check(server.exist(fd) && server.pause(fd) && server.resume(fd), "paused and resumed");
    check(server.protect(fd) && server.bind(fd, 7), "protected and bound");
    check(!server.confirm(fd), "nothing to confirm");
    check(!server.sendfile(fd, "/nonexistent"), "no such file");
    check(!server.sendto("127.0.0.1", 1, "x"), "no port for datagrams");
    bool has_waited = server.sendwait(fd, "listened ");
    if (!has_waited)
        server.send(fd, "listened ");
    check(has_waited == (server.get_mode() != SW_PROCESS), "sendwait but in process mode");
    server.send(fd, "to\n");
}

static void whole(server_ref server, int64_t fd)
{
    auto stats = server.stats();
    check(stats && stats->connection_num == 1 && stats->worker_num == 1, "the counts");
    auto worker_num = server.get_setting("WORKER_NUM");
    check(worker_num && worker_num->view() == "1", "a setting");
    check(!server.get_setting("none"), "no such setting");
    check(server.get_callback("receive") != nullptr, "a callback");
    check(server.is_running() && !server.is_task_worker() && server.get_worker_id() == 0, "who");
    check(server.get_worker_pid() > 0 && server.get_worker_status() == SW_WORKER_BUSY, "a worker");
    check(server.get_master_pid() > 0 && server.get_socket() >= 0, "a master");
    check((server.get_manager_pid() > 0) == (server.get_mode() != SW_THREAD), "a manager");
    check(server.begin_request() && server.end_request(), "a request");
    check(!server.close(99999), "nobody to close");
    check(server.get_last_error() == SW_ERROR_SESSION_NOT_EXIST, "the error");
    check(!swoole::strerror(SW_ERROR_SESSION_NOT_EXIST).empty(), "its text");
    server.send(fd, "all\n");
}

static const std::map<std::string, std::function<void(server_ref, int64_t)>> what = {
    {"timers", timers},   {"cleared", cleared},       {"deferred", deferred},
    {"sent", sent},       {"descriptors", descriptors}, {"tasks", tasks},
    {"list", list},       {"plain task", plain_task}, {"message", message},
    {"connections", connections}, {"whole", whole},
    {"throw", [](server_ref, int64_t) { throw std::runtime_error("on purpose"); }},
};

// --- the server ----------------------------------------------------------------------------------

static void on_task(server_ref server, const sw_task_t &task)
{
    std::string text(bytes(task));
    if (text.substr(0, 3) == "to ")
        server.finish(text.substr(3));
    else if (text == "empty")
        server.finish("");
    else if (text != "never")
        server.finish(text + " done");
}

static void run_process(server_ref server, swoole::process self)
{
    char text[32];
    for (ssize_t size; (size = read(self.socket(), text, sizeof text)) > 0;)
        server.send(std::atoll(std::string(text, static_cast<size_t>(size)).c_str()), "process\n");
}

static void register_all(swoole::server &server, const witness &it)
{
    swoole::process process = server.add_process([it](server_ref here, swoole::process self) {
        run_process(here, self);
    });
    check(process && process.number() == 0, "a process");
    check(server.on_receive([process, it](server_ref here, const sw_conn_event_t &event) {
        std::string line(bytes(event).substr(0, event.len - 1));
        std::string fd = std::to_string(event.fd);
        if (line == "process")
            check(write(process.socket(), fd.data(), fd.size()) > 0, "the pipe of a process");
        else
            what.at(line)(here, event.fd);
    }), "receive");
    check(server.on_task(on_task), "task");
    check(server.on_finish([](server_ref here, const sw_task_result_t &result) {
        here.send(std::atoll(std::string(bytes(result)).c_str()), "finished\n");
    }), "finish");
    check(server.on_pipe_message([](server_ref here, const sw_pipe_message_t &message) {
        check(here.is_task_worker() && message.source_worker_id == 0, "a message from worker 0");
        here.send(std::atoll(std::string(bytes(message)).c_str()), "message\n");
    }), "pipeMessage");
    check(server.add_command("double", SW_COMMAND_EVENT_WORKER,
                             [](server_ref, std::string_view data, swoole::reply reply) {
                                 std::string text(data);
                                 return reply.answer(text + text);
                             }), "command");
    check(server.set_dispatch_func([](server_ref, int64_t, int, std::string_view) {
        return SW_DISPATCH_DEFAULT;
    }), "dispatch function");
    check(server.on_start([](server_ref here) {
        auto reply = here.command("double", 0, SW_COMMAND_EVENT_WORKER, "ab");
        bool is_thread = here.get_mode() == SW_THREAD;
        check(is_thread ? !reply : reply && reply->view() == "abab", "a command");
        std::printf("started\n");
        std::fflush(stdout);
    }), "start");
    check(server.on_worker_error([](server_ref, const sw_status_info_t &error) {
        std::printf("a worker has ended with %d\n", error.exit_code);
        std::fflush(stdout);
    }), "workerError");
    auto worker = [it](server_ref here, const sw_worker_event_t &event) {
        check(event.is_task_worker == here.is_task_worker(), "which worker");
    };
    check(server.on_worker_start(worker) && server.on_worker_stop(worker)
          && server.on_worker_exit(worker), "events of workers");
    auto bare = [it](server_ref here) { check(here.get() != nullptr, "a server"); };
    check(server.on_before_shutdown(bare) && server.on_manager_start(bare)
          && server.on_manager_stop(bare) && server.on_before_reload(bare)
          && server.on_after_reload(bare), "events of the server");
    auto connection = [it](server_ref here, const sw_conn_event_t &event) {
        check(here.get_client_info(event.fd).has_value(), "a connection");
    };
    check(server.on_connect(connection) && server.on_close(connection)
          && server.on_buffer_full(connection) && server.on_buffer_empty(connection),
          "events of connections");
    check(server.on_shutdown([it](server_ref here) {
        std::printf("over, %s\n", here.is_running() ? "and runs" : "and does not run");
        std::fflush(stdout);
    }), "shutdown");
}

// A second port: one digit, then as many bytes.
static void register_port(swoole::port port)
{
    check(port && port.type() == SW_SOCK_UNIX_STREAM && port.number() == 0, "a port at a file");
    check(port.host() != nullptr && port.socket() >= 0, "its host and its socket");
    check(port.set("open_length_check", true) && port.set("package_max_length", "64K")
          && port.set_json("{\"backlog\": 5}"), "its settings");
    check(port.set_length_func([](std::string_view data) -> int64_t {
        return data[0] >= '1' && data[0] <= '9' ? data[0] - '0' + 1 : -1;
    }), "its lengths");
    check(port.on_packet([](server_ref, const sw_packet_t &) {}), "packet");
    check(port.on_receive([port](server_ref here, const sw_conn_event_t &event) {
        auto all = port.get_client_list();
        auto stats = port.stats();
        check(all && all->size() == 1 && stats && stats->accept_count == 1, "its connections");
        here.send(event.fd, bytes(event));
    }), "its receive");
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return EXIT_FAILURE;
    swoole::server none("no host\n", 0, SW_BASE);
    check(!none && !none.start() && swoole::last_error() == SW_ERROR_INVALID_PARAMS, "no server");

    witness it = std::make_shared<int>(0);
    bool done = false;
    {
        swoole::server first("127.0.0.1", std::atoi(argv[2]), std::atoi(argv[1]));
        swoole::server server = std::move(first);
        check(server && !first, "a server can be moved");
        check(server.set("worker_num", 1) && server.set("task_worker_num", "1")
              && server.set_json("{\"max_wait_time\": 5}"), "settings");
        check(!server.set("worker_num", "many"), "not a number");
        register_all(server, it);
        std::string path = std::string("/tmp/swoole-cpp-") + argv[2];
        register_port(server.add_listener(path, 0, SW_SOCK_UNIX_STREAM));
        check(server.listen("127.0.0.1", 0).number() > 0, "the system chooses a number");
        check(server.port(1).type() == SW_SOCK_UNIX_STREAM && !server.port(9), "ports");
        check(it.use_count() > 5, "callbacks are kept");
        std::fflush(stdout);
        done = server.start();
        if (!done)
            std::fprintf(stderr, "%s\n", swoole::last_error_message().c_str());
    }
    check(it.use_count() == 1, "all callbacks are gone with the server");
    std::printf("swoole %s\n", std::strlen(swoole::version()) > 0 ? "has ended" : "?");
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
