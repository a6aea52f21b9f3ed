/* What lender.c and lent.c say to each other: a pid, then an error number and a descriptor. */
#ifndef LENT_H
#define LENT_H

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A name of no file, which is gone with the lender. */
static inline struct sockaddr_un lender_name(int pid)
{
    struct sockaddr_un name;
    memset(&name, 0, sizeof name);
    name.sun_family = AF_UNIX;
    snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "swoole-lender-%d", pid);
    return name;
}

struct answer {
    int error;
    struct iovec bytes;
    struct msghdr message;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head;
    } room;
};

/* Makes the place for an answer, which is sent from there or received there. */
static inline void begin_answer(struct answer *answer)
{
    memset(answer, 0, sizeof *answer);
    answer->bytes.iov_base = &answer->error;
    answer->bytes.iov_len = sizeof answer->error;
    answer->message.msg_iov = &answer->bytes;
    answer->message.msg_iovlen = 1;
    answer->message.msg_control = &answer->room;
    answer->message.msg_controllen = sizeof answer->room;
    struct cmsghdr *head = CMSG_FIRSTHDR(&answer->message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
}

#endif
