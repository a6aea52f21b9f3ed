/*
 * The yardstick for datagrams: an echo server in one thread on recvmmsg, sendmmsg and nothing else.
 *
 *     raw_udp PORT
 *
 * It blocks until there is a datagram, takes up to 64 that are there, and sends all of them back.
 * Ends by SIGTERM's default action.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 2048, BUFFER = 8 * 1024 * 1024 };

static struct sockaddr_in peers[BATCH];
static char bytes[BATCH][SIZE];
static struct iovec pieces[BATCH];
static struct mmsghdr messages[BATCH];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s PORT\n", argv[0]);
        return 2;
    }
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])) };
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int size = BUFFER, server = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(server, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(server, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (server < 0 || bind(server, (struct sockaddr *)&here, sizeof here) != 0)
        fail("bind");
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){ .iov_base = bytes[i], .iov_len = SIZE };
            messages[i].msg_hdr = (struct msghdr){
                .msg_name = &peers[i], .msg_namelen = sizeof peers[i],
                .msg_iov = &pieces[i], .msg_iovlen = 1,
            };
        }
        int count = recvmmsg(server, messages, BATCH, MSG_WAITFORONE, NULL);
        if (count < 0)
            fail("recvmmsg");
        for (int i = 0; i < count; i++)
            pieces[i].iov_len = messages[i].msg_len;
        for (int sent = 0; sent < count;) {
            int more = sendmmsg(server, messages + sent, (unsigned)(count - sent), 0);
            if (more < 0)
                fail("sendmmsg");
            sent += more;
        }
    }
}
