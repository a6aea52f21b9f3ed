/*
 * The loop of a server in one thread. It says how a connection begins and what it does when one is
 * ready.
 */
#pragma once
#include "raw.h"

static void serve(int port, void (*begin)(int fd), void (*take)(int fd))
{
    static struct epoll_event events[EVENTS_MAX];
    listener = open_listener(port);
    watch_listener();
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener)
                take(fd);
            else
                while ((fd = accept_next()) >= 0)
                    begin(fd);
        }
    }
}
