/*
 * A room: what a client says goes to all. Workers tell a user process what happens; it knows who is
 * there and sends. Usage: broadcast [mode 1|2|3] [port]
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "swoole.h"

enum { MEMBERS = 1000, TEXT = 512 };

/* Small enough for one write, so that those of several workers do not mix. */
struct note {
    sw_event_kind_t kind;
    int64_t fd;
    size_t len;
    char text[TEXT];
};

/* Shared memory: a user process that is started again goes on with it. */
struct room {
    int count;
    int64_t fds[MEMBERS];
};

static void tell_room(sw_server_t *server, const sw_event_t *event, void *user_data)
{
    const sw_conn_event_t *told = &event->receive;
    struct note note = { .kind = event->kind, .fd = told->fd };
    note.len = told->len < TEXT ? told->len : TEXT; /* what is longer is cut */
    if (note.len > 0)
        memcpy(note.text, told->data, note.len);
    if (write(sw_process_socket(user_data), &note, sizeof note) != sizeof note)
        perror("the room was not told");
    (void)server;
}

static void send_to_all(sw_server_t *server, const struct room *room, const struct note *note)
{
    char line[TEXT + 32];
    int head = snprintf(line, 32, "%lld: ", (long long)note->fd);
    memcpy(line + head, note->text, note->len);
    for (int i = 0; i < room->count; i++)
        if (!sw_server_send(server, room->fds[i], line, (size_t)head + note->len))
            fprintf(stderr, "not sent to %lld: %s\n", (long long)room->fds[i],
                    sw_last_error_message());
}

static void change(struct room *room, const struct note *note)
{
    bool is_new = note->kind == SW_EVENT_CONNECT;
    int i = 0;
    while (i < room->count && room->fds[i] != note->fd)
        i++;
    if (is_new && room->count < MEMBERS)
        room->fds[room->count++] = note->fd;
    else if (!is_new && i < room->count)
        room->fds[i] = room->fds[--room->count];
    printf("%lld %s, %d here\n", (long long)note->fd, is_new ? "came" : "left", room->count);
    fflush(stdout); /* at the end of the server SIGTERM ends this process */
}

static void keep_room(sw_server_t *server, sw_process_t *process, void *user_data)
{
    struct note note;
    ssize_t got;
    while ((got = read(sw_process_socket(process), &note, sizeof note)) == sizeof note) {
        if (note.kind == SW_EVENT_RECEIVE)
            send_to_all(server, user_data, &note);
        else
            change(user_data, &note);
    }
    if (got < 0)
        perror("the room hears nothing");
}

int main(int argc, char **argv)
{
    int mode = argc > 1 ? atoi(argv[1]) : SW_PROCESS;
    int port = argc > 2 ? atoi(argv[2]) : 9501;
    struct room *room = mmap(NULL, sizeof *room, PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sw_process_t *process = room == MAP_FAILED ? NULL : sw_process_new(keep_room, room);
    sw_server_t *server = sw_server_new("127.0.0.1", port, mode, SW_SOCK_TCP);
    bool done = process != NULL && server != NULL
        && sw_server_set(server, "worker_num", "2")
        && sw_server_on(server, "connect", tell_room, process)
        && sw_server_on(server, "receive", tell_room, process)
        && sw_server_on(server, "close", tell_room, process)
        && sw_server_add_process(server, process) >= 0
        && sw_server_start(server);
    if (!done)
        fprintf(stderr, "%s\n", sw_last_error_message());
    sw_server_free(server);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
