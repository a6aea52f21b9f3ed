/*
 * The yardstick of TLS: an echo server in one thread on epoll and OpenSSL, nothing else.
 *
 *     openssl_echo CERTIFICATE KEY PORT
 *
 * What is read is written back at once from one buffer. A connection that is not through with a
 * write is not read. Idle connections give their buffers back. Ends by SIGTERM's default action.
 */
#define _GNU_SOURCE
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include "raw_loop.h"

enum { BUFFER_SIZE = 64 * 1024 };

struct rest {
    size_t begin, end;
    char bytes[BUFFER_SIZE];
};

static SSL *sessions[CONNECTIONS_MAX];     /* by descriptor, NULL: closed */
static struct rest *rests[CONNECTIONS_MAX]; /* the same, NULL: nothing is kept */
static uint32_t watched[CONNECTIONS_MAX];
static char buffer[BUFFER_SIZE];
static SSL_CTX *context;

static void watch_for(int fd, uint32_t events)
{
    if (watched[fd] != events)
        watch(EPOLL_CTL_MOD, fd, events);
    watched[fd] = events;
}

static void fail_with_reasons(const char *what)
{
    ERR_print_errors_fp(stderr);
    fail(what);
}

static void close_connection(int fd)
{
    SSL_free(sessions[fd]);
    free(rests[fd]);
    sessions[fd] = NULL;
    rests[fd] = NULL;
    close(fd);
}

/* Whether the connection lives on after a call that has moved nothing. */
static int waits(int fd, int result)
{
    int error = SSL_get_error(sessions[fd], result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        watch_for(fd, error == SSL_ERROR_WANT_READ ? EPOLLIN : EPOLLOUT);
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
    watch_for(fd, EPOLLIN);
    echo(fd);
}

static void begin(int fd)
{
    SSL *session = SSL_new(context);
    if (session == NULL || SSL_set_fd(session, fd) != 1) {
        SSL_free(session);
        close(fd);
        return;
    }
    SSL_set_accept_state(session);
    sessions[fd] = session;
    watched[fd] = EPOLLIN;
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
    if (argc != 4) {
        fprintf(stderr, "usage: %s CERTIFICATE KEY PORT\n", argv[0]);
        return 2;
    }
    context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_use_certificate_chain_file(context, argv[1]) != 1
        || SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM) != 1
        || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        fail_with_reasons("context");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE
                                  | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    serve(atoi(argv[3]), begin, take);
}
