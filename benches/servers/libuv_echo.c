/*
 * An echo server on libuv's loop, in one thread.
 *
 *     libuv_echo PORT
 *
 * All connections share one read buffer: it is free again when the read callback returns. What
 * uv_try_write does not take at once is copied into a write request, and reading pauses meanwhile.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { BUFFER_SIZE = 64 * 1024, BACKLOG = 4096 };

struct pending {
    uv_write_t request;
    char bytes[];
};

static char buffer[BUFFER_SIZE];

static void check(int status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, uv_strerror(status));
        exit(1);
    }
}

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

static void close_connection(uv_stream_t *stream)
{
    if (!uv_is_closing((uv_handle_t *)stream))
        uv_close((uv_handle_t *)stream, on_close);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)handle;
    (void)suggested;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *bytes);

static void on_written(uv_write_t *request, int status)
{
    uv_stream_t *stream = request->handle;
    free(request);
    if (status < 0 || uv_read_start(stream, on_alloc, on_read) < 0)
        close_connection(stream);
}

static void keep(uv_stream_t *stream, const char *bytes, size_t length)
{
    struct pending *pending = malloc(sizeof *pending + length);
    check(pending == NULL ? UV_ENOMEM : 0, "malloc");
    memcpy(pending->bytes, bytes, length);
    uv_buf_t out = uv_buf_init(pending->bytes, (unsigned)length);
    uv_read_stop(stream);
    if (uv_write(&pending->request, stream, &out, 1, on_written) < 0) {
        free(pending);
        close_connection(stream);
    }
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *bytes)
{
    if (length < 0) {
        close_connection(stream);
        return;
    }
    uv_buf_t out = uv_buf_init(bytes->base, (unsigned)length);
    int sent = length == 0 ? 0 : uv_try_write(stream, &out, 1);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0)
        close_connection(stream);
    else if (sent < length)
        keep(stream, bytes->base + sent, (size_t)(length - sent));
}

static void on_connection(uv_stream_t *listener, int status)
{
    check(status, "connection");
    uv_tcp_t *connection = malloc(sizeof *connection);
    check(connection == NULL ? UV_ENOMEM : 0, "malloc");
    check(uv_tcp_init(listener->loop, connection), "uv_tcp_init");
    if (uv_accept(listener, (uv_stream_t *)connection) < 0
        || uv_tcp_nodelay(connection, 1) < 0
        || uv_read_start((uv_stream_t *)connection, on_alloc, on_read) < 0)
        close_connection((uv_stream_t *)connection);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    struct sockaddr_in address;
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    check(uv_ip4_addr("127.0.0.1", atoi(argv[1]), &address), "address");
    check(uv_tcp_init(loop, &listener), "uv_tcp_init");
    check(uv_tcp_bind(&listener, (const struct sockaddr *)&address, 0), "bind");
    check(uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection), "listen");
    return uv_run(loop, UV_RUN_DEFAULT);
}
