// An echo server in C++: what a client sends comes back. Usage: echo_cpp [mode 1|2|3] [port]
#include <cstdio>
#include <cstdlib>
#include "swoole.hpp"

int main(int argc, char **argv)
{
    int mode = argc > 1 ? std::atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? std::atoi(argv[2]) : 9501;

    swoole::server server("127.0.0.1", port, mode);
    bool done = server && server.set("worker_num", 2)
        && server.on_receive([](swoole::server_ref here, const sw_conn_event_t &event) {
               if (!here.send(event.fd, swoole::bytes(event)))
                   std::fprintf(stderr, "not sent: %s\n", swoole::last_error_message().c_str());
           })
        && server.start(); // returns when the server has ended
    if (!done)
        std::fprintf(stderr, "%s\n", swoole::last_error_message().c_str());
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
