/*
 * The yardstick of TLS: an echo server in one thread on epoll and OpenSSL, nothing else.
 *
 *     openssl_echo CERTIFICATE KEY PORT
 *
 * What is read is written back at once from one buffer. A connection that is not through with a
 * write is not read. Idle connections give their buffers back. Ends by SIGTERM's default action.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS_MAX = 1024, BUFFER_SIZE = 64 * 1024, CONNECTIONS_MAX = 64 * 1024, BACKLOG = 4096 };

struct rest {
    size_t begin, end;
    char bytes[BUFFER_SIZE];
};

static SSL *sessions[CONNECTIONS_MAX];     /* by descriptor, NULL: closed */
static struct rest *rests[CONNECTIONS_MAX]; /* the same, NULL: nothing is kept */
static uint32_t watched[CONNECTIONS_MAX];
static char buffer[BUFFER_SIZE];
static int poller, listener;
static SSL_CTX *context;

static void fail(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void watch(int operation, int fd, uint32_t events)
{
    if (operation == EPOLL_CTL_MOD && watched[fd] == events)
        return;
    watched[fd] = events;
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(poller, operation, fd, &event) != 0)
        fail("epoll_ctl");
}

static void close_connection(int fd)
{
    SSL_free(sessions[fd]);
    free(rests[fd]);
    sessions[fd] = NULL;
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
        SSL *session = fd < CONNECTIONS_MAX ? SSL_new(context) : NULL;
        if (session == NULL || SSL_set_fd(session, fd) != 1) {
            SSL_free(session);
            close(fd);
            continue;
        }
        SSL_set_accept_state(session);
        sessions[fd] = session;
        watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

/* Whether the connection lives on after a call that has moved nothing. */
static int waits(int fd, int result)
{
    int error = SSL_get_error(sessions[fd], result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        watch(EPOLL_CTL_MOD, fd, error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
        return 1;
    }
    ERR_clear_error();
    close_connection(fd);
    return 0;
}

static void keep(int fd, size_t begin, size_t end)
{
    struct rest *rest = malloc(sizeof *rest);
    if (rest == NULL)
        fail("malloc");
    memcpy(rest->bytes, buffer, end);
    rest->begin = begin;
    rest->end = end;
    rests[fd] = rest;
}

/* Reads on as long as the session has something: the socket tells only of what it has itself. */
static void echo(int fd)
{
    do {
        size_t length = 0, sent = 0, begin = 0;
        int result = SSL_read_ex(sessions[fd], buffer, sizeof buffer, &length);
        if (result != 1) {
            waits(fd, result);
            return;
        }
        for (; begin < length; begin += sent) {
            result = SSL_write_ex(sessions[fd], buffer + begin, length - begin, &sent);
            if (result != 1) {
                if (waits(fd, result))
                    keep(fd, begin, length);
                return;
            }
        }
    } while (SSL_has_pending(sessions[fd]));
}

static void flush(int fd)
{
    struct rest *rest = rests[fd];
    size_t sent = 0;
    for (; rest->begin < rest->end; rest->begin += sent) {
        int result =
            SSL_write_ex(sessions[fd], rest->bytes + rest->begin, rest->end - rest->begin, &sent);
        if (result != 1) {
            waits(fd, result);
            return;
        }
    }
    free(rest);
    rests[fd] = NULL;
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    echo(fd);
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENTS_MAX];
    if (argc != 4) {
        fprintf(stderr, "usage: %s CERTIFICATE KEY PORT\n", argv[0]);
        return 2;
    }
    context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1
        || SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) != 1
        || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        fail("context");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                                  | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    listener = open_listener(atoi(argv[3]));
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
