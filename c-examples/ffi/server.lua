-- The server of c-examples/ffi/README.md in Lua, with LuaJIT's ffi and the header itself.
-- Usage: SWOOLE_LIBRARY=libswoole.so SWOOLE_HEADER=swoole.h luajit server.lua [mode 1|2] [port]
local ffi = require("ffi")

local file = assert(io.open(os.getenv("SWOOLE_HEADER") or "/usr/local/include/swoole.h"))
local text = "\n" .. file:read("*a")
file:close()
local constants = {}
for name, value in text:gmatch("\n#define (SW_[%w_]+) (%-?%d+)") do
    constants[name] = tonumber(value)
end
text = text:gsub("#ifdef __cplusplus.-#endif[^\n]*", ""):gsub("\n#[^\n]*", "\n"):gsub("\n#[^\n]*", "\n")
text = text:gsub("%[(SW_[%w_]+)%]", function(name) return "[" .. constants[name] .. "]" end)
ffi.cdef("typedef int pid_t; int getpid(void); void exit(int);" .. text)
local lib = ffi.load(os.getenv("SWOOLE_LIBRARY") or "libswoole.so.0")

local function check(is_done)
    if not is_done then
        io.stderr:write(ffi.string(lib.sw_last_error_message()), "\n")
        os.exit(1)
    end
end

local function say(...)
    io.write(table.concat({...}, " ") .. "\n")
    io.flush()
end

-- Copies the bytes of an event, which are the library's until the event is done.
local function read(told)
    return told.len > 0 and ffi.string(told.data, told.len) or ""
end

local function send(server, fd, what)
    check(lib.sw_server_send(server, fd, what, #what))
end

local function receive(server, told)
    local word, what = read(told):match("^(%S*) ?(.*)$")
    local for_fd = tostring(tonumber(told.fd)) .. " " .. what
    if word == "echo" then
        send(server, told.fd, what)
    elseif word == "task" then
        check(lib.sw_server_task(server, for_fd, #for_fd, -1, nil, nil) >= 0)
    elseif word == "tell" then
        local other = 1 - lib.sw_server_get_worker_id(server)
        check(lib.sw_server_send_message(server, for_fd, #for_fd, other))
    elseif word == "bye" then
        send(server, told.fd, "bye")
        check(lib.sw_server_close(server, told.fd, false))
    end
end

local function answer(server, what, told)
    local fd, rest = read(told):match("^(%d+) (.*)$")
    send(server, tonumber(fd), what .. rest)
end

local take = {
    [tonumber(lib.SW_EVENT_RECEIVE)] = function(server, event) receive(server, event.receive) end,
    [tonumber(lib.SW_EVENT_TASK)] = function(server, event)
        local done = read(event.task):upper()
        check(lib.sw_server_finish(server, done, #done))
    end,
    [tonumber(lib.SW_EVENT_FINISH)] = function(server, event)
        answer(server, "done ", event.finish)
    end,
    [tonumber(lib.SW_EVENT_PIPE_MESSAGE)] = function(server, event)
        answer(server, "told ", event.pipe_message)
    end,
    [tonumber(lib.SW_EVENT_CLOSE)] = function() say("close") end,
    [tonumber(lib.SW_EVENT_WORKER_START)] = function(_, event)
        say("start", event.worker.worker_id)
    end,
    [tonumber(lib.SW_EVENT_WORKER_STOP)] = function(_, event)
        say("stop", event.worker.worker_id)
    end,
}

local mode = tonumber(arg[1] or constants.SW_PROCESS)
local port = tonumber(arg[2] or 9501)
local server = lib.sw_server_new("127.0.0.1", port, mode, constants.SW_SOCK_TCP)
check(server ~= nil)
check(lib.sw_server_set(server, "worker_num", "2"))
check(lib.sw_server_set(server, "task_worker_num", "1"))
for name in ("workerStart workerStop receive close task finish pipeMessage"):gmatch("%S+") do
    check(lib.sw_server_want(server, name))
end
local caller = ffi.C.getpid()
local role = lib.sw_server_launch(server) -- returns in each process that has events
check(role ~= lib.SW_ROLE_FAILED)
local event = ffi.new("sw_event_t[1]")
while role ~= lib.SW_ROLE_ENDED do
    local came = lib.sw_server_next_event(server, -1, event)
    check(came ~= lib.SW_NEXT_FAILED)
    if came == lib.SW_NEXT_EVENT then
        take[tonumber(event[0].kind)](server, event[0])
        check(lib.sw_server_event_done(server))
    elseif came == lib.SW_NEXT_ENDED then
        role = lib.SW_ROLE_ENDED
    end
end
if ffi.C.getpid() == caller then
    say("ended")
    lib.sw_server_free(server)
end
