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
#include <errno.h>
#include <string.h>
#include "raw_loop.h"

enum { BUFFER_SIZE = 64 * 1024 };

struct rest {
    size_t begin, end;
    char bytes[];
};

static struct rest *rests[CONNECTIONS_MAX]; /* by descriptor, NULL: nothing is kept */
static char buffer[BUFFER_SIZE];

static void close_connection(int fd)
{
    free(rests[fd]);
    rests[fd] = NULL;
    close(fd);
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

static void begin(int fd)
{
    rests[fd] = NULL;
}

static void take(int fd)
{
    if (rests[fd] != NULL)
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
