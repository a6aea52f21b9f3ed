/*
 * Two processes and a pair of unix datagram sockets. Prints the nanoseconds of one message.
 * Usage: raw_datagrams oneway|pingpong ROUNDS [BYTES]
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 65536 };

static char message[MOST];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void give(int fd, size_t bytes)
{
    if (send(fd, message, bytes, 0) < 0)
        _exit(EXIT_FAILURE);
}

static void take(int fd)
{
    if (recv(fd, message, sizeof message, 0) < 0)
        _exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    int is_pingpong = argc > 1 && strcmp(argv[1], "pingpong") == 0;
    int rounds = argc > 2 ? atoi(argv[2]) : 100000;
    int bytes = argc > 3 ? atoi(argv[3]) : 64;
    int ends[2];
    if (rounds < 1 || bytes < 1 || bytes > MOST || socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0)
        return EXIT_FAILURE;
    pid_t child = fork();
    if (child < 0)
        return EXIT_FAILURE;
    if (child == 0) {
        for (int round = 0; round < rounds; round++) {
            take(ends[1]);
            if (is_pingpong || round == rounds - 1)
                give(ends[1], (size_t)bytes);
        }
        _exit(EXIT_SUCCESS);
    }
    double begin = now();
    for (int round = 0; round < rounds; round++) {
        give(ends[0], (size_t)bytes);
        if (is_pingpong || round == rounds - 1)
            take(ends[0]);
    }
    printf("%.0f\n", (now() - begin) / rounds);
    return waitpid(child, NULL, 0) == child ? EXIT_SUCCESS : EXIT_FAILURE;
}
