/*
 * swoole.hpp - swoole.h for C++17 and later. Nothing but this file; it links to the same library.
 *
 * A function sw_server_xyz is here the member xyz of swoole::server_ref or swoole::server, and so
 * for ports, processes and the event loop; what it does, where it may be called and which errors it
 * has is said in swoole.h. What differs:
 *
 * Callbacks are anything that can be called: lambdas with captures, too. Those that are registered
 * before start live as long as the server; those for one call are destroyed after it, or when their
 * timer or descriptor is cleared. A worker process has its own copy of what they have captured, as
 * it was when the process was forked. In SW_THREAD mode all workers call the same object, several
 * at a time; so do the threads that call a length or a dispatch function.
 *
 * Bytes are std::string_view; swoole::bytes(event) are those of an event, until the callback
 * returns. What the library allocates is a swoole::buffer, which gives it back.
 *
 * Errors: nothing here throws but std::bad_alloc. A member fails by false, -1 or an empty optional,
 * and swoole::last_error_message() says why. If an exception leaves a callback, what it says goes
 * to standard error and the process ends with exit code 255: it passes through no frame of C.
 */
#ifndef SWOOLE_HPP
#define SWOOLE_HPP

#include "swoole.h"

#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace swoole {

inline const char *version() { return sw_version(); }
inline int last_error() { return sw_last_error(); }
inline std::string last_error_message() { return sw_last_error_message(); }
inline std::string strerror(int code) { return sw_strerror(code); }

// The bytes of whatever has `data` and `len`: events, and results of tasks.
template <class Bytes>
std::string_view bytes(const Bytes &from) {
    return {reinterpret_cast<const char *>(from.data), from.len};
}

// Bytes that the library has allocated; given back at the end.
class buffer {
public:
    buffer() = default;
    ~buffer() { sw_buffer_free(&raw_); }
    buffer(buffer &&other) noexcept : raw_(std::exchange(other.raw_, sw_buffer_t{})) {}
    buffer &operator=(buffer &&other) noexcept {
        std::swap(raw_, other.raw_);
        return *this;
    }
    std::string_view view() const { return bytes(raw_); }
    operator std::string_view() const { return view(); }
    // False where a task has no result; true for an empty one.
    bool has_value() const { return raw_.data != nullptr; }
    sw_buffer_t *raw() { return &raw_; }

private:
    sw_buffer_t raw_{};
};

// Ids of connections.
using id_list = std::vector<int64_t>;

// The results of a list of tasks, in their order; empty where there is none.
using results = std::vector<std::optional<std::string_view>>;

namespace detail {

using kept = std::shared_ptr<void>;

// Calls the program. An exception goes on to the library, which ends the process: it stands right
// below, and cannot read what the exception says.
template <class F, class... Arguments>
decltype(auto) run(void *function, Arguments &&...arguments) {
    F &call = *static_cast<F *>(function);
#if defined(__cpp_exceptions)
    try {
        return call(std::forward<Arguments>(arguments)...);
    } catch (const std::exception &error) {
        std::fprintf(stderr, "swoole: a callback has thrown: %s\n", error.what());
        throw;
    }
#else
    return call(std::forward<Arguments>(arguments)...);
#endif
}

// The same for a function that is called once: it is destroyed afterwards.
template <class F, class... Arguments>
void run_once(void *function, Arguments &&...arguments) {
    std::unique_ptr<F> own(static_cast<F *>(function));
    run<F>(function, std::forward<Arguments>(arguments)...);
}

// What is called by the timers and descriptors of this thread, by their number.
using by_number = std::unordered_map<int64_t, kept>;

inline by_number &timers() { thread_local by_number all; return all; }
inline by_number &descriptors() { thread_local by_number all; return all; }

// Holds it while it is called: it may be cleared meanwhile.
inline kept hold(const by_number &all, int64_t number) {
    auto found = all.find(number);
    return found == all.end() ? nullptr : found->second;
}

inline std::vector<sw_bytes_t> list(const std::vector<std::string_view> &texts) {
    std::vector<sw_bytes_t> all;
    for (std::string_view text : texts)
        all.push_back({reinterpret_cast<const uint8_t *>(text.data()), text.size()});
    return all;
}

} // namespace detail

