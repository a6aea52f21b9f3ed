/*
 * Runs a command and opens descriptors of processes for whoever asks: a valgrind before 3.23 does
 * not know pidfd_open, so programs under it ask here, by the library lent.c. This program itself
 * is not under valgrind.
 *
 *   lender LIBRARY COMMAND...
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "lent.h"

/* Answers one question: 0 and a descriptor, or an error number. */
static void lend(int listener)
{
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    pid_t pid = 0;
    if (client < 0 || recv(client, &pid, sizeof pid, MSG_WAITALL) != sizeof pid) {
        close(client);
        return;
    }
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct answer answer;
    begin_answer(&answer);
    answer.error = fd < 0 ? errno : 0;
    if (fd < 0)
        answer.message.msg_controllen = 0;
    else
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&answer.message)), &fd, sizeof fd);
    if (sendmsg(client, &answer.message, MSG_NOSIGNAL) < 0)
        perror("lender: sendmsg");
    close(fd);
    close(client);
}

int main(int argc, char **argv)
{
    struct sockaddr_un name = lender_name(getpid());
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (argc < 3 || bind(listener, (struct sockaddr *)&name, sizeof name) != 0
        || listen(listener, 64) != 0) {
        fprintf(stderr, "usage: lender LIBRARY COMMAND...\n");
        return EXIT_FAILURE;
    }
    char number[16];
    snprintf(number, sizeof number, "%d", (int)getpid());
    setenv("LENDER", number, 1);
    setenv("LD_PRELOAD", argv[1], 1);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int life = (int)syscall(SYS_pidfd_open, child, 0);
    struct pollfd watched[] = { { .fd = listener, .events = POLLIN },
                                { .fd = life, .events = POLLIN } };
    while (poll(watched, 2, -1) > 0 && watched[1].revents == 0)
        lend(listener);
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}
