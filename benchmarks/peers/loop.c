/* The limit that a server of one thread is measured against: epoll, and for each event one write() per subscriber.
 *
 * It speaks just enough HTTP/1.1: GET opens an event stream (chunked), POST with Content-Length publishes its body as
 * one event to all streams, and is answered 204 when the last write() has returned. No topics, no ids, no replay, no
 * slow readers: a stream whose socket is full is closed, so that a run that needed more shows as incomplete.
 *
 *     loop PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DESCRIPTORS = 1 << 17, REQUEST_BYTES = 1 << 17, READY = 256 };

struct connection {
    char *pending;  /* what came of a request that is not complete */
    size_t length;
    int place;      /* index among the subscribers, -1 if it is none */
};

static struct connection connections[DESCRIPTORS];
static int subscribers[DESCRIPTORS];
static int subscribed;
static int poller;
static char chunk[REQUEST_BYTES + 64];

static const char STREAM[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    "Transfer-Encoding: chunked\r\n\r\n5\r\n: ok\n\r\n";
static const char DONE[] = "HTTP/1.1 204 No Content\r\n\r\n";

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void drop(int descriptor)
{
    struct connection *one = &connections[descriptor];
    if (one->place >= 0) {
        int last = subscribers[--subscribed];
        subscribers[one->place] = last;
        connections[last].place = one->place;
        one->place = -1;
    }
    free(one->pending);
    one->pending = NULL;
    one->length = 0;
    close(descriptor);
}

static void subscribe(int descriptor)
{
    if (write(descriptor, STREAM, sizeof STREAM - 1) < 0) {
        drop(descriptor);
        return;
    }
    connections[descriptor].place = subscribed;
    subscribers[subscribed++] = descriptor;
}

/* One event to all: encoded once, written as often as there are subscribers. Backwards, because drop() fills a hole
 * with the last one. */
static void publish(const char *body, size_t length)
{
    int head = sprintf(chunk, "%zx\r\ndata: ", length + 8);
    memcpy(chunk + head, body, length);
    memcpy(chunk + head + length, "\n\n\r\n", 4);
    size_t whole = head + length + 4;
    for (int place = subscribed - 1; place >= 0; place--)
        if (write(subscribers[place], chunk, whole) != (ssize_t)whole)
            drop(subscribers[place]);
}

static size_t content_length(const char *head)
{
    const char *line = strcasestr(head, "\r\ncontent-length:");
    return line ? strtoul(line + 17, NULL, 10) : 0;
}

/* All complete requests in the buffer; what remains waits for more. */
static void serve(int descriptor)
{
    struct connection *one = &connections[descriptor];
    while (one->length > 0) {
        one->pending[one->length] = 0;
        char *end = strstr(one->pending, "\r\n\r\n");
        if (!end)
            return;
        size_t head = end - one->pending + 4;
        end[2] = 0;
        size_t body = content_length(one->pending);
        end[2] = '\r';
        if (head + body > one->length)
            return;
        if (one->pending[0] == 'P') {
            publish(one->pending + head, body);
            if (write(descriptor, DONE, sizeof DONE - 1) < 0) {
                drop(descriptor);
                return;
            }
        } else {
            subscribe(descriptor);
            if (one->place < 0)
                return;
        }
        one->length -= head + body;
        memmove(one->pending, one->pending + head + body, one->length);
    }
    free(one->pending);  /* a stream says nothing more, and is to cost nothing */
    one->pending = NULL;
}

static void receive(int descriptor)
{
    struct connection *one = &connections[descriptor];
    if (!one->pending && !(one->pending = malloc(REQUEST_BYTES + 1)))
        fail("malloc");
    ssize_t got = read(descriptor, one->pending + one->length, REQUEST_BYTES - one->length);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        drop(descriptor);
        return;
    }
    one->length += got;
    serve(descriptor);
}

static void welcome(int listening)
{
    int descriptor, yes = 1;
    while ((descriptor = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (descriptor >= DESCRIPTORS) {
            close(descriptor);
            continue;
        }
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connections[descriptor] = (struct connection){.place = -1};
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = descriptor};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &wanted) < 0)
            fail("epoll_ctl");
    }
}

static int listen_on(int port)
{
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listening, (struct sockaddr *)&address, sizeof address) < 0 || listen(listening, 4096) < 0)
        fail("listen");
    return listening;
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: loop PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int listening = listen_on(atoi(arguments[1]));
    poller = epoll_create1(0);
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = listening}, ready[READY];
    epoll_ctl(poller, EPOLL_CTL_ADD, listening, &wanted);
    for (;;) {
        int events = epoll_wait(poller, ready, READY, -1);
        for (int at = 0; at < events; at++)
            if (ready[at].data.fd == listening)
                welcome(listening);
            else
                receive(ready[at].data.fd);
    }
}
