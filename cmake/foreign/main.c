/* Asks the library what it is, and that an impossible server is refused with words. */
#include <stdio.h>
#include <swoole.h>

int main(void)
{
    sw_server_t *server = sw_server_new("127.0.0.1", 0, 77, SW_SOCK_TCP);
    if (server != NULL || sw_last_error() != SW_ERROR_INVALID_PARAMS) {
        fprintf(stderr, "mode 77: error %d\n", sw_last_error());
        return 1;
    }
    printf("swoole %s\n", sw_version());
    return 0;
}
