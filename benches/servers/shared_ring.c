/*
 * The least that two processes cost: a reactor, a worker, two rings in shared memory, nothing else.
 *
 *     shared_ring PORT
 *
 * The reactor reads a socket straight into the ring to the worker; the worker copies each message
 * into the ring back; the reactor writes from there to the socket. Each process has a doorbell (an
 * eventfd) and says when it is about to sleep; only a sleeper is rung, once a batch. What a socket
 * does not take is copied and kept, and the connection is not read meanwhile.
 *
 * A reference line, no server: the reactor holds an unbounded rest for a client that does not read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include "raw.h"

enum {
    MESSAGE_MAX = 64 * 1024,
    RING_SIZE = 4 * 1024 * 1024,
    SKIP = UINT32_MAX, /* a header with this length: the message is at the start of the ring */
};

struct header {
    uint32_t fd, generation, length, unused;
};

/* One producer, one consumer. Positions count bytes for ever; a message never wraps. */
struct ring {
    _Alignas(64) _Atomic uint64_t tail; /* written by the producer, release; read with acquire */
    _Alignas(64) _Atomic uint64_t head; /* written by the consumer, release; read with acquire */
    _Alignas(64) char bytes[RING_SIZE];
};

struct side {
    _Alignas(64) _Atomic bool is_asleep; /* set by its owner, cleared by who rings */
    int doorbell;
};

struct shared {
    struct ring to_worker, to_reactor;
    struct side reactor, worker;
};

struct connection {
    uint32_t generation;
    bool is_reading;
    size_t begin, end;
    char *rest; /* NULL: everything was written */
};

static struct shared *shared;
static struct connection connections[CONNECTIONS_MAX];

/* ---- rings ---- */

static size_t message_size(size_t length)
{
    return sizeof(struct header) + ((length + 15) & ~(size_t)15);
}

/* Room at *tail for a message of up to `length` bytes, after skipping the end of the ring if it
 * does not fit there; NULL if the ring is full. Nothing is visible to the consumer yet. */
static struct header *reserve(struct ring *ring, uint64_t *tail, size_t length)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    size_t size = message_size(length), at = *tail % RING_SIZE;
    size_t skipped = at + size > RING_SIZE ? RING_SIZE - at : 0;
    if (*tail + skipped + size - head > RING_SIZE)
        return NULL;
    if (skipped > 0) {
        ((struct header *)(ring->bytes + at))->length = SKIP;
        *tail += skipped;
        at = 0;
    }
    return (struct header *)(ring->bytes + at);
}

/* The message at *head, which moves past it; NULL if there is none. */
static const struct header *next(const struct ring *ring, uint64_t *head, uint64_t tail)
{
    if (*head == tail)
        return NULL;
    const struct header *header = (const struct header *)(ring->bytes + *head % RING_SIZE);
    if (header->length == SKIP) {
        *head += RING_SIZE - *head % RING_SIZE;
        if (*head == tail)
            return NULL; /* nothing was read into the room behind the skip */
        header = (const struct header *)ring->bytes;
    }
    *head += message_size(header->length);
    return header;
}

static void ring_bell(struct side *side)
{
    uint64_t one = 1;
    atomic_thread_fence(memory_order_seq_cst); /* pairs with the one in fall_asleep */
    if (!atomic_load_explicit(&side->is_asleep, memory_order_relaxed))
        return;
    atomic_store_explicit(&side->is_asleep, false, memory_order_relaxed);
    if (write(side->doorbell, &one, sizeof one) != sizeof one)
        fail("doorbell");
}

static bool is_empty(const struct ring *ring)
{
    return atomic_load_explicit(&ring->tail, memory_order_acquire)
        == atomic_load_explicit(&ring->head, memory_order_relaxed);
}

