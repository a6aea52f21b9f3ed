#!/usr/bin/env python3
"""The server of c-examples/ffi/README.md in Python, with ctypes alone.

Usage: SWOOLE_LIBRARY=libswoole.so server_ctypes.py [mode 1|2|3] [port]
"""
import ctypes as c
import os
import sys

BASE, PROCESS, THREAD, TCP = 1, 2, 3, 1
WORKER_START, WORKER_STOP, RECEIVE, CLOSE, TASK, FINISH, PIPE_MESSAGE = 8, 9, 13, 14, 18, 19, 20
EVENT, FORKED, ENDED = 1, 2, 3  # what comes out of sw_server_next_event


def struct(name, **fields):
    """A structure that begins with the kind of the event, as all members of sw_event_t do."""
    kinds = [("kind", c.c_int)] + list(fields.items())
    return type(name, (c.Structure,), {"_fields_": kinds})


BYTES = {"dispatch_time": c.c_double, "data": c.c_void_p, "len": c.c_size_t}
Connection = struct("Connection", reactor_id=c.c_int32, fd=c.c_int64, **BYTES)
Task = struct("Task", worker_id=c.c_int32, id=c.c_int64, flags=c.c_uint32, **BYTES)
Finish = struct("Finish", worker_id=c.c_int32, task_id=c.c_int64, **BYTES)
PipeMessage = struct("PipeMessage", source_worker_id=c.c_int32, **BYTES)
Worker = struct("Worker", worker_id=c.c_int32, worker_pid=c.c_int32, is_task_worker=c.c_bool)


class Event(c.Union):
    _fields_ = [("kind", c.c_int), ("connection", Connection), ("task", Task),
                ("finish", Finish), ("message", PipeMessage), ("worker", Worker),
                ("whole", c.c_byte * 64)]  # no member is larger


CALLBACK = c.CFUNCTYPE(None, c.c_void_p, c.POINTER(Event), c.c_void_p)
FUNCTIONS = {  # name: what it returns, and what it takes behind the server
    "sw_server_set": (c.c_bool, c.c_char_p, c.c_char_p),
    "sw_server_on": (c.c_bool, c.c_char_p, CALLBACK, c.c_void_p),
    "sw_server_want": (c.c_bool, c.c_char_p),
    "sw_server_start": (c.c_bool,),
    "sw_server_launch": (c.c_int,),
    "sw_server_next_event": (c.c_int, c.c_double, c.POINTER(Event)),
    "sw_server_event_done": (c.c_bool,),
    "sw_server_send": (c.c_bool, c.c_int64, c.c_char_p, c.c_size_t),
    "sw_server_close": (c.c_bool, c.c_int64, c.c_bool),
    "sw_server_task": (c.c_int64, c.c_char_p, c.c_size_t, c.c_int, c.c_void_p, c.c_void_p),
    "sw_server_finish": (c.c_bool, c.c_char_p, c.c_size_t),
    "sw_server_send_message": (c.c_bool, c.c_char_p, c.c_size_t, c.c_int),
    "sw_server_get_worker_id": (c.c_int,),
    "sw_server_free": (None,),
}
library = c.CDLL(os.environ.get("SWOOLE_LIBRARY", "libswoole.so.0"))
for name, (result, *arguments) in FUNCTIONS.items():
    getattr(library, name).argtypes = [c.c_void_p, *arguments]
    getattr(library, name).restype = result
library.sw_server_new.argtypes = [c.c_char_p, c.c_int, c.c_int, c.c_int]
library.sw_server_new.restype = c.c_void_p
library.sw_last_error_message.restype = c.c_char_p


def check(is_done):
    if not is_done:
        sys.exit(library.sw_last_error_message().decode())


def read(told):
    """Copies the bytes of an event, which are the library's until the event is done."""
    return c.string_at(told.data, told.len) if told.len else b""


def receive(server, told):
    word, _, text = read(told).partition(b" ")
    for_fd = b"%d %s" % (told.fd, text)
    if word == b"echo":
        check(library.sw_server_send(server, told.fd, text, len(text)))
    elif word == b"task":
        check(library.sw_server_task(server, for_fd, len(for_fd), -1, None, None) >= 0)
    elif word == b"tell":
        other = 1 - library.sw_server_get_worker_id(server)
        check(library.sw_server_send_message(server, for_fd, len(for_fd), other))
    elif word == b"bye":
        check(library.sw_server_send(server, told.fd, b"bye", 3))
        check(library.sw_server_close(server, told.fd, False))


def answer(server, what, told):
    fd, _, text = read(told).partition(b" ")
    text = what + b" " + text
    check(library.sw_server_send(server, int(fd), text, len(text)))


def take(server, event):
    """Does what an event asks for, taken or called back."""
    if event.kind == RECEIVE:
        receive(server, event.connection)
    elif event.kind == TASK:
        done = read(event.task).upper()
        check(library.sw_server_finish(server, done, len(done)))
    elif event.kind == FINISH:
        answer(server, b"done", event.finish)
    elif event.kind == PIPE_MESSAGE:
        answer(server, b"told", event.message)
    elif event.kind == CLOSE:
        print("close", flush=True)
    elif event.kind in (WORKER_START, WORKER_STOP):
        what = "start" if event.kind == WORKER_START else "stop"
        print(what, event.worker.worker_id, flush=True)


def run_pulled(server, names):
    caller = os.getpid()
    for name in names:
        check(library.sw_server_want(server, name))
    role = library.sw_server_launch(server)  # returns in each process that has events
    check(role >= 0)
    event = Event()
    while role > 0:
        came = library.sw_server_next_event(server, -1, c.byref(event))
        check(came >= 0)
        if came == EVENT:
            take(server, event)
            check(library.sw_server_event_done(server))
        elif came == ENDED:
            role = 0
    if os.getpid() != caller:
        sys.exit(0)


def run_called(server, names):
    """Threads are the library's own: there it calls, and the interpreter takes turns."""
    callback = CALLBACK(lambda server, event, _: take(server, event.contents))
    for name in names:
        check(library.sw_server_on(server, name, callback, None))
    check(library.sw_server_start(server))


def main():
    mode = int(sys.argv[1]) if len(sys.argv) > 1 else PROCESS
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 9501
    server = library.sw_server_new(b"127.0.0.1", port, mode, TCP)
    check(server)
    for name in (b"worker_num:2", b"task_worker_num:1"):
        check(library.sw_server_set(server, *name.split(b":")))
    names = [b"workerStart", b"workerStop", b"receive", b"close", b"task", b"finish",
             b"pipeMessage"]
    (run_called if mode == THREAD else run_pulled)(server, names)
    print("ended", flush=True)
    library.sw_server_free(server)


main()
