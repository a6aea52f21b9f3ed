// Work that takes long is done by task workers, while the workers serve others; in C++.
// A client sends words and hears how many they are; "break ..." goes to nobody.
// Usage: task_cpp [mode 1|2|3] [port]
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include "swoole.hpp"

// In a task worker.
static void count_words(swoole::server_ref server, const sw_task_t &task)
{
    std::istringstream text{std::string(swoole::bytes(task))};
    int words = 0;
    for (std::string word; text >> word;)
        words++;
    if (!server.finish(std::to_string(words) + " words\n"))
        std::fprintf(stderr, "%s\n", swoole::last_error_message().c_str());
}

// In a worker.
static void hand_in(swoole::server_ref server, const sw_conn_event_t &event)
{
    std::string_view line = swoole::bytes(event);
    line.remove_suffix(1); // the end of the line
    auto answer = [fd = event.fd](swoole::server_ref here, const sw_task_result_t &result) {
        if (result.data == nullptr) // the task worker died with the task in its hands
            here.send(fd, "failed\n");
        else
            here.send(fd, swoole::bytes(result));
    };
    if (server.task(line, answer, line.substr(0, 5) == "break" ? 99 : -1) < 0)
        server.send(event.fd, "error " + std::to_string(swoole::last_error()) + "\n");
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? std::atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? std::atoi(argv[2]) : 9501;

    swoole::server server("127.0.0.1", port, mode);
    bool done = server && server.set("worker_num", 1) && server.set("task_worker_num", 2)
        && server.on_task(count_words) && server.on_receive(hand_in) && server.start();
    if (!done)
        std::fprintf(stderr, "%s\n", swoole::last_error_message().c_str());
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