// A server as its callbacks see it. Copied freely; owns nothing.
class server_ref {
public:
    explicit server_ref(sw_server_t *server) : server_(server) {}
    sw_server_t *get() const { return server_; }

    // --- connections ---------------------------------------------------------------------------

    bool send(int64_t fd, std::string_view data) const {
        return sw_server_send(server_, fd, data.data(), data.size());
    }
    // `sent`: (server_ref, int64_t fd, int error).
    template <class F> bool send_async(int64_t fd, std::string_view data, F sent) const {
        auto own = std::make_unique<F>(std::move(sent));
        sw_sent_fn_t call = [](sw_server_t *server, int64_t id, int error, void *function) {
            detail::run_once<F>(function, server_ref(server), id, error);
        };
        bool done = sw_server_send_async(server_, fd, data.data(), data.size(), call, own.get());
        return released_if(done, own);
    }
    bool sendfile(int64_t fd, const std::string &path, int64_t offset = 0, size_t length = 0) const {
        return sw_server_sendfile(server_, fd, path.c_str(), offset, length);
    }
    bool sendwait(int64_t fd, std::string_view data) const {
        return sw_server_sendwait(server_, fd, data.data(), data.size());
    }
    bool sendto(const std::string &ip, int port, std::string_view data,
                int server_socket = -1) const {
        return sw_server_sendto(server_, ip.c_str(), port, data.data(), data.size(), server_socket);
    }
    bool close(int64_t fd, bool reset = false) const { return sw_server_close(server_, fd, reset); }
    bool exist(int64_t fd) const { return sw_server_exist(server_, fd); }
    bool pause(int64_t fd) const { return sw_server_pause(server_, fd); }
    bool resume(int64_t fd) const { return sw_server_resume(server_, fd); }
    bool protect(int64_t fd, bool is_protected = true) const {
        return sw_server_protect(server_, fd, is_protected);
    }
    bool confirm(int64_t fd) const { return sw_server_confirm(server_, fd); }
    bool bind(int64_t fd, int64_t uid) const { return sw_server_bind(server_, fd, uid); }
    std::optional<sw_client_info_t> get_client_info(int64_t fd, bool ignore_closed = false) const {
        sw_client_info_t info;
        if (!sw_server_get_client_info(server_, fd, &info, ignore_closed))
            return std::nullopt;
        return info;
    }
    std::optional<buffer> get_client_cert(int64_t fd) const {
        buffer out;
        return filled_if(sw_server_get_client_cert(server_, fd, out.raw()), out);
    }
    std::optional<id_list> get_client_list(int64_t start_fd = 0, int page_size = 100) const {
        id_list fds(room(page_size));
        return cut(fds, sw_server_get_client_list(server_, start_fd, fds.data(), page_size));
    }
    std::optional<id_list> heartbeat(bool close_them, int capacity = 1024) const {
        id_list fds(room(capacity));
        return cut(fds, sw_server_heartbeat(server_, close_them, fds.data(), capacity));
    }

    // --- tasks, messages, commands -------------------------------------------------------------

