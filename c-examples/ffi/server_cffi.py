#!/usr/bin/env python3
"""The server of c-examples/ffi/README.md in Python, with cffi and the header itself.

Usage: SWOOLE_LIBRARY=libswoole.so SWOOLE_HEADER=swoole.h server_cffi.py [mode 1|2] [port]
"""
import os
import re
import sys

import cffi

text = open(os.environ.get("SWOOLE_HEADER", "/usr/local/include/swoole.h")).read()
constants = dict(re.findall(r"^#define (SW_\w+) (-?\d+)$", text, re.M))
text = re.sub(r"\[(SW_\w+)\]", lambda found: f"[{constants[found[1]]}]", text)
text = re.sub(r"#ifdef __cplusplus.*?#endif[^\n]*", "", text, flags=re.S)
ffi = cffi.FFI()
ffi.cdef("typedef int pid_t;" + re.sub(r"^#.*$", "", text, flags=re.M))
lib = ffi.dlopen(os.environ.get("SWOOLE_LIBRARY", "libswoole.so.0"))
WANTED = b"workerStart workerStop receive close task finish pipeMessage".split()


def check(is_done):
    if not is_done:
        sys.exit(ffi.string(lib.sw_last_error_message()).decode())


def say(line):
    """At once: several processes print, and print may write a line in pieces."""
    os.write(1, line.encode() + b"\n")


def read(told):
    """Copies the bytes of an event, which are the library's until the event is done."""
    return ffi.buffer(told.data, told.len)[:] if told.len else b""


def send(server, fd, text):
    check(lib.sw_server_send(server, fd, text, len(text)))


def receive(server, told):
    word, _, text = read(told).partition(b" ")
    for_fd = b"%d %s" % (told.fd, text)
    if word == b"echo":
        send(server, told.fd, text)
    elif word == b"task":
        check(lib.sw_server_task(server, for_fd, len(for_fd), -1, ffi.NULL, ffi.NULL) >= 0)
    elif word == b"tell":
        other = 1 - lib.sw_server_get_worker_id(server)
        check(lib.sw_server_send_message(server, for_fd, len(for_fd), other))
    elif word == b"bye":
        send(server, told.fd, b"bye")
        check(lib.sw_server_close(server, told.fd, False))


def answer(server, what, told):
    fd, _, text = read(told).partition(b" ")
    send(server, int(fd), what + text)


def take(server, event):
    if event.kind == lib.SW_EVENT_RECEIVE:
        receive(server, event.receive)
    elif event.kind == lib.SW_EVENT_TASK:
        done = read(event.task).upper()
        check(lib.sw_server_finish(server, done, len(done)))
    elif event.kind == lib.SW_EVENT_FINISH:
        answer(server, b"done ", event.finish)
    elif event.kind == lib.SW_EVENT_PIPE_MESSAGE:
        answer(server, b"told ", event.pipe_message)
    elif event.kind == lib.SW_EVENT_CLOSE:
        say("close")
    elif event.kind == lib.SW_EVENT_WORKER_START:
        say(f"start {event.worker.worker_id}")
    elif event.kind == lib.SW_EVENT_WORKER_STOP:
        say(f"stop {event.worker.worker_id}")


def main():
    mode = int(sys.argv[1]) if len(sys.argv) > 1 else int(constants["SW_PROCESS"])
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 9501
    server = lib.sw_server_new(b"127.0.0.1", port, mode, int(constants["SW_SOCK_TCP"]))
    check(server != ffi.NULL)
    check(lib.sw_server_set(server, b"worker_num", b"2"))
    check(lib.sw_server_set(server, b"task_worker_num", b"1"))
    for name in WANTED:
        check(lib.sw_server_want(server, name))
    caller = os.getpid()
    role = lib.sw_server_launch(server)  # returns in each process that has events
    check(role != lib.SW_ROLE_FAILED)
    event = ffi.new("sw_event_t *")
    while role != lib.SW_ROLE_ENDED:
        came = lib.sw_server_next_event(server, -1, event)
        check(came != lib.SW_NEXT_FAILED)
        if came == lib.SW_NEXT_EVENT:
            take(server, event)
            check(lib.sw_server_event_done(server))
        elif came == lib.SW_NEXT_ENDED:
            role = lib.SW_ROLE_ENDED
    if os.getpid() != caller:
        sys.exit(0)
    say("ended")
    lib.sw_server_free(server)


main()
