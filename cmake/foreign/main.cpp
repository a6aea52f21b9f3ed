#include <cstdio>
#include <swoole.hpp>

int main()
{
    swoole::server server("127.0.0.1", 0, SW_BASE);
    if (!server || !server.on_receive([](swoole::server_ref, const sw_conn_event_t &) {}))
        return 1;
    std::printf("swoole %s\n", swoole::version());
}