    int64_t task(std::string_view data, int task_worker = -1) const {
        return sw_server_task(server_, data.data(), data.size(), task_worker, nullptr, nullptr);
    }
    // `on_finish`: (server_ref, const sw_task_result_t &). It lives until there is an answer: that
    // of a task that is never answered lives as long as the process.
    template <class F, class = std::enable_if_t<
                           std::is_invocable_v<F &, server_ref, const sw_task_result_t &>>>
    int64_t task(std::string_view data, F on_finish, int task_worker = -1) const {
        auto own = std::make_unique<F>(std::move(on_finish));
        sw_callback_t call = [](sw_server_t *server, const sw_event_t *event, void *function) {
            detail::run_once<F>(function, server_ref(server), event->finish);
        };
        int64_t id =
            sw_server_task(server_, data.data(), data.size(), task_worker, call, own.get());
        // Outside of event workers nobody will call it.
        released_if(id >= 0 && get_worker_id() >= 0, own);
        return id;
    }
    bool finish(std::string_view data) const {
        return sw_server_finish(server_, data.data(), data.size());
    }
    // `worker_id` and `task_id` are those of the task.
    bool finish_task(int worker_id, int64_t task_id, std::string_view data) const {
        return sw_server_finish_task(server_, worker_id, task_id, data.data(), data.size());
    }
    std::optional<buffer> taskwait(std::string_view data, double timeout = 0.5,
                                   int task_worker = -1) const {
        buffer out;
        bool done = sw_server_taskwait(server_, data.data(), data.size(), timeout, task_worker,
                                       out.raw());
        return filled_if(done, out);
    }
    // One result a task, see buffer::has_value.
    std::optional<std::vector<buffer>> task_wait_multi(const std::vector<std::string_view> &tasks,
                                                       double timeout = 0.5) const {
        std::vector<sw_bytes_t> all = detail::list(tasks);
        std::vector<sw_buffer_t> raw(all.size());
        std::vector<buffer> out(all.size());
        if (sw_server_task_wait_multi(server_, all.data(), all.size(), timeout, raw.data()) < 0)
            return std::nullopt;
        for (size_t i = 0; i < raw.size(); i++)
            *out[i].raw() = raw[i];
        return std::optional<std::vector<buffer>>(std::move(out));
    }
    // `on_done`: (server_ref, const swoole::results &).
    template <class F>
    bool task_co(const std::vector<std::string_view> &tasks, double timeout, F on_done) const {
        auto own = std::make_unique<F>(std::move(on_done));
        std::vector<sw_bytes_t> all = detail::list(tasks);
        sw_tasks_done_fn_t call = [](sw_server_t *server, const sw_bytes_t *from, size_t count,
                                     void *function) {
            results to(count);
            for (size_t i = 0; i < count; i++)
                if (from[i].data != nullptr)
                    to[i] = bytes(from[i]);
            detail::run_once<F>(function, server_ref(server), std::as_const(to));
        };
        bool done = sw_server_task_co(server_, all.data(), all.size(), timeout, call, own.get());
        return released_if(done, own);
    }
    bool send_message(std::string_view data, int worker_id) const {
        return sw_server_send_message(server_, data.data(), data.size(), worker_id);
    }
    std::optional<buffer> command(const std::string &name, int process_id, int process_type,
                                  std::string_view data) const {
        buffer out;
        bool done = sw_server_command(server_, name.c_str(), process_id, process_type, data.data(),
                                      data.size(), out.raw());
        return filled_if(done, out);
    }

    // --- timers, deferred calls ----------------------------------------------------------------

    // `callback`: (int64_t timer_id).
    template <class F> int64_t tick(int64_t milliseconds, F callback) const {
        return timer(sw_server_tick, milliseconds, std::move(callback));
    }
    template <class F> int64_t after(int64_t milliseconds, F callback) const {
        return timer(sw_server_after, milliseconds, [f = std::move(callback)](int64_t id) mutable {
            detail::timers().erase(id);
            f(id);
        });
    }
    bool clear_timer(int64_t timer_id) const {
        bool done = sw_server_clear_timer(server_, timer_id);
        if (done)
            detail::timers().erase(timer_id);
        return done;
    }
    // `callback`: ().
    template <class F> bool defer(F callback) const {
        auto own = std::make_unique<F>(std::move(callback));
        sw_defer_fn_t call = [](void *function) { detail::run_once<F>(function); };
        return released_if(sw_server_defer(server_, call, own.get()), own);
    }

    // --- the server as a whole -----------------------------------------------------------------

    bool shutdown() const { return sw_server_shutdown(server_); }
    bool reload(bool only_task_workers = false) const {
        return sw_server_reload(server_, only_task_workers);
    }
    bool stop(int worker_id = -1, bool wait_event = false) const {
        return sw_server_stop(server_, worker_id, wait_event);
    }
    bool begin_request() const { return sw_server_begin_request(server_); }
    bool end_request() const { return sw_server_end_request(server_); }
    std::optional<sw_stats_t> stats() const {
        sw_stats_t out;
        if (!sw_server_stats(server_, &out))
            return std::nullopt;
        return out;
    }
    std::optional<buffer> get_setting(const std::string &name) const {
        buffer out;
        return filled_if(sw_server_get_setting(server_, name.c_str(), out.raw()), out);
    }
    sw_callback_t get_callback(const std::string &event) const {
        return sw_server_get_callback(server_, event.c_str());
    }
    bool is_running() const { return sw_server_is_running(server_); }
    bool is_task_worker() const { return sw_server_is_task_worker(server_); }
    int get_socket() const { return sw_server_get_socket(server_); }
    int get_last_error() const { return sw_server_get_last_error(server_); }
    int get_worker_id() const { return sw_server_get_worker_id(server_); }
    pid_t get_worker_pid(int id = -1) const { return sw_server_get_worker_pid(server_, id); }
    int get_worker_status(int id = -1) const { return sw_server_get_worker_status(server_, id); }
    pid_t get_manager_pid() const { return sw_server_get_manager_pid(server_); }
    pid_t get_master_pid() const { return sw_server_get_master_pid(server_); }
    int get_mode() const { return sw_server_get_mode(server_); }

protected:
    sw_server_t *server_;

private:
    friend class port;

