<?php
/* The server of c-examples/ffi/README.md in PHP, with FFI and the header itself.
 * Usage: SWOOLE_LIBRARY=libswoole.so SWOOLE_HEADER=swoole.h php -d ffi.enable=1 server.php [1|2] [port]
 */
declare(strict_types=1);

const WANTED = ['workerStart', 'workerStop', 'receive', 'close', 'task', 'finish', 'pipeMessage'];

$text = file_get_contents(getenv('SWOOLE_HEADER') ?: '/usr/local/include/swoole.h');
preg_match_all('/^#define (SW_\w+) (-?\d+)$/m', $text, $found);
$constants = array_combine($found[1], $found[2]);
$text = preg_replace('~/\*.*?\*/~s', '', $text);
$text = preg_replace('~//[^\n]*~', '', $text);
$text = preg_replace('/#ifdef __cplusplus.*?#endif[^\n]*/s', '', $text);
$text = preg_replace('/^#.*$/m', '', $text);
$text = preg_replace_callback('/\[(SW_\w+)\]/', fn ($it) => "[{$constants[$it[1]]}]", $text);
$lib = FFI::cdef('typedef int pid_t;' . $text, getenv('SWOOLE_LIBRARY') ?: 'libswoole.so.0');

function check(bool $isDone): void
{
    global $lib;
    if (!$isDone) {
        fwrite(STDERR, $lib->sw_last_error_message() . "\n");
        exit(1);
    }
}

/** Copies the bytes of an event, which are the library's until the event is done. */
function read(FFI\CData $told): string
{
    return $told->len > 0 ? FFI::string($told->data, $told->len) : '';
}

function send(FFI\CData $server, int $fd, string $text): void
{
    global $lib;
    check($lib->sw_server_send($server, $fd, $text, strlen($text)));
}

function receive(FFI\CData $server, FFI\CData $told): void
{
    global $lib;
    [$word, $text] = explode(' ', read($told), 2) + ['', ''];
    $forFd = "$told->fd $text";
    if ($word === 'echo') {
        send($server, $told->fd, $text);
    } elseif ($word === 'task') {
        check($lib->sw_server_task($server, $forFd, strlen($forFd), -1, null, null) >= 0);
    } elseif ($word === 'tell') {
        $other = 1 - $lib->sw_server_get_worker_id($server);
        check($lib->sw_server_send_message($server, $forFd, strlen($forFd), $other));
    } elseif ($word === 'bye') {
        send($server, $told->fd, 'bye');
        check($lib->sw_server_close($server, $told->fd, false));
    }
}

function answer(FFI\CData $server, string $what, FFI\CData $told): void
{
    [$fd, $text] = explode(' ', read($told), 2);
    send($server, (int) $fd, $what . $text);
}

function take(FFI\CData $server, FFI\CData $event): void
{
    global $lib;
    if ($event->kind === $lib->SW_EVENT_RECEIVE) {
        receive($server, $event->receive);
    } elseif ($event->kind === $lib->SW_EVENT_TASK) {
        $done = strtoupper(read($event->task));
        check($lib->sw_server_finish($server, $done, strlen($done)));
    } elseif ($event->kind === $lib->SW_EVENT_FINISH) {
        answer($server, 'done ', $event->finish);
    } elseif ($event->kind === $lib->SW_EVENT_PIPE_MESSAGE) {
        answer($server, 'told ', $event->pipe_message);
    } elseif ($event->kind === $lib->SW_EVENT_CLOSE) {
        echo "close\n";
    } elseif ($event->kind === $lib->SW_EVENT_WORKER_START) {
        echo "start {$event->worker->worker_id}\n";
    } elseif ($event->kind === $lib->SW_EVENT_WORKER_STOP) {
        echo "stop {$event->worker->worker_id}\n";
    }
}

$mode = (int) ($argv[1] ?? $constants['SW_PROCESS']);
$port = (int) ($argv[2] ?? 9501);
$server = $lib->sw_server_new('127.0.0.1', $port, $mode, (int) $constants['SW_SOCK_TCP']);
check($server !== null);
check($lib->sw_server_set($server, 'worker_num', '2'));
check($lib->sw_server_set($server, 'task_worker_num', '1'));
foreach (WANTED as $name) {
    check($lib->sw_server_want($server, $name));
}
$caller = getmypid();
$role = $lib->sw_server_launch($server); // returns in each process that has events
check($role !== $lib->SW_ROLE_FAILED);
$event = $lib->new('sw_event_t');
while ($role !== $lib->SW_ROLE_ENDED) {
    $came = $lib->sw_server_next_event($server, -1.0, FFI::addr($event));
    check($came !== $lib->SW_NEXT_FAILED);
    if ($came === $lib->SW_NEXT_EVENT) {
        take($server, $event);
        check($lib->sw_server_event_done($server));
    } elseif ($came === $lib->SW_NEXT_ENDED) {
        $role = $lib->SW_ROLE_ENDED;
    }
}
if (getmypid() === $caller) {
    echo "ended\n";
    $lib->sw_server_free($server);
}
