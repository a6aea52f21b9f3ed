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
#include <errno.h>
#include <string.h>
#include "raw_loop.h"

enum { BUFFER_SIZE = 128 * 1024, HEADER = 4, MESSAGE_MAX = 4 * 1024 * 1024 };

/* Of its bytes the first `whole` are messages, of which `sent` have gone. */
struct connection {
    char *bytes;
    size_t capacity, length, whole, sent, needed;
};

static struct connection connections[CONNECTIONS_MAX]; /* by descriptor */
static char buffer[BUFFER_SIZE];

static void close_connection(int fd)
{
    free(connections[fd].bytes);
    memset(&connections[fd], 0, sizeof connections[fd]);
    close(fd);
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

static void begin(int fd)
{
    memset(&connections[fd], 0, sizeof connections[fd]);
}

static void take(int fd)
{
    if (connections[fd].whole > 0)
        flush(fd);
    else
        echo(fd);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    serve(atoi(argv[1]), begin, take);
}