    template <class F>
    int64_t timer(int64_t (*make)(sw_server_t *, int64_t, sw_timer_fn_t, void *), int64_t ms,
                  F callback) const {
        auto own = std::make_shared<F>(std::move(callback));
        sw_timer_fn_t call = [](int64_t id, void *function) {
            detail::kept hold = detail::hold(detail::timers(), id);
            detail::run<F>(function, id);
        };
        int64_t id = make(server_, ms, call, own.get());
        if (id >= 0)
            detail::timers().insert_or_assign(id, std::move(own));
        return id;
    }
    template <class F> static bool released_if(bool is_taken, std::unique_ptr<F> &own) {
        if (is_taken)
            (void)own.release();
        return is_taken;
    }
    static std::optional<buffer> filled_if(bool is_filled, buffer &out) {
        if (!is_filled)
            return std::nullopt;
        return std::optional<buffer>(std::move(out));
    }
    static size_t room(int count) { return count > 0 ? static_cast<size_t>(count) : 0; }
    static std::optional<id_list> cut(id_list &fds, int count) {
        if (count < 0)
            return std::nullopt;
        fds.resize(static_cast<size_t>(count));
        return std::optional<id_list>(std::move(fds));
    }
};

// What can be registered for a server and for each port. A callback of a connection is
// (server_ref, const sw_conn_event_t &), that of datagrams (server_ref, const sw_packet_t &).
template <class Self> class port_events {
public:
    template <class F> bool on_connect(F f) { return told("connect", &sw_event_t::connect, f); }
    template <class F> bool on_receive(F f) { return told("receive", &sw_event_t::receive, f); }
    template <class F> bool on_close(F f) { return told("close", &sw_event_t::close, f); }
    template <class F> bool on_packet(F f) { return told("packet", &sw_event_t::packet, f); }
    template <class F>
    bool on_buffer_full(F f) { return told("bufferFull", &sw_event_t::connect, f); }
    template <class F>
    bool on_buffer_empty(F f) { return told("bufferEmpty", &sw_event_t::connect, f); }

protected:
    template <class Part, class F> bool told(const char *name, Part sw_event_t::*part, F &f) {
        auto call = [part, f = std::move(f)](server_ref server, const sw_event_t &event) mutable {
            f(server, event.*part);
        };
        return static_cast<Self *>(this)->on(name, std::move(call));
    }
    template <class F>
    static void call_event(sw_server_t *server, const sw_event_t *event, void *function) {
        detail::run<F>(function, server_ref(server), *event);
    }
};

// A port of a server, valid as long as that.
class port : public port_events<port> {
public:
    port(sw_port_t *raw, std::vector<detail::kept> *all) : port_(raw), kept_(all) {}
    explicit operator bool() const { return port_ != nullptr; }
    sw_port_t *get() const { return port_; }

