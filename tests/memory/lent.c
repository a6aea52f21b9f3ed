/* Before the C library: has lender.c open descriptors of processes. Any other call goes on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "lent.h"

static long borrow(pid_t pid)
{
    const char *lender = getenv("LENDER");
    struct sockaddr_un name = lender_name(lender != NULL ? atoi(lender) : 0);
    struct answer answer;
    int fd = -1, client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    begin_answer(&answer);
    if (connect(client, (struct sockaddr *)&name, sizeof name) != 0
        || send(client, &pid, sizeof pid, MSG_NOSIGNAL) != sizeof pid
        || recvmsg(client, &answer.message, MSG_CMSG_CLOEXEC) != sizeof answer.error)
        answer.error = ENOSYS;
    close(client);
    struct cmsghdr *head = CMSG_FIRSTHDR(&answer.message);
    if (answer.error == 0 && head != NULL) {
        memcpy(&fd, CMSG_DATA(head), sizeof fd);
        return fd;
    }
    errno = answer.error;
    return -1;
}

long syscall(long number, ...)
{
    static long (*next)(long, ...);
    long given[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++)
        given[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_pidfd_open)
        return borrow((pid_t)given[0]);
    if (next == NULL)
        *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    return next(number, given[0], given[1], given[2], given[3], given[4], given[5]);
}
