# The server of c-examples/ffi/README.md in Ruby, with fiddle.
# Usage: SWOOLE_LIBRARY=libswoole.so ruby server.rb [mode 1|2] [port]
require "fiddle/import"

module Swoole
  extend Fiddle::Importer
  dlload ENV.fetch("SWOOLE_LIBRARY", "libswoole.so.0")
  extern "void *sw_server_new(const char *, int, int, int)"
  extern "void sw_server_free(void *)"
  # What is true or false is told in one byte: the others of an int mean nothing.
  extern "unsigned char sw_server_set(void *, const char *, const char *)"
  extern "unsigned char sw_server_want(void *, const char *)"
  extern "int sw_server_launch(void *)"
  extern "int sw_server_next_event(void *, double, void *)"
  extern "unsigned char sw_server_event_done(void *)"
  extern "unsigned char sw_server_send(void *, long long, const char *, size_t)"
  extern "unsigned char sw_server_close(void *, long long, int)"
  extern "long long sw_server_task(void *, const char *, size_t, int, void *, void *)"
  extern "unsigned char sw_server_finish(void *, const char *, size_t)"
  extern "unsigned char sw_server_send_message(void *, const char *, size_t, int)"
  extern "int sw_server_get_worker_id(void *)"
  extern "char *sw_last_error_message()"
end

PROCESS, TCP = 2, 1
WORKER_START, WORKER_STOP, RECEIVE, CLOSE, TASK, FINISH, PIPE_MESSAGE = 8, 9, 13, 14, 18, 19, 20
EVENT, ENDED = 1, 3 # what comes out of sw_server_next_event
WANTED = %w[workerStart workerStop receive close task finish pipeMessage].freeze
# Each member of sw_event_t for String#unpack1: where a field stands, and what it is.
BYTES_AT = { RECEIVE => 24, FINISH => 24, PIPE_MESSAGE => 16, TASK => 32 }.freeze

def check(is_done)
  abort Swoole.sw_last_error_message.to_s unless is_done && is_done != 0
end

# Copies the bytes of an event, which are the library's until the event is done.
def read(kind, event)
  address, len = event[BYTES_AT.fetch(kind), 16].unpack("jJ")
  len.zero? ? "" : Fiddle::Pointer.new(address)[0, len]
end

def send_to(server, fd, text)
  check Swoole.sw_server_send(server, fd, text, text.bytesize)
end

def receive(server, event)
  fd = event[8, 8].unpack1("q")
  word, text = read(RECEIVE, event).split(" ", 2)
  for_fd = "#{fd} #{text}"
  case word
  when "echo" then send_to(server, fd, text)
  when "task"
    check Swoole.sw_server_task(server, for_fd, for_fd.bytesize, -1, nil, nil) >= 0
  when "tell"
    other = 1 - Swoole.sw_server_get_worker_id(server)
    check Swoole.sw_server_send_message(server, for_fd, for_fd.bytesize, other)
  when "bye"
    send_to(server, fd, "bye")
    check Swoole.sw_server_close(server, fd, 0)
  end
end

def answer(server, what, text)
  fd, rest = text.split(" ", 2)
  send_to(server, fd.to_i, what + rest)
end

def take(server, event)
  case kind = event[0, 4].unpack1("l")
  when RECEIVE then receive(server, event)
  when TASK
    done = read(kind, event).upcase
    check Swoole.sw_server_finish(server, done, done.bytesize)
  when FINISH then answer(server, "done ", read(kind, event))
  when PIPE_MESSAGE then answer(server, "told ", read(kind, event))
  when CLOSE then puts "close"
  when WORKER_START, WORKER_STOP
    puts "#{kind == WORKER_START ? 'start' : 'stop'} #{event[4, 4].unpack1('l')}"
  end
end

$stdout.sync = true
mode = Integer(ARGV[0] || PROCESS)
server = Swoole.sw_server_new("127.0.0.1", Integer(ARGV[1] || 9501), mode, TCP)
check !server.null?
check Swoole.sw_server_set(server, "worker_num", "2")
check Swoole.sw_server_set(server, "task_worker_num", "1")
WANTED.each { |name| check Swoole.sw_server_want(server, name) }
caller_pid = Process.pid
role = Swoole.sw_server_launch(server) # returns in each process that has events
check role >= 0
event = Fiddle::Pointer.malloc(128, Fiddle::RUBY_FREE) # no member of sw_event_t is larger
while role.positive?
  came = Swoole.sw_server_next_event(server, -1.0, event)
  check came >= 0
  case came
  when EVENT
    take(server, event)
    check Swoole.sw_server_event_done(server)
  when ENDED then role = 0
  end
end
if Process.pid == caller_pid
  puts "ended"
  Swoole.sw_server_free(server)
end