    bool set(const std::string &name, const std::string &value) {
        return sw_port_set(port_, name.c_str(), value.c_str());
    }
    template <class N, class = std::enable_if_t<std::is_integral_v<N>>>
    bool set(const std::string &name, N value) {
        return sw_port_set_int(port_, name.c_str(), static_cast<int64_t>(value));
    }
    bool set_json(std::string_view json) {
        return sw_port_set_json(port_, json.data(), json.size());
    }
    // `callback`: (server_ref, const sw_event_t &).
    template <class F> bool on(const std::string &event, F callback) {
        auto own = std::make_shared<F>(std::move(callback));
        kept_->push_back(own);
        return sw_port_on(port_, event.c_str(), call_event<F>, own.get());
    }
    // `callback`: int64_t (std::string_view data).
    template <class F> bool set_length_func(F callback) {
        auto own = std::make_shared<F>(std::move(callback));
        kept_->push_back(own);
        sw_length_fn_t call = [](const uint8_t *data, size_t len, void *function) -> int64_t {
            return detail::run<F>(function, bytes(sw_bytes_t{data, len}));
        };
        return sw_port_set_length_func(port_, call, own.get());
    }
    const char *host() const { return sw_port_host(port_); }
    int number() const { return sw_port_number(port_); }
    int type() const { return sw_port_type(port_); }
    int socket() const { return sw_port_socket(port_); }
    std::optional<id_list> get_client_list(int64_t start_fd = 0, int page_size = 100) const {
        id_list fds(server_ref::room(page_size));
        int count = sw_port_get_client_list(port_, start_fd, fds.data(), page_size);
        return server_ref::cut(fds, count);
    }
    std::optional<sw_stats_t> stats() const {
        sw_stats_t out;
        if (!sw_port_stats(port_, &out))
            return std::nullopt;
        return out;
    }

private:
    sw_port_t *port_;
    std::vector<detail::kept> *kept_;
};

// A user process; copied freely.
class process {
public:
    process(sw_process_t *raw, int number) : process_(raw), number_(number) {}
    explicit operator bool() const { return process_ != nullptr && number_ >= 0; }
    sw_process_t *get() const { return process_; }
    // 0 for the first; -1 inside of its own function, and if it could not be added.
    int number() const { return number_; }
    int socket() const { return sw_process_socket(process_); }
    pid_t pid() const { return sw_process_pid(process_); }

private:
    sw_process_t *process_;
    int number_;
};

// Where a command puts its answer.
class reply {
public:
    explicit reply(sw_reply_t *raw) : reply_(raw) {}
    bool answer(std::string_view data) const {
        return sw_command_reply(reply_, data.data(), data.size());
    }

private:
    sw_reply_t *reply_;
};

// A server and all that was registered for it. Keep it in main, until start has returned.
class server : public server_ref, public port_events<server> {
public:
    server(const std::string &host, int port, int mode, int sock_type = SW_SOCK_TCP)
        : server_ref(sw_server_new(host.c_str(), port, mode, sock_type)),
          kept_(std::make_unique<std::vector<detail::kept>>()) {}
    ~server() { sw_server_free(server_); }
    server(server &&other) noexcept
        : server_ref(std::exchange(other.server_, nullptr)), kept_(std::move(other.kept_)) {}
    server &operator=(server &&other) noexcept {
        std::swap(server_, other.server_);
        std::swap(kept_, other.kept_);
        return *this;
    }
    explicit operator bool() const { return server_ != nullptr; }

    bool start() { return sw_server_start(server_); }

    bool set(const std::string &name, const std::string &value) {
        return sw_server_set(server_, name.c_str(), value.c_str());
    }
    template <class N, class = std::enable_if_t<std::is_integral_v<N>>>
    bool set(const std::string &name, N value) {
        return sw_server_set_int(server_, name.c_str(), static_cast<int64_t>(value));
    }
    bool set_json(std::string_view json) {
        return sw_server_set_json(server_, json.data(), json.size());
    }

    swoole::port add_listener(const std::string &host, int port, int sock_type = SW_SOCK_TCP) {
        return {sw_server_add_listener(server_, host.c_str(), port, sock_type), kept_.get()};
    }
    swoole::port listen(const std::string &host, int port, int sock_type = SW_SOCK_TCP) {
        return {sw_server_listen(server_, host.c_str(), port, sock_type), kept_.get()};
    }
    swoole::port port(size_t index) { return {sw_server_port(server_, index), kept_.get()}; }

