/*
 * The yardstick: an echo server in one thread on epoll and nothing else.
 *
 *     raw_epoll PORT
 *
 * Level-triggered. What is read is written back at once from the same buffer; only what the socket
 * would not take is copied and kept, and the connection is not read again before it is gone. So an
 * idle connection owns no memory here. Ends by SIGTERM's default action.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 1024, BUFFER_SIZE = 64 * 1024, CONNECTIONS_MAX = 64 * 1024, BACKLOG = 4096 };

struct rest {
    size_t begin, end;
    char bytes[];
};

static struct rest *rests[CONNECTIONS_MAX]; /* by descriptor, NULL: nothing is kept */
static char buffer[BUFFER_SIZE];
static int poller, listener;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event) != 0)
        fail("epoll_ctl");
}

static void close_connection(int fd)
{
    free(rests[fd]);
    rests[fd] = NULL;
    close(fd);
}

static int open_listener(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    /* An accepted socket inherits TCP_NODELAY. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0
        || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, BACKLOG) != 0)
        fail("listen");
    return fd;
}

static void accept_all(void)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (fd >= CONNECTIONS_MAX)
            close(fd);
        else
            watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

static void keep(int fd, const char *bytes, size_t length)
{
    struct rest *rest = malloc(sizeof *rest + length);
    if (rest == NULL)
        fail("malloc");
    rest->begin = 0;
    rest->end = length;
    memcpy(rest->bytes, bytes, length);
    rests[fd] = rest;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void echo(int fd)
{
    ssize_t length = read(fd, buffer, sizeof buffer);
    if (length > 0) {
        ssize_t sent = write(fd, buffer, (size_t)length);
        if (sent == length)
            return;
        if (sent >= 0 || errno == EAGAIN) {
            sent = sent < 0 ? 0 : sent;
            keep(fd, buffer + sent, (size_t)(length - sent));
            return;
        }
    } else if (length < 0 && errno == EAGAIN) {
        return;
    }
    close_connection(fd);
}

static void flush(int fd)
{
    struct rest *rest = rests[fd];
    ssize_t sent = write(fd, rest->bytes + rest->begin, rest->end - rest->begin);
    if (sent < 0) {
        if (errno != EAGAIN)
            close_connection(fd);
        return;
    }
    rest->begin += (size_t)sent;
    if (rest->begin == rest->end) {
        free(rest);
        rests[fd] = NULL;
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENTS_MAX];
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    listener = open_listener(atoi(argv[1]));
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0)
        fail("epoll_create1");
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all();
            else if (rests[fd] != NULL)
                flush(fd);
            else
                echo(fd);
        }
    }
}
