/* The servers on libuv: a loop a worker, one hot receive buffer a loop, uv_try_write first.
 *
 * uv [echo|broadcast] --listen ADDR:PORT [--workers N] */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <uv.h>

#include "frames.h"

struct connection {
    uv_tcp_t tcp;
    struct server *server;
    struct connection *next, *before;
    struct bytes kept;
    int closing;
};

/* One loop with its listener, its members and its hot buffers. */
struct server {
    uv_loop_t loop;
    uv_tcp_t listener;
    struct connection *first;
    int broadcast;
    struct bytes out;
    char inbox[RECV_BYTES];
};

/* What the socket did not take, until it does. */
struct rest {
    uv_write_t request;
    uv_buf_t bytes;
};

static int must(int result, const char *what) {
    if (result >= 0) return result;
    fprintf(stderr, "peer_uv: %s: %s\n", what, uv_strerror(result));
    exit(1);
}

static void closed(uv_handle_t *handle) {
    struct connection *connection = (struct connection *)handle->data;
    free(connection->kept.at);
    free(connection);
}

static void end(struct connection *connection) {
    if (connection->closing) return;
    connection->closing = 1;
    if (connection->before) connection->before->next = connection->next;
    else connection->server->first = connection->next;
    if (connection->next) connection->next->before = connection->before;
    uv_close((uv_handle_t *)&connection->tcp, closed);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

static void lend_inbox(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)suggested;
    struct server *server = ((struct connection *)handle->data)->server;
    *buffer = uv_buf_init(server->inbox, RECV_BYTES);
}

static void on_written(uv_write_t *request, int status) {
    struct rest *rest = (struct rest *)request;
    struct connection *connection = (struct connection *)request->handle->data;
    free(rest->bytes.base);
    free(rest);
    if (connection->closing) return;
    if (status < 0) {
        end(connection);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&connection->tcp) == 0) {
        /* A peer that did not read was not read either. */
        uv_read_start((uv_stream_t *)&connection->tcp, lend_inbox, on_read);
    }
}

static void send_bytes(struct connection *connection, char *at, size_t count) {
    uv_stream_t *stream = (uv_stream_t *)&connection->tcp;
    uv_buf_t bytes = uv_buf_init(at, (unsigned)count);
    int sent = uv_try_write(stream, &bytes, 1);
    if (sent == UV_EAGAIN) sent = 0;
    if (sent < 0 || uv_stream_get_write_queue_size(stream) > UNSENT_BYTES_MAX) {
        end(connection);
        return;
    }
    if ((size_t)sent == count) return;
    struct rest *rest = (struct rest *)malloc(sizeof *rest);
    char *copy = (char *)malloc(count - (size_t)sent);
    if (rest == NULL || copy == NULL) abort();
    memcpy(copy, at + sent, count - (size_t)sent);
    rest->bytes = uv_buf_init(copy, (unsigned)(count - (size_t)sent));
    must(uv_write(&rest->request, stream, &rest->bytes, 1, on_written), "uv_write");
    if (!connection->server->broadcast) uv_read_stop(stream);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer) {
    struct connection *connection = (struct connection *)stream->data;
    struct server *server = connection->server;
    if (count == 0) return;
    if (count < 0 || frames_take(&connection->kept, buffer->base, (size_t)count, &server->out)) {
        end(connection);
        return;
    }
    if (server->out.length == 0) return;
    if (!server->broadcast) {
        send_bytes(connection, server->out.at, server->out.length);
        return;
    }
    for (struct connection *member = server->first, *next; member; member = next) {
        next = member->next;
        send_bytes(member, server->out.at, server->out.length);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    struct server *server = (struct server *)listener->data;
    if (status < 0) return;
    struct connection *connection = (struct connection *)calloc(1, sizeof *connection);
    if (connection == NULL) abort();
    must(uv_tcp_init(&server->loop, &connection->tcp), "uv_tcp_init");
    connection->tcp.data = connection;
    connection->server = server;
    connection->next = server->first;
    if (server->first) server->first->before = connection;
    server->first = connection;
    if (uv_accept(listener, (uv_stream_t *)&connection->tcp) < 0 ||
        uv_read_start((uv_stream_t *)&connection->tcp, lend_inbox, on_read) < 0)
        end(connection);
}

/* The listener's options are inherited by what it accepts. */
static void listen_at(struct server *server, struct sockaddr_in *address, int shared) {
    uv_os_fd_t fd;
    int on = 1, length = sizeof *address;
    must(uv_loop_init(&server->loop), "uv_loop_init");
    must(uv_tcp_init_ex(&server->loop, &server->listener, AF_INET), "uv_tcp_init_ex");
    server->listener.data = server;
    must(uv_fileno((uv_handle_t *)&server->listener, &fd), "uv_fileno");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (shared) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    must(uv_tcp_bind(&server->listener, (struct sockaddr *)address, 0), "--listen");
    must(uv_listen((uv_stream_t *)&server->listener, 4096, on_connection), "--listen");
    must(uv_tcp_getsockname(&server->listener, (struct sockaddr *)address, &length), "getsockname");
}

static void run(void *server) { uv_run(&((struct server *)server)->loop, UV_RUN_DEFAULT); }

int main(int count, char **words) {
    struct rlimit files;
    struct sockaddr_in address;
    const char *listen = "127.0.0.1:0";
    int broadcast = 0, workers = 1;
    for (int at = 1; at < count; at++) {
        if (!strcmp(words[at], "broadcast")) broadcast = 1;
        else if (!strcmp(words[at], "--listen") && at + 1 < count) listen = words[++at];
        else if (!strcmp(words[at], "--workers") && at + 1 < count) workers = atoi(words[++at]);
        else if (strcmp(words[at], "echo")) must(UV_EINVAL, words[at]);
    }
    char host[64];
    const char *port = strrchr(listen, ':');
    if (port == NULL || (size_t)(port - listen) >= sizeof host) must(UV_EINVAL, listen);
    snprintf(host, sizeof host, "%.*s", (int)(port - listen), listen);
    must(uv_ip4_addr(host, atoi(port + 1), &address), listen);
    if (workers < 1 || (broadcast && workers > 1)) must(UV_EINVAL, "--workers");
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct server *servers = (struct server *)calloc((size_t)workers, sizeof *servers);
    if (servers == NULL) abort();
    for (int n = 0; n < workers; n++) {
        servers[n].broadcast = broadcast;
        listen_at(&servers[n], &address, workers > 1);
    }
    printf("listening on %s:%d\n", host, ntohs(address.sin_port));
    fflush(stdout);
    for (int n = 1; n < workers; n++) {
        uv_thread_t thread;
        must(uv_thread_create(&thread, run, &servers[n]), "uv_thread_create");
    }
    run(&servers[0]);
    return 0;
}