    // `callback`: (server_ref, const sw_event_t &).
    template <class F> bool on(const std::string &event, F callback) {
        return sw_server_on(server_, event.c_str(), call_event<F>, keep(std::move(callback)));
    }
    // (server_ref)
    template <class F> bool on_start(F f) { return bare("start", f); }
    template <class F> bool on_before_shutdown(F f) { return bare("beforeShutdown", f); }
    template <class F> bool on_shutdown(F f) { return bare("shutdown", f); }
    template <class F> bool on_manager_start(F f) { return bare("managerStart", f); }
    template <class F> bool on_manager_stop(F f) { return bare("managerStop", f); }
    template <class F> bool on_before_reload(F f) { return bare("beforeReload", f); }
    template <class F> bool on_after_reload(F f) { return bare("afterReload", f); }
    // (server_ref, const sw_worker_event_t &)
    template <class F>
    bool on_worker_start(F f) { return told("workerStart", &sw_event_t::worker, f); }
    template <class F>
    bool on_worker_stop(F f) { return told("workerStop", &sw_event_t::worker, f); }
    template <class F>
    bool on_worker_exit(F f) { return told("workerExit", &sw_event_t::worker, f); }
    // (server_ref, const sw_status_info_t &)
    template <class F>
    bool on_worker_error(F f) { return told("workerError", &sw_event_t::error, f); }
    // (server_ref, const sw_task_t &)
    template <class F> bool on_task(F f) { return told("task", &sw_event_t::task, f); }
    // (server_ref, const sw_task_result_t &)
    template <class F> bool on_finish(F f) { return told("finish", &sw_event_t::finish, f); }
    // (server_ref, const sw_pipe_message_t &)
    template <class F> bool on_pipe_message(F f) {
        return told("pipeMessage", &sw_event_t::pipe_message, f);
    }

    // `callback`: int (server_ref, int64_t fd, int event_type, std::string_view data).
    template <class F> bool set_dispatch_func(F callback) {
        sw_dispatch_fn_t call = [](sw_server_t *server, int64_t fd, int event_type,
                                   const uint8_t *data, size_t len, void *function) -> int {
            return detail::run<F>(function, server_ref(server), fd, event_type,
                                  bytes(sw_bytes_t{data, len}));
        };
        return sw_server_set_dispatch_func(server_, call, keep(std::move(callback)));
    }
    // `function`: (server_ref, process).
    template <class F> process add_process(F function) {
        sw_process_fn_t call = [](sw_server_t *server, sw_process_t *self, void *f) {
            detail::run<F>(f, server_ref(server), process(self, -1));
        };
        sw_process_t *made = sw_process_new(call, keep(std::move(function)));
        return {made, made == nullptr ? -1 : sw_server_add_process(server_, made)};
    }
    // `function`: bool (server_ref, std::string_view data, reply).
    template <class F> bool add_command(const std::string &name, int process_types, F function) {
        sw_command_fn_t call = [](sw_server_t *server, const uint8_t *data, size_t len,
                                  sw_reply_t *to, void *f) -> bool {
            return detail::run<F>(f, server_ref(server), bytes(sw_bytes_t{data, len}), reply(to));
        };
        return sw_server_add_command(server_, name.c_str(), process_types, call,
                                     keep(std::move(function)));
    }

private:
    std::unique_ptr<std::vector<detail::kept>> kept_;

    template <class F> void *keep(F function) {
        auto own = std::make_shared<F>(std::move(function));
        kept_->push_back(own);
        return own.get();
    }
    template <class F> bool bare(const char *name, F &f) {
        return on(name, [f = std::move(f)](server_ref server, const sw_event_t &) mutable {
            f(server);
        });
    }
};

// --- descriptors of the program in the loop of the calling process -------------------------------

// `callback`: (int os_fd, int events).
template <class F> bool event_add(int os_fd, int events, F callback) {
    auto own = std::make_shared<F>(std::move(callback));
    sw_io_fn_t call = [](int fd, int ready, void *function) {
        detail::kept hold = detail::hold(detail::descriptors(), fd);
        detail::run<F>(function, fd, ready);
    };
    bool done = sw_event_add(os_fd, events, call, own.get());
    if (done)
        detail::descriptors().insert_or_assign(os_fd, std::move(own));
    return done;
}
inline bool event_set(int os_fd, int events) { return sw_event_set(os_fd, events); }
inline bool event_del(int os_fd) {
    bool done = sw_event_del(os_fd);
    detail::descriptors().erase(os_fd);
    return done;
}

} // namespace swoole

#endif
