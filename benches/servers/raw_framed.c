/*
 * The yardstick of framing: messages behind their length, four bytes, the highest first, come back
 * as they are, from one thread on epoll and nothing else.
 *
 *     raw_framed PORT
 *
 * Level-triggered. All whole messages of one read are written back at once from the buffer that
 * they were read into. What is no whole message is kept in memory of the connection, which is as
 * large as its message needs and is used again for the next one; a large message is read straight
 * into it. While the socket takes nothing the connection is not read. Ends by SIGTERM's default
 * action.
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

enum {
    EVENTS_MAX = 1024,
    BUFFER_SIZE = 128 * 1024,
    CONNECTIONS_MAX = 64 * 1024,
    BACKLOG = 4096,
    HEADER = 4,
    MESSAGE_MAX = 4 * 1024 * 1024
};

/* Of its bytes the first `whole` are messages, of which `sent` have gone. */
struct connection {
    char *bytes;
    size_t capacity, length, whole, sent, needed;
};

static struct connection connections[CONNECTIONS_MAX]; /* by descriptor */
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
    free(connections[fd].bytes);
    memset(&connections[fd], 0, sizeof connections[fd]);
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

/* The end of the last whole message, and how long the one behind it is; -1 if it is too long. */
static ssize_t cut(const char *bytes, size_t length, size_t *needed)
{
    size_t at = 0;
    *needed = HEADER;
    while (length - at >= HEADER) {
        uint32_t field;
        memcpy(&field, bytes + at, sizeof field);
        *needed = (size_t)ntohl(field) + HEADER;
        if (*needed > MESSAGE_MAX)
            return -1;
        if (length - at < *needed)
            return (ssize_t)at;
        at += *needed;
        *needed = HEADER;
    }
    return (ssize_t)at;
}

static void reserve(struct connection *connection, size_t size)
{
    if (connection->capacity >= size)
        return;
    connection->bytes = realloc(connection->bytes, size);
    if (connection->bytes == NULL)
        fail("realloc");
    connection->capacity = size;
}

/* Messages have gone: what is behind them comes to the front. */
static void shift(struct connection *connection)
{
    connection->length -= connection->whole;
    memmove(connection->bytes, connection->bytes + connection->whole, connection->length);
    connection->whole = connection->sent = 0;
}

static void echo(int fd)
{
    struct connection *own = &connections[fd];
    char *bytes = buffer;
    size_t room = sizeof buffer;
    if (own->length > 0) {
        reserve(own, own->needed > BUFFER_SIZE ? own->needed : BUFFER_SIZE);
        bytes = own->bytes;
        room = own->capacity - own->length;
    }
    ssize_t count = read(fd, bytes + own->length, room);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN)
            close_connection(fd);
        return;
    }
    size_t length = own->length + (size_t)count;
    ssize_t whole = cut(bytes, length, &own->needed);
    ssize_t sent = whole > 0 ? write(fd, bytes, (size_t)whole) : 0;
    if (whole < 0 || (sent < 0 && errno != EAGAIN)) {
        close_connection(fd);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent == length) {
        own->length = 0;
        return;
    }
    if (bytes == buffer) {
        length -= (size_t)sent;
        reserve(own, length > own->needed ? length : own->needed);
        memcpy(own->bytes, buffer + sent, length);
        whole -= sent;
        sent = 0;
    }
    own->length = length;
    own->whole = (size_t)whole;
    own->sent = (size_t)sent;
    if (own->sent < own->whole)
        watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    else
        shift(own);
}

static void flush(int fd)
{
    struct connection *own = &connections[fd];
    ssize_t sent = write(fd, own->bytes + own->sent, own->whole - own->sent);
    if (sent < 0) {
        if (errno != EAGAIN)
            close_connection(fd);
        return;
    }
    own->sent += (size_t)sent;
    if (own->sent == own->whole) {
        shift(own);
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
            else if (connections[fd].whole > 0)
                flush(fd);
            else
                echo(fd);
        }
    }
}