/* Says that the side sleeps; after it the caller looks once more at what it waits for. */
static void fall_asleep(struct side *side)
{
    atomic_store_explicit(&side->is_asleep, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

static void wake_up(struct side *side)
{
    atomic_store_explicit(&side->is_asleep, false, memory_order_relaxed);
}

static void wait_for_bell(const struct side *side)
{
    uint64_t count;
    struct pollfd bell = {.fd = side->doorbell, .events = POLLIN};
    if (poll(&bell, 1, -1) == 1 && read(side->doorbell, &count, sizeof count) < 0)
        fail("doorbell");
}

/* ---- worker ---- */

static struct header *reserve_reply(uint64_t *tail, size_t length)
{
    struct ring *ring = &shared->to_reactor;
    struct header *reply;
    while ((reply = reserve(ring, tail, length)) == NULL) {
        atomic_store_explicit(&ring->tail, *tail, memory_order_release);
        ring_bell(&shared->reactor);
        fall_asleep(&shared->worker);
        reply = reserve(ring, tail, length);
        if (reply == NULL)
            wait_for_bell(&shared->worker);
        wake_up(&shared->worker);
        if (reply != NULL)
            return reply;
    }
    return reply;
}

static void work_once(void)
{
    struct ring *in = &shared->to_worker, *out = &shared->to_reactor;
    uint64_t tail_in = atomic_load_explicit(&in->tail, memory_order_acquire);
    uint64_t head = atomic_load_explicit(&in->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&out->tail, memory_order_relaxed);
    const struct header *message;
    while ((message = next(in, &head, tail_in)) != NULL) {
        struct header *reply = reserve_reply(&tail, message->length);
        memcpy(reply, message, sizeof *message + message->length);
        tail += message_size(message->length);
    }
    atomic_store_explicit(&in->head, head, memory_order_release);
    atomic_store_explicit(&out->tail, tail, memory_order_release);
    ring_bell(&shared->reactor);
}

/* A bell that came too late for its sleep is read in the next one: a wake-up for nothing, never a
 * lost one. */
static void run_worker(void)
{
    uint64_t count;
    for (;;) {
        fall_asleep(&shared->worker);
        if (is_empty(&shared->to_worker)
            && read(shared->worker.doorbell, &count, sizeof count) < 0)
            fail("doorbell");
        wake_up(&shared->worker);
        work_once();
    }
}

/* ---- reactor ---- */

static void close_connection(int fd)
{
    free(connections[fd].rest);
    connections[fd].rest = NULL;
    connections[fd].is_reading = false;
    connections[fd].generation++;
    close(fd);
}

static void accept_all(void)
{
    int fd;
    while ((fd = accept_next()) >= 0)
        connections[fd].is_reading = true;
}

static void keep(int fd, const char *bytes, size_t length)
{
    struct connection *connection = &connections[fd];
    size_t held = connection->rest == NULL ? 0 : connection->end - connection->begin;
    char *rest = malloc(held + length);
    if (rest == NULL)
        fail("malloc");
    if (held > 0)
        memcpy(rest, connection->rest + connection->begin, held);
    memcpy(rest + held, bytes, length);
    free(connection->rest);
    connection->rest = rest;
    connection->begin = 0;
    connection->end = held + length;
    if (connection->is_reading)
        watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    connection->is_reading = false;
}

static void flush(int fd)
{
    struct connection *connection = &connections[fd];
    ssize_t sent = write(fd, connection->rest + connection->begin,
                         connection->end - connection->begin);
    if (sent < 0) {
        if (errno != EAGAIN)
            close_connection(fd);
        return;
    }
    connection->begin += (size_t)sent;
    if (connection->begin == connection->end) {
        free(connection->rest);
        connection->rest = NULL;
        connection->is_reading = true;
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }
}

static void reply_to(const struct header *reply)
{
    int fd = (int)reply->fd;
    const char *bytes = (const char *)(reply + 1);
    if (connections[fd].generation != reply->generation)
        return; /* closed while its message was with the worker */
    if (connections[fd].rest != NULL) {
        keep(fd, bytes, reply->length);
        return;
    }
    ssize_t sent = write(fd, bytes, reply->length);
    if (sent < 0 && errno != EAGAIN)
        close_connection(fd);
    else if (sent < (ssize_t)reply->length)
        keep(fd, bytes + (sent < 0 ? 0 : sent), reply->length - (size_t)(sent < 0 ? 0 : sent));
}

static void drain_replies(void)
{
    struct ring *ring = &shared->to_reactor;
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    const struct header *reply;
    if (head == tail)
        return;
    while ((reply = next(ring, &head, tail)) != NULL)
        reply_to(reply);
    atomic_store_explicit(&ring->head, head, memory_order_release);
    ring_bell(&shared->worker); /* it may wait for room */
}

static struct header *reserve_message(uint64_t *tail)
{
    struct ring *ring = &shared->to_worker;
    struct header *message;
    while ((message = reserve(ring, tail, MESSAGE_MAX)) == NULL) {
        atomic_store_explicit(&ring->tail, *tail, memory_order_release);
        ring_bell(&shared->worker);
        drain_replies();
        fall_asleep(&shared->reactor);
        if (is_empty(&shared->to_reactor) && reserve(ring, tail, MESSAGE_MAX) == NULL)
            wait_for_bell(&shared->reactor);
        wake_up(&shared->reactor);
    }
    return message;
}

static void receive(int fd, uint64_t *tail)
{
    struct header *message = reserve_message(tail);
    if (!connections[fd].is_reading)
        return; /* waiting for room has met its full socket, or closed it */
    ssize_t length = read(fd, message + 1, MESSAGE_MAX);
    if (length > 0) {
        *message = (struct header){(uint32_t)fd, connections[fd].generation, (uint32_t)length, 0};
        *tail += message_size((size_t)length);
    } else if (length == 0 || errno != EAGAIN) {
        close_connection(fd);
    }
}

static void handle(const struct epoll_event *event, uint64_t *tail)
{
    uint64_t count;
    int fd = event->data.fd;
    if (fd == listener)
        accept_all();
    else if (fd == shared->reactor.doorbell)
        (void)!read(fd, &count, sizeof count);
    else if (connections[fd].rest != NULL)
        flush(fd);
    else
        receive(fd, tail);
}

static void run_reactor(void)
{
    static struct epoll_event events[EVENTS_MAX];
    struct ring *ring = &shared->to_worker;
    for (;;) {
        fall_asleep(&shared->reactor);
        int timeout_ms = is_empty(&shared->to_reactor) ? -1 : 0;
        int count = epoll_wait(poller, events, EVENTS_MAX, timeout_ms);
        wake_up(&shared->reactor);
        uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        uint64_t published = tail;
        for (int i = 0; i < count; i++)
            handle(&events[i], &tail);
        atomic_store_explicit(&ring->tail, tail, memory_order_release);
        if (tail != published)
            ring_bell(&shared->worker);
        drain_replies();
    }
}

/* ---- start ---- */

static void share_memory(void)
{
    int access = PROT_READ | PROT_WRITE;
    shared = mmap(NULL, sizeof *shared, access, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        fail("mmap");
    shared->reactor.doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    shared->worker.doorbell = eventfd(0, EFD_CLOEXEC);
    if (shared->reactor.doorbell < 0 || shared->worker.doorbell < 0)
        fail("eventfd");
}

static void start_worker(void)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid > 0)
        return;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        exit(1);
    close(listener);
    run_worker();
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    listener = open_listener(atoi(argv[1]));
    share_memory();
    start_worker();
    watch_listener();
    watch(EPOLL_CTL_ADD, shared->reactor.doorbell, EPOLLIN);
    run_reactor();
}
